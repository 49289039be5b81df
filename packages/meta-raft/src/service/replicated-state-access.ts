import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { Watermark } from '@robustmq/stdx/watermark';
import { type Attempt, retrying } from '../client/retry.js';
import type { AccessOptions, ProposedCommand, StateAccess } from '../client/state-access.js';
import type { Replication } from '../driver/replication.js';
import { MetaError } from '../errors.js';
import type { MetaMetrics } from '../metrics.js';
import type { CommandResult, RequestIdentity } from '../state/command.js';
import { encodeCommand, stampCommand } from '../state/command-codec.js';
import type { MetaState } from '../state/meta-state.js';
import type { LeaseId, LeaseRecord } from '../state/record.js';
import { leaseNotFound } from '../state/transaction.js';
import type { WatchHub } from '../state/watch-hub.js';
import type { MetaStateMachine } from '../storage/meta-state-machine.js';
import { LeaseKeeper } from './lease-keeper.js';

/** The leader, as a follower reaches it. Errors are MetaError; NOT_LEADER when that node does not lead either. */
export interface LeaderLink {
  propose(leader: number, command: Buffer): Promise<CommandResult>;
  keepLeaseAlive(leader: number, id: LeaseId): Promise<{ readonly ttlMs: number }>;
  leaseRemaining(leader: number, id: LeaseId): Promise<{ readonly remainingMs: number }>;
}

export interface ReplicatedStateAccessDeps {
  readonly replication: Replication<CommandResult>;
  readonly machine: MetaStateMachine;
  readonly leader: LeaderLink;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  /** Milliseconds for a call with all its attempts. */
  readonly requestTimeoutMs: number;
  readonly metrics?: Pick<MetaMetrics, 'proposed' | 'readConfirmed' | 'leaderChanged'>;
}

/**
 * The replicated state as a node reaches it: writes are proposed here when this node leads and handed to the leader
 * when not, reads wait for a read barrier, and the leader counts the leases.
 *
 * Invariants:
 *   A1. A write whose outcome is unknown is repeated only under an identity: the state applies that once.
 *   A2. When a write has been answered, the state of this node has it: who writes here reads it here.
 *   A3. A lease is kept alive by a node that led after it was asked: its count is the one that matters.
 */
export class ReplicatedStateAccess implements StateAccess {
  readonly #deps: ReplicatedStateAccessDeps;
  readonly #leases: LeaseKeeper;
  readonly #revision: Watermark;
  readonly #unsubscribe: readonly (() => void)[];

  constructor(deps: ReplicatedStateAccessDeps) {
    this.#deps = deps;
    const { machine, replication, clock } = deps;
    this.#revision = new Watermark(machine.state.versions.revision);
    this.#leases = new LeaseKeeper({ clock, expire: (lease, term) => this.#expire(lease, term) });
    this.#unsubscribe = [
      machine.onApplied((results) => this.#applied(results)),
      replication.onLeadership((leadership) => {
        deps.metrics?.leaderChanged();
        if (leadership.role === 'leader') this.#leases.lead(leadership.term, machine.state.leases.all());
        else this.#leases.follow();
      }),
    ];
  }

  get state(): MetaState {
    return this.#deps.machine.state;
  }

  get watches(): WatchHub {
    return this.#deps.machine.watches;
  }

  async propose(command: ProposedCommand, options: AccessOptions = {}): Promise<CommandResult> {
    const { clock, metrics } = this.#deps;
    const startedMs = clock.now();
    try {
      const result = await this.#propose(command, options);
      metrics?.proposed(result.kind === 'rejected' ? 'rejected' : 'applied', clock.now() - startedMs);
      return result;
    } catch (error) {
      metrics?.proposed('failed', clock.now() - startedMs);
      throw error;
    }
  }

  /** What a follower forwarded, or a client of this node asked for. Rejects with NOT_LEADER when this node does not lead. */
  async proposeHere(command: Buffer, timeoutMs?: number): Promise<CommandResult> {
    const { replication, clock } = this.#deps;
    stampCommand(command, clock.wallTime());
    return replication.propose(command, timeoutMs === undefined ? {} : { timeoutMs });
  }

  async readBarrier(options: AccessOptions = {}): Promise<void> {
    const { replication, clock, metrics } = this.#deps;
    const startedMs = clock.now();
    await this.#retrying(anyTransient, options, ({ remainingMs }) =>
      replication.readBarrier({ timeoutMs: remainingMs }),
    );
    metrics?.readConfirmed(clock.now() - startedMs);
  }

  keepLeaseAlive(id: LeaseId, options: AccessOptions = {}): Promise<{ readonly ttlMs: number }> {
    return this.#retrying(anyTransient, options, ({ remainingMs }) => {
      const leader = this.#otherLeader();
      return leader === undefined
        ? this.keepLeaseAliveHere(id, remainingMs)
        : this.#deps.leader.keepLeaseAlive(leader, id);
    });
  }

  async keepLeaseAliveHere(id: LeaseId, timeoutMs?: number): Promise<{ readonly ttlMs: number }> {
    await this.#deps.replication.readBarrier(timeoutMs === undefined ? {} : { timeoutMs }); // A3
    const kept = this.#leases.keepAlive(id);
    if (kept.outcome === 'not-leading') throw notLeading();
    if (kept.outcome === 'not-found') throw noLease(id);
    return { ttlMs: kept.ttlMs };
  }

  leaseRemaining(id: LeaseId, options: AccessOptions = {}): Promise<{ readonly remainingMs: number }> {
    return this.#retrying(anyTransient, options, ({ remainingMs }) => {
      const leader = this.#otherLeader();
      return leader === undefined
        ? this.leaseRemainingHere(id, remainingMs)
        : this.#deps.leader.leaseRemaining(leader, id);
    });
  }

  async leaseRemainingHere(id: LeaseId, timeoutMs?: number): Promise<{ readonly remainingMs: number }> {
    await this.#deps.replication.readBarrier(timeoutMs === undefined ? {} : { timeoutMs }); // A3
    const remainingMs = this.#leases.remainingMs(id);
    if (remainingMs !== undefined) return { remainingMs };
    throw this.state.leases.get(id) ? notLeading() : noLease(id);
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#leases.follow();
    this.#revision.fail(new MetaError('CLOSED', 'The metadata service was closed.'));
  }

  #propose({ body, identity }: ProposedCommand, options: AccessOptions): Promise<CommandResult> {
    const isRetryable = (error: MetaError) =>
      error.next !== 'never' && (error.next !== 'unknown' || identity !== undefined); // A1
    return this.#retrying(isRetryable, options, async ({ ambiguous, remainingMs }) => {
      const attempt = identity && repeated(identity, ambiguous);
      const command = encodeCommand({ timeMs: 0, identity: attempt, body });
      const leader = this.#otherLeader();
      if (leader === undefined) return this.proposeHere(command, remainingMs);
      const result = await this.#deps.leader.propose(leader, command);
      if ('revision' in result) await this.#caughtUp(result.revision, remainingMs); // A2
      return result;
    });
  }

  #retrying<T>(
    isRetryable: (error: MetaError) => boolean,
    { signal }: AccessOptions,
    call: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const { clock, prng, requestTimeoutMs } = this.#deps;
    return retrying({ clock, prng, timeoutMs: requestTimeoutMs, signal, isRetryable }, call).catch(leaderless);
  }

  /** Undefined when this node leads, or when nobody is known to: then a call here says so. */
  #otherLeader(): number | undefined {
    const { leader, node } = this.#deps.replication.status();
    return leader === node ? undefined : leader;
  }

  /** A2. What was acknowledged is committed, so it comes; if not in time, the write has happened all the same. */
  async #caughtUp(revision: number, timeoutMs: number): Promise<void> {
    if (this.#revision.value >= revision) return;
    const abort = new AbortController();
    const timer = this.#deps.clock.setTimer(timeoutMs, () => {
      abort.abort(new MetaError('DEADLINE', 'The change was made; this node has not seen it within the time limit.'));
    });
    try {
      await this.#revision.reaches(revision, { signal: abort.signal });
    } finally {
      timer.cancel();
    }
  }

  #applied(results: readonly CommandResult[]): void {
    const { leases, versions } = this.state;
    for (const result of results) {
      if (result.kind === 'lease-revoked') this.#leases.removed(result.id);
      if (result.kind !== 'lease-granted') continue;
      const lease = leases.get(result.id);
      if (lease) this.#leases.granted(lease);
    }
    if (versions.revision > this.#revision.value) this.#revision.raise(versions.revision);
  }

  async #expire({ id, grantIndex }: LeaseRecord, term: number): Promise<void> {
    const { replication, clock, logger } = this.#deps;
    const body = { kind: 'expire-lease', id, grantIndex } as const;
    const command = encodeCommand({ timeMs: clock.wallTime(), identity: undefined, body });
    try {
      await replication.propose(command, { onlyInTerm: term });
    } catch (error) {
      logger.debug({ lease: id, term, err: error }, 'a lease has run out and its expiry was not accepted');
    }
  }
}

/** An introduction stays one. */
function repeated(identity: RequestIdentity, ambiguous: number): RequestIdentity {
  return identity.attempt === 0 ? identity : { ...identity, attempt: identity.attempt + ambiguous };
}

function anyTransient(error: MetaError): boolean {
  return error.next !== 'never';
}

/** To the caller of this node it makes no difference which nodes do not lead. */
function leaderless(error: unknown): never {
  if (!(error instanceof MetaError) || error.code !== 'NOT_LEADER') throw error;
  const next = error.next === 'unknown' ? 'unknown' : 'later';
  throw new MetaError('UNAVAILABLE', `No leader was found within the time limit. ${error.message}`, {
    next,
    cause: error,
  });
}

function notLeading(): MetaError {
  return new MetaError('NOT_LEADER', 'This node does not lead. Ask the leader.');
}

function noLease(id: LeaseId): MetaError {
  return new MetaError('LEASE_NOT_FOUND', leaseNotFound(id).message);
}
