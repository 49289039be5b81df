// Raft of one group on one node: a deterministic function of what it is given.
//
// It reads no clock, draws no chance of its own, waits for nothing and touches neither disk nor network. Messages,
// ticks, proposals and completions go in; a Ready comes out (ready.ts names its taker's duties). The roles are in
// follower.ts, candidate.ts and leader.ts.
//
// Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)" (Raft §n);
// Ongaro's thesis (thesis §n). The division into core and driver, and asynchronous storage, follow etcd-io/raft.

import { assert } from '@robustmq/stdx/assert';
import type { Prng } from '@robustmq/stdx/prng';
import {
  answerVote,
  campaign,
  hasFreshLeader,
  mayCampaign,
  preCampaign,
  takeOwnVote,
  takeVoteRequest,
  takeVoteResponse,
} from './candidate.js';
import { checkConfig, type RaftConfig } from './config.js';
import {
  acceptLeader,
  becomeFollower,
  takeAppend,
  takeHeartbeat,
  takeReadIndexResponse,
  takeSnapshot,
} from './follower.js';
import * as leading from './leader.js';
import { changeMembership } from './membership.js';
import { decodeMembershipChange } from './membership-codec.js';
import { RaftLog, type RestoredLog } from './raft-log.js';
import { RaftState, type Role } from './raft-state.js';
import type { CommittedSlice, Ready, StorageWrite } from './ready.js';
import { sendAppends } from './replicate.js';
import type {
  Entry,
  HardState,
  LogIndex,
  LogPosition,
  Membership,
  MembershipChange,
  Message,
  NodeId,
  Term,
} from './types.js';

export interface RaftOptions {
  readonly id: NodeId;
  readonly config: RaftConfig;
  readonly prng: Prng;
  readonly log: RestoredLog;
  readonly hardState: HardState;
  /** In force after the applied index. */
  readonly membership: Membership | undefined;
}

export type NotLeader = { readonly outcome: 'not-leader'; readonly leader: NodeId | undefined };

export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role['kind'];
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly leader: NodeId | undefined;
  readonly membership: Membership;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly firstIndex: LogIndex;
  readonly lastLog: LogPosition;
}

interface WriteInFlight {
  readonly write: StorageWrite;
  readonly promises: Message[];
}

export class Raft {
  readonly #state: RaftState;
  readonly #log: RaftLog;
  /** As last handed out to be written. */
  #writtenTerm: Term;
  #writtenVote: NodeId | undefined;
  readonly #writes: WriteInFlight[] = [];
  #applying: CommittedSlice | undefined;

  constructor(options: RaftOptions) {
    const { id, prng, log, hardState, membership } = options;
    this.#log = new RaftLog(log);
    this.#writtenTerm = hardState.term;
    this.#writtenVote = hardState.votedFor;
    const { term, votedFor } = hardState;
    assert(term >= this.#log.last.term, 'an entry is never of a later term than the one written with it');
    this.#state = new RaftState({
      id,
      config: checkConfig(options.config),
      prng,
      log: this.#log,
      term,
      votedFor,
      membership,
    });
  }

  get status(): RaftStatus {
    const { id, role, term, votedFor, leader, membership } = this.#state;
    const { commitIndex, appliedIndex, firstIndex, last } = this.#log;
    return {
      id,
      role: role.kind,
      term,
      votedFor,
      leader,
      membership,
      commitIndex,
      appliedIndex,
      firstIndex,
      lastLog: last,
    };
  }

  get role(): Readonly<Role> {
    return this.#state.role;
  }

  get term(): Term {
    return this.#state.term;
  }

  get leader(): NodeId | undefined {
    return this.#state.leader;
  }

  get log(): Pick<
    RaftLog,
    'commitIndex' | 'appliedIndex' | 'lastIndex' | 'firstIndex' | 'bytes' | 'termAt' | 'entryAt' | 'base'
  > {
    return this.#log;
  }

  /** One tick has passed. Several missed ticks are one: a stalled process must not depose its leader. */
  tick(): void {
    const { role } = this.#state;
    if (role.kind === 'leader') {
      leading.leaderTick(this.#state, role);
      return;
    }
    this.#state.electionElapsed++;
    if (this.#state.electionElapsed < this.#state.electionTimeout) return;
    if (mayCampaign(this.#state)) preCampaign(this.#state);
  }

  /** Campaigns now, with a pre-vote first. A node that is the only voter leads as soon as its vote is durable. */
  campaign(): void {
    if (mayCampaign(this.#state)) preCampaign(this.#state);
  }

  step(message: Message): void {
    assert(message.to === this.#state.id, `a message to node ${message.to} is not for node ${this.#state.id}`);
    if (message.term > this.#state.term) {
      if (!this.#admitHigherTerm(message)) return;
    } else if (message.term < this.#state.term) {
      this.#answerPassedTerm(message);
      return;
    }
    this.#dispatch(message);
  }

  propose(payloads: readonly Buffer[]): leading.ProposeOutcome | NotLeader {
    assert(payloads.length > 0, 'a proposal is not empty');
    const { role } = this.#state;
    return role.kind === 'leader' ? leading.propose(this.#state, role, payloads) : this.#notLeader();
  }

  proposeMembership(change: MembershipChange): leading.MembershipProposal | NotLeader {
    const { role } = this.#state;
    return role.kind === 'leader' ? leading.proposeMembership(this.#state, role, change) : this.#notLeader();
  }

  /**
   * Asks for an index that a linearizable read may be served at. The answer comes in a Ready; where it may be lost on
   * the way to a leader elsewhere, the caller asks again.
   */
  readIndex(requestId: number): void {
    const { role, id, leader, term } = this.#state;
    if (role.kind === 'leader') {
      leading.takeRead(this.#state, role, { from: id, requestId });
    } else if (leader === undefined) {
      this.#state.reads.push({ requestId, index: undefined });
    } else {
      this.#state.send({ type: 'read-index-request', from: id, to: leader, term, requestId });
    }
  }

  transferLeadership(to: NodeId): leading.TransferOutcome {
    const { role } = this.#state;
    if (role.kind !== 'leader') return { outcome: 'refused', reason: 'this node does not lead' };
    return leading.transferTo(this.#state, role, to);
  }

  /** Who could take over soonest; undefined when this node does not lead or nobody else lives. */
  get successor(): NodeId | undefined {
    const { role } = this.#state;
    return role.kind === 'leader' ? leading.bestSuccessor(this.#state, role) : undefined;
  }

  /** The leader is known to be gone (its connection was refused, say): pre-votes need not wait for the timeout. */
  forgetLeader(): void {
    const { role } = this.#state;
    if (role.kind === 'follower') role.leader = undefined;
  }

  /**
   * The connection to the peer broke. If it led, it is likely gone: this node asks the others within a few ticks, instead of an
   * election timeout. Where only the connection is gone, those who still hear the leader refuse the pre-vote.
   */
  peerDisconnected(peer: NodeId): void {
    this.peerUnreachable(peer);
    const { role } = this.#state;
    if (role.kind !== 'follower' || role.leader !== peer) return;
    this.forgetLeader();
    this.#state.campaignSoon();
  }

  /** How far this node, leading, knows the member's log to agree with its own; undefined otherwise. */
  matchOf(peer: NodeId): LogIndex | undefined {
    const { role } = this.#state;
    return role.kind === 'leader' ? role.peers.get(peer)?.match : undefined;
  }

  /** What was sent to the peer may be lost. */
  peerUnreachable(peer: NodeId): void {
    const { role } = this.#state;
    const progress = role.kind === 'leader' ? role.peers.get(peer) : undefined;
    if (progress?.state.kind === 'replicate') progress.becomeProbe();
  }

  snapshotEnded(peer: NodeId, outcome: 'installed' | 'failed'): void {
    const { role } = this.#state;
    if (role.kind === 'leader') role.peers.get(peer)?.snapshotEnded(outcome);
  }

  /** What is to be done now; undefined when nothing is. */
  ready(): Ready | undefined {
    const { role } = this.#state;
    if (role.kind === 'leader') sendAppends(this.#state, role);
    const write = this.#takeWrite();
    const committed = this.#takeCommitted();
    const { messages, reads } = this.#state;
    if (!write && !committed && messages.length === 0 && reads.length === 0) return undefined;
    this.#state.messages = [];
    this.#state.reads = [];
    return { messages, write, committed, reads };
  }

  /** The oldest write handed out is durable. What it promised is among the messages of the next Ready (R1). */
  written(write: StorageWrite): void {
    const head = this.#writes.shift();
    assert(head?.write === write, 'writes become durable in the order they were handed out');
    if (write.snapshot) {
      assert(!this.#applying, 'a snapshot is installed when nothing is being applied');
      this.#log.snapshotInstalled(write.snapshot);
    }
    this.#state.messages.push(...head.promises);
    // Of a passed term: the entries it wrote may have been replaced and put back since. The term's own write, which
    // is behind it, vouches for the log as it is now.
    if (write.term !== this.#state.term) return;
    this.#log.durableTo(write.last);
    const { role } = this.#state;
    if (role.kind === 'leader') leading.takeOwnWrite(this.#state, role);
    else if (role.kind === 'candidate' && write.hardState?.votedFor === this.#state.id) takeOwnVote(this.#state, role);
  }

  /** The slice is applied: its membership changes take effect now. */
  applied(slice: CommittedSlice): void {
    assert(slice === this.#applying, 'what is applied is the slice that was handed out');
    this.#applying = undefined;
    this.#log.appliedTo(slice.entries.at(-1)?.index ?? 0);
    // A snapshot that waits to be installed brought a later membership with it.
    if (this.#log.pendingSnapshot) return;
    const before = this.#state.membership;
    this.#state.membership = slice.membership;
    const { role } = this.#state;
    if (role.kind === 'leader') leading.afterApplied(this.#state, role, before);
  }

  /** See RaftLog.compact(). */
  compact(index: LogIndex): LogPosition | undefined {
    return this.#log.compact(index);
  }

  #notLeader(): NotLeader {
    return { outcome: 'not-leader', leader: this.#state.leader };
  }

  /** False when the message is to be ignored. */
  #admitHigherTerm(message: Message): boolean {
    switch (message.type) {
      case 'pre-vote-request':
      case 'vote-request':
        // A node that was cut off, or removed, must not depose a leader the others are content with (thesis §4.2.3).
        if (message.reason === 'election' && hasFreshLeader(this.#state)) return false;
        // A pre-vote asks about a term nobody is in yet.
        if (message.type === 'vote-request') becomeFollower(this.#state, message.term, undefined);
        return true;
      case 'pre-vote-response':
        if (message.verdict === 'rejected') becomeFollower(this.#state, message.term, undefined);
        return true;
      case 'append-request':
      case 'heartbeat':
      case 'install-snapshot':
        becomeFollower(this.#state, message.term, message.from);
        return true;
      default:
        becomeFollower(this.#state, message.term, undefined);
        return true;
    }
  }

  #answerPassedTerm(message: Message): void {
    switch (message.type) {
      case 'append-request':
      case 'heartbeat':
        // With pre-votes nothing else would tell a leader that came back that it was succeeded.
        this.#state.promise({
          type: 'append-response',
          from: this.#state.id,
          to: message.from,
          term: this.#state.term,
          outcome: { result: 'rejected', rejectedIndex: 0, hint: { index: 0, term: 0 } },
        });
        return;
      case 'pre-vote-request':
        answerVote(this.#state, message, 'rejected');
        return;
      default:
    }
  }

  #dispatch(message: Message): void {
    const { role } = this.#state;
    switch (message.type) {
      case 'vote-request':
      case 'pre-vote-request':
        takeVoteRequest(this.#state, message);
        return;
      case 'vote-response':
      case 'pre-vote-response':
        if (role.kind === 'candidate' || role.kind === 'pre-candidate') takeVoteResponse(this.#state, role, message);
        return;
      case 'append-request':
        acceptLeader(this.#state, message.from);
        takeAppend(this.#state, message);
        return;
      case 'heartbeat':
        acceptLeader(this.#state, message.from);
        takeHeartbeat(this.#state, message);
        return;
      case 'install-snapshot':
        acceptLeader(this.#state, message.from);
        takeSnapshot(this.#state, message);
        return;
      case 'append-response':
        if (role.kind === 'leader') leading.takeAppendResponse(this.#state, role, message);
        return;
      case 'heartbeat-response':
        if (role.kind === 'leader') leading.takeHeartbeatResponse(this.#state, role, message);
        return;
      case 'read-index-request':
        if (role.kind === 'leader')
          leading.takeRead(this.#state, role, { from: message.from, requestId: message.requestId });
        return;
      case 'read-index-response':
        takeReadIndexResponse(this.#state, message);
        return;
      case 'timeout-now':
        if (role.kind === 'follower' && mayCampaign(this.#state)) campaign(this.#state, 'transfer');
        return;
    }
  }

  #takeCommitted(): CommittedSlice | undefined {
    const entries = this.#log.takeCommitted(this.#state.config.applyBytesMax);
    if (entries.length === 0) return undefined;
    this.#applying = { entries, membership: entries.reduce(applyMembership, this.#state.membership) };
    return this.#applying;
  }

  #takeWrite(): StorageWrite | undefined {
    const { term, votedFor } = this.#state;
    const { promises } = this.#state;
    this.#state.promises = [];
    const hardStateChanged = term !== this.#writtenTerm || votedFor !== this.#writtenVote;
    if (!hardStateChanged && !this.#log.hasUnwritten) {
      this.#releaseOrWait(promises);
      return undefined;
    }
    const snapshot = this.#log.takeSnapshot();
    const entries = this.#log.takeUnwritten();
    // The commit index rides along with what has to be written anyway.
    const hardState = { term, votedFor, commitIndex: this.#log.commitIndex };
    const write: StorageWrite = { term, last: this.#log.last, snapshot, entries, hardState };
    this.#writtenTerm = term;
    this.#writtenVote = votedFor;
    this.#writes.push({ write, promises });
    return write;
  }

  /** Promises that need nothing new written still wait for what is on its way to the disk. */
  #releaseOrWait(promises: readonly Message[]): void {
    const newest = this.#writes.at(-1);
    if (newest) newest.promises.push(...promises);
    else this.#state.messages.push(...promises);
  }
}

function applyMembership(membership: Membership, entry: Entry): Membership {
  if (entry.kind !== 'membership') return membership;
  const change = decodeMembershipChange(entry.payload);
  if (!change) return membership;
  const outcome = changeMembership(membership, change);
  return outcome.outcome === 'changed' ? outcome.membership : membership;
}
