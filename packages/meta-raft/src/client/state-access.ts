import type { CommandBody, CommandResult, RequestIdentity } from '../state/command.js';
import type { MetaState } from '../state/meta-state.js';
import type { LeaseId } from '../state/record.js';
import type { WatchHub } from '../state/watch-hub.js';

export interface AccessOptions {
  readonly signal?: AbortSignal;
}

export interface ProposedCommand {
  readonly body: CommandBody;
  /** Makes a retry safe: the state applies the request once. */
  readonly identity?: RequestIdentity;
}

/**
 * One group's state as somebody in this process reaches it: what the local client and the gRPC service stand on.
 * Whether there is Raft behind it (replicated-state-access.ts) or not (testing/) is not seen here.
 *
 * Errors are MetaError. A rejected command is a result, not an error.
 */
export interface StateAccess {
  /** The state of this node, as far as it has come. Asked for at each use: installing a snapshot replaces it. */
  readonly state: MetaState;
  readonly watches: WatchHub;
  /** Resolves when the command is applied here; a follower hands it to the leader. */
  propose(command: ProposedCommand, options?: AccessOptions): Promise<CommandResult>;
  /** After it, `state` holds everything that was acknowledged before the call. */
  readBarrier(options?: AccessOptions): Promise<void>;
  /** Rejects with LEASE_NOT_FOUND. */
  keepLeaseAlive(id: LeaseId, options?: AccessOptions): Promise<{ readonly ttlMs: number }>;
  /** What is left of the lease, by the leader's count. Rejects with LEASE_NOT_FOUND. */
  leaseRemaining(id: LeaseId, options?: AccessOptions): Promise<{ readonly remainingMs: number }>;
}
