// What a leader does with proposals, answers and the passing of time.

import { assert } from '@robustmq/stdx/assert';
import { becomeFollower } from './follower.js';
import { allMembers, changeMembership, isJoint, isVoter } from './membership.js';
import { encodeMembershipChange } from './membership-codec.js';
import { Progress } from './progress.js';
import { quorumReached, quorumVote } from './quorum/joint.js';
import type { Leader, RaftState } from './raft-state.js';
import { ReadQueue, type ReadRequest } from './read-queue.js';
import { advanceCommit, appendOwn, sendHeartbeats } from './replicate.js';
import type {
  AppendResponse,
  HeartbeatResponse,
  LogIndex,
  Membership,
  MembershipChange,
  NodeId,
  Term,
} from './types.js';

export type ProposeOutcome =
  | { readonly outcome: 'appended'; readonly firstIndex: LogIndex; readonly term: Term }
  /** Nothing was appended. */
  | { readonly outcome: 'overloaded' | 'transferring' };

export type MembershipProposal = ProposeOutcome | { readonly outcome: 'illegal'; readonly reason: string };

export type TransferOutcome =
  | { readonly outcome: 'started' }
  | { readonly outcome: 'refused'; readonly reason: string };

const NO_PAYLOAD = Buffer.alloc(0);

export function becomeLeader(state: RaftState): void {
  state.restartElectionTimer();
  const firstIndex = state.log.lastIndex + 1;
  const leader: Leader = {
    kind: 'leader',
    peers: new Map(),
    reads: new ReadQueue(state.config.readsMax),
    firstIndex,
    // An earlier leader's change may be among the entries not yet applied. The empty entry lies after all of them, and
    // being applied it also shows a commit of this term, without which a change of one voter is unsafe.
    pendingMembershipIndex: firstIndex,
    uncommittedBytes: 0,
    heartbeatElapsed: 0,
    transfer: undefined,
  };
  state.role = leader;
  trackMembers(state, leader);
  // They have a whole interval to show themselves, but have not done so: no snapshot goes to who may be gone.
  for (const progress of leader.peers.values()) progress.recentlyActive = false;
  appendOwn(state, leader, { kind: 'empty', payloads: [NO_PAYLOAD] });
}

export function propose(state: RaftState, leader: Leader, payloads: readonly Buffer[]): ProposeOutcome {
  if (leader.transfer) return { outcome: 'transferring' };
  let bytes = leader.uncommittedBytes;
  for (const payload of payloads) bytes += payload.length;
  // One batch is always accepted, whatever its size: otherwise it could never be.
  if (leader.uncommittedBytes > 0 && bytes > state.config.uncommittedBytesMax) return { outcome: 'overloaded' };
  const firstIndex = appendOwn(state, leader, { kind: 'command', payloads });
  return { outcome: 'appended', firstIndex, term: state.term };
}

export function proposeMembership(state: RaftState, leader: Leader, change: MembershipChange): MembershipProposal {
  if (leader.transfer) return { outcome: 'transferring' };
  if (leader.pendingMembershipIndex > state.log.appliedIndex) {
    return { outcome: 'illegal', reason: 'an earlier change, or the first entry of this term, is not applied yet' };
  }
  const checked = changeMembership(state.membership, change);
  if (checked.outcome === 'illegal') return checked;
  return appendMembership(state, leader, change);
}

function appendMembership(state: RaftState, leader: Leader, change: MembershipChange): ProposeOutcome {
  const firstIndex = appendOwn(state, leader, { kind: 'membership', payloads: [encodeMembershipChange(change)] });
  leader.pendingMembershipIndex = firstIndex;
  return { outcome: 'appended', firstIndex, term: state.term };
}

/** Called when entries were applied; `before` is the membership until then. */
export function afterApplied(state: RaftState, leader: Leader, before: Membership): void {
  const { membership, log } = state;
  if (membership !== before) {
    // A leader that was removed or demoted would otherwise go on without counting for anything.
    if (!isVoter(membership, state.id)) {
      becomeFollower(state, state.term, undefined);
      return;
    }
    trackMembers(state, leader);
    if (leader.transfer && !isVoter(membership, leader.transfer.to)) leader.transfer = undefined;
    // A smaller quorum may have reached what the larger one had not.
    if (advanceCommit(state, leader)) afterCommit(state, leader);
    confirmReads(state, leader);
  }
  if (membership.autoLeave && isJoint(membership) && leader.pendingMembershipIndex <= log.appliedIndex) {
    appendMembership(state, leader, { kind: 'leave' });
  }
}

export function leaderTick(state: RaftState, leader: Leader): void {
  state.electionElapsed++;
  if (state.electionElapsed >= state.config.electionTicks) {
    state.electionElapsed = 0;
    if (!hasActiveQuorum(state, leader)) {
      becomeFollower(state, state.term, undefined);
      return;
    }
    for (const progress of leader.peers.values()) progress.recentlyActive = false;
  }
  if (leader.transfer && ++leader.transfer.elapsed >= state.config.electionTicks) leader.transfer = undefined;
  if (++leader.heartbeatElapsed >= state.config.heartbeatTicks) {
    leader.heartbeatElapsed = 0;
    sendHeartbeats(state, leader);
  }
}

export function takeAppendResponse(state: RaftState, leader: Leader, response: AppendResponse): void {
  const progress = leader.peers.get(response.from);
  if (!progress) return; // removed meanwhile
  progress.recentlyActive = true;
  const { outcome } = response;
  if (outcome.result === 'rejected') {
    // Whole terms are skipped on both sides: the follower's last entry of a term at most ours, our last of one at most its.
    const { hint } = outcome;
    const agree = hint.term > 0 ? state.log.lastAtOrBelow(hint.index, hint.term).index : hint.index;
    progress.reject(outcome.rejectedIndex, agree + 1);
    return;
  }
  const advanced = progress.accept(outcome.matchIndex);
  // Any state at or beyond our log's beginning will do, whichever snapshot it came from.
  if (progress.state.kind === 'snapshot' && progress.match >= state.log.base.index) progress.becomeReplicate();
  if (advanced && advanceCommit(state, leader)) afterCommit(state, leader);
  if (leader.transfer?.to === response.from) finishTransfer(state, leader);
}

export function takeHeartbeatResponse(state: RaftState, leader: Leader, response: HeartbeatResponse): void {
  const progress = leader.peers.get(response.from);
  if (!progress) return;
  progress.heard();
  // What was sent may be lost, or a peer may be in doubt that is not behind: an append settles it either way.
  progress.probeDue = progress.match < state.log.lastIndex || progress.state.kind === 'probe';
  progress.readToken = Math.max(progress.readToken, response.readToken);
  confirmReads(state, leader);
}

/** The leader's own disk has caught up. */
export function takeOwnWrite(state: RaftState, leader: Leader): void {
  if (advanceCommit(state, leader)) afterCommit(state, leader);
}

/** `request.from` is this node or a follower. */
export function takeRead(state: RaftState, leader: Leader, request: ReadRequest): void {
  const { log } = state;
  if (leader.reads.isFull) {
    answerRead(state, request, undefined);
  } else if (log.commitIndex < leader.firstIndex) {
    leader.reads.hold(request); // Q2
  } else {
    leader.reads.add(request, log.commitIndex);
    askForConfirmation(state, leader);
  }
}

export function transferTo(state: RaftState, leader: Leader, to: NodeId): TransferOutcome {
  if (to === state.id) return { outcome: 'refused', reason: 'this node leads already' };
  if (!state.membership.voters.includes(to)) return { outcome: 'refused', reason: `node ${to} is no voter` };
  if (leader.transfer?.to !== to) leader.transfer = { to, elapsed: 0 };
  finishTransfer(state, leader);
  return { outcome: 'started' };
}

/** The voter with the most of the log among those that were heard of lately. */
export function bestSuccessor(state: RaftState, leader: Leader): NodeId | undefined {
  let best: { readonly peer: NodeId; readonly match: LogIndex } | undefined;
  for (const [peer, progress] of leader.peers) {
    if (!progress.recentlyActive || !state.membership.voters.includes(peer)) continue;
    if (!best || progress.match > best.match) best = { peer, match: progress.match };
  }
  return best?.peer;
}

function finishTransfer(state: RaftState, leader: Leader): void {
  const { transfer } = leader;
  if (!transfer || leader.peers.get(transfer.to)?.match !== state.log.lastIndex) return;
  state.send({ type: 'timeout-now', from: state.id, to: transfer.to, term: state.term });
}

function afterCommit(state: RaftState, leader: Leader): void {
  const { commitIndex } = state.log;
  if (commitIndex < leader.firstIndex) return;
  if (leader.reads.release(commitIndex)) askForConfirmation(state, leader);
}

/** A new round of heartbeats with the newest token; without peers to ask, the read is confirmed at once. */
function askForConfirmation(state: RaftState, leader: Leader): void {
  if (leader.reads.tokenToConfirm === 0) return;
  confirmReads(state, leader);
  if (leader.reads.tokenToConfirm > 0) sendHeartbeats(state, leader);
}

function confirmReads(state: RaftState, leader: Leader): void {
  const confirmed = quorumReached(state.membership, (voter) =>
    voter === state.id ? Number.POSITIVE_INFINITY : (leader.peers.get(voter)?.readToken ?? 0),
  );
  for (const read of leader.reads.confirmThrough(confirmed)) answerRead(state, read, read.index);
}

function answerRead(state: RaftState, request: ReadRequest, index: LogIndex | undefined): void {
  const { from, requestId } = request;
  if (from === state.id) {
    state.reads.push({ requestId, index });
  } else {
    state.send({
      type: 'read-index-response',
      from: state.id,
      to: from,
      term: state.term,
      requestId,
      readIndex: index,
    });
  }
}

function hasActiveQuorum(state: RaftState, leader: Leader): boolean {
  const active = new Map<NodeId, boolean>([[state.id, true]]);
  for (const [peer, progress] of leader.peers) active.set(peer, progress.recentlyActive);
  return quorumVote(state.membership, active) === 'won';
}

/** Keeps what is known of those who stay; the order is that of the ids. */
function trackMembers(state: RaftState, leader: Leader): void {
  const peers = new Map<NodeId, Progress>();
  for (const node of allMembers(state.membership)) {
    if (node === state.id) continue;
    peers.set(node, leader.peers.get(node) ?? newProgress(state));
  }
  leader.peers = peers;
  assert(leader.uncommittedBytes >= 0, 'what is uncommitted is counted');
}

function newProgress(state: RaftState): Progress {
  const progress = new Progress(state.log.lastIndex + 1, state.config.inflight);
  // One interval to show itself: a member just added is not counted as gone.
  progress.recentlyActive = true;
  return progress;
}
