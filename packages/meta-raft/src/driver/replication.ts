// What the driver offers to those who keep a replicated state: the service, the leases, the in-process client.
// RaftGroup is the implementation.
//
// Errors are MetaError: NOT_LEADER (nothing was done; `leader` of status() may say who is), UNAVAILABLE (no leader, or leadership was lost
// before the outcome was known: then `next` is 'unknown'), DEADLINE, OVERLOADED, FAILED, CLOSED.

import type { LogIndex, LogPosition, Membership, MembershipChange, NodeId, Term } from '../core/types.js';
import type { GroupId } from './group-id.js';

export interface ReplicationCallOptions {
  /** Gives up when it aborts; what was proposed may still be applied. */
  readonly signal?: AbortSignal;
  /** Gives up after this time; the group's own limit (options.ts) when absent. */
  readonly timeoutMs?: number;
}

export interface ProposeOptions extends ReplicationCallOptions {
  /** Refused with NOT_LEADER unless this node leads in exactly this term: the fence of a leader's own work. */
  readonly onlyInTerm?: Term;
}

/** `term` is the fencing token: work begun as leader carries it and is refused once it has passed. */
export type Leadership =
  /** The state holds everything committed before this term, and the term's first entry. */
  | { readonly role: 'leader'; readonly term: Term }
  | { readonly role: 'follower'; readonly term: Term; readonly leader: NodeId | undefined };

export interface GroupStatus {
  readonly group: GroupId;
  readonly node: NodeId;
  readonly role: 'follower' | 'pre-candidate' | 'candidate' | 'leader' | 'failed' | 'closed';
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly membership: Membership;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastLog: LogPosition;
  readonly firstIndex: LogIndex;
}

export interface Replication<Result> {
  readonly group: GroupId;
  status(): GroupStatus;
  /** Resolves with the state machine's result once the command is committed and applied here. */
  propose(payload: Buffer, options?: ProposeOptions): Promise<Result>;
  /**
   * Resolves when the state of this node holds everything that was acknowledged anywhere before the call: reading it then
   * is linearizable. Works on followers, through the leader.
   */
  readBarrier(options?: ReplicationCallOptions): Promise<void>;
  /** Called with the present leadership at once, and at every change, in order. Returns the unsubscriber. */
  onLeadership(listener: (leadership: Leadership) => void): () => void;
  /** Resolves when the change is applied here (a joint one: entered). One at a time. */
  changeMembership(change: MembershipChange, options?: ReplicationCallOptions): Promise<Membership>;
  /** Resolves when this node no longer leads; rejects when the target did not take over in one election timeout. */
  transferLeadership(to: NodeId, options?: ReplicationCallOptions): Promise<void>;
}
