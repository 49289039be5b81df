// What one node of a group knows, shared by the files that hold one role each.
//
// Invariants:
//   S1. term never falls; votedFor changes only with the term, or from nobody to somebody (Raft §5.2).
//   S2. What belongs to a role lives on the role: leaving it forgets it.
//   S3. No message is addressed to this node.

import { assert } from '@robustmq/stdx/assert';
import type { Prng } from '@robustmq/stdx/prng';
import type { RaftConfig } from './config.js';
import { NO_MEMBERSHIP } from './membership.js';
import type { Progress } from './progress.js';
import type { RaftLog } from './raft-log.js';
import type { ReadQueue } from './read-queue.js';
import type { ReadState } from './ready.js';
import type { LogIndex, Membership, Message, NodeId, Term } from './types.js';

export interface Follower {
  readonly kind: 'follower';
  leader: NodeId | undefined;
}

/** Asks whether it could win before it disturbs anybody with a new term (thesis §9.6). */
export interface PreCandidate {
  readonly kind: 'pre-candidate';
  readonly votes: Map<NodeId, boolean>;
}

export interface Candidate {
  readonly kind: 'candidate';
  readonly votes: Map<NodeId, boolean>;
}

export interface Leader {
  readonly kind: 'leader';
  /** Everybody but this node, in the order of their ids. */
  peers: Map<NodeId, Progress>;
  readonly reads: ReadQueue;
  /** The empty entry this leader began its term with. */
  readonly firstIndex: LogIndex;
  /** A membership change at or below this index may still be unapplied: no other is accepted until it is. */
  pendingMembershipIndex: LogIndex;
  /** Payload of entries of this term beyond commit. */
  uncommittedBytes: number;
  heartbeatElapsed: number;
  transfer: { readonly to: NodeId; elapsed: number } | undefined;
}

export type Role = Follower | PreCandidate | Candidate | Leader;

export interface RaftStateOptions {
  readonly id: NodeId;
  readonly config: RaftConfig;
  readonly prng: Prng;
  readonly log: RaftLog;
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly membership: Membership | undefined;
}

export class RaftState {
  readonly id: NodeId;
  readonly config: RaftConfig;
  readonly log: RaftLog;
  readonly #prng: Prng;
  #term: Term;
  #votedFor: NodeId | undefined;
  membership: Membership;
  role: Role = { kind: 'follower', leader: undefined };
  /** Ticks since this node last heard a leader, granted a vote or campaigned; of a leader, since it last checked its quorum. */
  electionElapsed = 0;
  electionTimeout = 0;
  /** May leave with the next Ready. */
  messages: Message[] = [];
  /** Promise something the next write makes true (R1). */
  promises: Message[] = [];
  reads: ReadState[] = [];

  constructor(options: RaftStateOptions) {
    this.id = options.id;
    this.config = options.config;
    this.log = options.log;
    this.#prng = options.prng;
    this.#term = options.term;
    this.#votedFor = options.votedFor;
    this.membership = options.membership ?? NO_MEMBERSHIP;
    this.restartElectionTimer();
  }

  get term(): Term {
    return this.#term;
  }

  get votedFor(): NodeId | undefined {
    return this.#votedFor;
  }

  get leader(): NodeId | undefined {
    if (this.role.kind === 'leader') return this.id;
    return this.role.kind === 'follower' ? this.role.leader : undefined;
  }

  enterTerm(term: Term): void {
    assert(term >= this.#term, 'S1: the term never falls');
    if (term === this.#term) return;
    this.#term = term;
    this.#votedFor = undefined;
  }

  voteFor(candidate: NodeId): void {
    assert(this.#votedFor === undefined || this.#votedFor === candidate, 'S1: one vote in a term');
    this.#votedFor = candidate;
  }

  /** Drawn anew every time, so that two nodes that once collided do not collide for ever. */
  restartElectionTimer(): void {
    this.electionElapsed = 0;
    this.electionTimeout = this.config.electionTicks + this.#prng.between(0, this.config.electionTicks - 1);
  }

  /** After one to a few ticks, by chance: not all at once. The timer is left alone where it is due sooner. */
  campaignSoon(): void {
    const ticks = this.#prng.between(1, Math.max(1, Math.floor(this.config.electionTicks / 4)));
    this.electionTimeout = Math.min(this.electionTimeout, this.electionElapsed + ticks);
  }

  send(message: Message): void {
    assert(message.to !== this.id, 'S3: nobody writes to himself');
    this.messages.push(message);
  }

  /** Leaves after the next write is durable (R1). */
  promise(message: Message): void {
    assert(message.to !== this.id, 'S3: nobody writes to himself');
    this.promises.push(message);
  }
}
