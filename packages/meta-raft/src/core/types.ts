// The nouns of Raft: what the core takes in, keeps, and hands out. Plain data, no behaviour.
//
// Terms and indexes are plain numbers: the core adds to them in every second line, and 2^53 entries at
// 100,000 per second last 2,800 years. Whoever decodes one from disk or wire asserts a safe integer.

/** A positive safe integer, unique for ever: the id of a node with a lost disk is never used again. */
export type NodeId = number;

/** 0 before the first election. */
export type Term = number;

/** The position of an entry. The first entry has index 1; 0 is "before the log". */
export type LogIndex = number;

/** A place in the log. Equal positions in two logs mean equal logs up to there (Raft §5.3). */
export interface LogPosition {
  readonly index: LogIndex;
  readonly term: Term;
}

/**
 *   empty       what a new leader writes to commit the entries of earlier terms (Raft §5.4.2); no payload
 *   command     opaque to Raft, meant for the state machine
 *   membership  a MembershipChange, encoded by membership-codec.ts
 */
export type EntryKind = 'empty' | 'command' | 'membership';

/** Immutable. The payload must not share memory with a network buffer that is used again or kept alive by it. */
export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly kind: EntryKind;
  readonly payload: Buffer;
}

/** What must be durable before anything that follows from it is told to anybody. */
export interface HardState {
  readonly term: Term;
  /** Whom this node voted for in `term`. */
  readonly votedFor: NodeId | undefined;
  /** May lag behind: it never needs a sync of its own. */
  readonly commitIndex: LogIndex;
}

/**
 * Who takes part. All lists are sorted and without repeats.
 *
 * While `votersOutgoing` is not empty the configuration is joint: elections and commits need a majority of
 * `voters` and one of `votersOutgoing` (Raft §6).
 */
export interface Membership {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  /** Receive the log, do not vote. Never voters at the same time. */
  readonly learners: readonly NodeId[];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** The leader leaves the joint configuration by itself as soon as it is committed. */
  readonly autoLeave: boolean;
  /** Where the members are that were added, or moved, since the founding. Means nothing to the core. Absent when empty. */
  readonly addresses?: readonly MemberAddress[];
  /** Ids that were given up for ever. Absent when empty. */
  readonly retired?: readonly NodeId[];
}

export interface MemberAddress {
  readonly node: NodeId;
  /** host:port of its gRPC server. */
  readonly address: string;
}

export type MembershipStep =
  | { readonly change: 'add-voter'; readonly node: NodeId }
  | { readonly change: 'add-learner'; readonly node: NodeId }
  | { readonly change: 'remove'; readonly node: NodeId }
  /** Removed, and the id is never a member again. */
  | { readonly change: 'retire'; readonly node: NodeId }
  /** Where the node is from now on; it may be added by the same change. */
  | { readonly change: 'address'; readonly node: NodeId; readonly address: string };

/**
 *   initial the first entry of every log: who founds the cluster; legal only where there is no voter yet
 *   simple  at most one voter changes; in force as soon as it is applied
 *   joint   any number; enters the joint configuration, which is left by `leave` or, with `autoLeave`, by the leader
 *   leave   leaves the joint configuration
 */
export type MembershipChange =
  | { readonly kind: 'initial'; readonly voters: readonly NodeId[] }
  | { readonly kind: 'simple'; readonly steps: readonly MembershipStep[] }
  | { readonly kind: 'joint'; readonly steps: readonly MembershipStep[]; readonly leave: 'auto' | 'explicit' }
  | { readonly kind: 'leave' };

/** A state at `index`, with everything that is needed to go on from there without the log before it. */
export interface SnapshotMetadata extends LogPosition {
  readonly membership: Membership;
}

interface MessageHeader {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's term; of a pre-vote request the term it would campaign in, and of its grant the same. */
  readonly term: Term;
}

/** Raft §5.2, thesis §9.6. `pre-vote-request` asks whether the same vote request would be granted. */
export interface VoteRequest extends MessageHeader {
  readonly type: 'vote-request' | 'pre-vote-request';
  readonly lastLog: LogPosition;
  /** `transfer`: asked for by the leader itself, so a fresh leader is no reason to refuse (thesis §3.10). */
  readonly reason: 'election' | 'transfer';
}

export interface VoteResponse extends MessageHeader {
  readonly type: 'vote-response' | 'pre-vote-response';
  readonly verdict: 'granted' | 'rejected';
  /**
   * How far the responder knows the log to be committed. A candidate that has to win in an outdated configuration, because it
   * never heard that the next one is committed, learns it here; the only node that could lead otherwise may be one
   * that was removed, and refuses its vote.
   */
  readonly committed: LogPosition;
}

export interface AppendRequest extends MessageHeader {
  readonly type: 'append-request';
  /** The entry just before `entries`; the follower's log must hold it. */
  readonly previous: LogPosition;
  readonly entries: readonly Entry[];
  readonly commitIndex: LogIndex;
}

export type AppendOutcome =
  | { readonly result: 'accepted'; readonly matchIndex: LogIndex }
  /**
   * The log does not hold `rejected`. `hint` is the last position of the follower's log at which both logs can still agree:
   * its term lets the leader skip whole terms (thesis §5.3).
   */
  | { readonly result: 'rejected'; readonly rejectedIndex: LogIndex; readonly hint: LogPosition };

export interface AppendResponse extends MessageHeader {
  readonly type: 'append-response';
  readonly outcome: AppendOutcome;
}

export interface Heartbeat extends MessageHeader {
  readonly type: 'heartbeat';
  /** min(leader's commit, the follower's known match): never tells a follower to commit what it may not hold. */
  readonly commitIndex: LogIndex;
  /** The newest read the leader wants confirmed; 0 when none. Owned by the leader, only rises within a term. */
  readonly readToken: number;
}

export interface HeartbeatResponse extends MessageHeader {
  readonly type: 'heartbeat-response';
  readonly readToken: number;
}

/**
 * "Your log begins before mine: take my state." Only the metadata goes through the core. The driver streams
 * the state beside it, and the receiving driver steps this message when it holds all of it, verified.
 */
export interface InstallSnapshot extends MessageHeader {
  readonly type: 'install-snapshot';
  readonly snapshot: SnapshotMetadata;
}

/** "Campaign now": the last step of a leadership transfer (thesis §3.10). */
export interface TimeoutNow extends MessageHeader {
  readonly type: 'timeout-now';
}

/** A follower asks the leader for a read index. `requestId` is the asker's and comes back unchanged. */
export interface ReadIndexRequest extends MessageHeader {
  readonly type: 'read-index-request';
  readonly requestId: number;
}

export interface ReadIndexResponse extends MessageHeader {
  readonly type: 'read-index-response';
  readonly requestId: number;
  /** Undefined: the leader cannot serve it (it is stepping down, or has too many waiting); ask again. */
  readonly readIndex: LogIndex | undefined;
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | InstallSnapshot
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexResponse;

export type MessageType = Message['type'];
