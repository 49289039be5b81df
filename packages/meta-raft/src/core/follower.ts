// How every node that does not lead takes what a leader sends, and how any role becomes a follower.

import { assert } from '@robustmq/stdx/assert';
import { isMember } from './membership.js';
import type { RaftState } from './raft-state.js';
import type {
  AppendOutcome,
  AppendRequest,
  Heartbeat,
  InstallSnapshot,
  NodeId,
  ReadIndexResponse,
  SnapshotMetadata,
  Term,
} from './types.js';

export function becomeFollower(state: RaftState, term: Term, leader: NodeId | undefined): void {
  const { role } = state;
  state.enterTerm(term);
  state.restartElectionTimer();
  if (role.kind === 'leader') {
    // Whoever asked from elsewhere notices the new term; those who asked here would wait for ever.
    for (const read of role.reads.drain()) {
      if (read.from === state.id) state.reads.push({ requestId: read.requestId, index: undefined });
    }
  }
  state.role = { kind: 'follower', leader };
}

/** The sender leads this term: nobody else can (election safety, Raft §5.2). */
export function acceptLeader(state: RaftState, leader: NodeId): void {
  const { role } = state;
  assert(role.kind !== 'leader', 'a term has one leader');
  if (role.kind === 'follower') {
    assert(role.leader === undefined || role.leader === leader, 'a term has one leader');
    role.leader = leader;
    state.electionElapsed = 0;
  } else {
    becomeFollower(state, state.term, leader);
  }
}

export function takeAppend(state: RaftState, request: AppendRequest): void {
  state.promise({
    type: 'append-response',
    from: state.id,
    to: request.from,
    term: state.term,
    outcome: mergeEntries(state, request),
  });
}

function mergeEntries(state: RaftState, request: AppendRequest): AppendOutcome {
  const { log } = state;
  const { previous, entries } = request;
  // Old news: everything up to commit agrees with every leader's log.
  if (previous.index < log.commitIndex) return { result: 'accepted', matchIndex: log.commitIndex };
  if (!log.holds(previous)) {
    const hint = log.lastAtOrBelow(previous.index, previous.term);
    return { result: 'rejected', rejectedIndex: previous.index, hint };
  }
  log.merge(previous, entries);
  // Only what this request has verified may be committed: the log may go on with another leader's entries.
  const verified = previous.index + entries.length;
  log.commitTo(Math.min(request.commitIndex, verified));
  return { result: 'accepted', matchIndex: verified };
}

export function takeHeartbeat(state: RaftState, heartbeat: Heartbeat): void {
  // A leader tells at most what it knows this log to hold, so a shorter log has lost what it acknowledged.
  state.log.commitTo(heartbeat.commitIndex);
  state.send({
    type: 'heartbeat-response',
    from: state.id,
    to: heartbeat.from,
    term: state.term,
    readToken: heartbeat.readToken,
  });
}

export function takeSnapshot(state: RaftState, message: InstallSnapshot): void {
  const matchIndex = restore(state, message.snapshot) ? state.log.lastIndex : state.log.commitIndex;
  state.promise({
    type: 'append-response',
    from: state.id,
    to: message.from,
    term: state.term,
    outcome: { result: 'accepted', matchIndex },
  });
}

/** False when the log is as far, or gets there without the snapshot. */
function restore(state: RaftState, snapshot: SnapshotMetadata): boolean {
  const { log } = state;
  if (snapshot.index <= log.commitIndex) return false;
  if (log.holds(snapshot)) {
    log.commitTo(snapshot.index);
    return false;
  }
  // A snapshot of a cluster this node is no part of: a sign of a reused address or id. Nothing is taken from it.
  if (!isMember(snapshot.membership, state.id)) return false;
  log.restore(snapshot);
  state.membership = snapshot.membership;
  return true;
}

export function takeReadIndexResponse(state: RaftState, response: ReadIndexResponse): void {
  state.reads.push({ requestId: response.requestId, index: response.readIndex });
}
