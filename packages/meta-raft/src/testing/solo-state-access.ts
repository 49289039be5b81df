import type { Clock } from '@robustmq/stdx/clock';
import type { ProposedCommand, StateAccess } from '../client/state-access.js';
import { MetaError } from '../errors.js';
import { LeaseKeeper } from '../service/lease-keeper.js';
import type { Command, CommandResult } from '../state/command.js';
import { encodeCommand } from '../state/command-codec.js';
import { MetaState } from '../state/meta-state.js';
import type { LeaseId } from '../state/record.js';
import { leaseNotFound } from '../state/transaction.js';
import { WatchHub } from '../state/watch-hub.js';

/** The state with nothing around it: a command is applied as soon as it is proposed. */
export class SoloStateAccess implements StateAccess {
  readonly state = new MetaState();
  readonly watches = new WatchHub(() => this.state.versions);
  readonly #clock: Clock;
  readonly #leases: LeaseKeeper;
  #index = 0;
  #reachability: 'reachable' | 'unreachable' = 'reachable';

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#leases = new LeaseKeeper({
      clock,
      expire: async ({ id, grantIndex }) => {
        this.#apply({ body: { kind: 'expire-lease', id, grantIndex } });
      },
    });
    this.#leases.lead(1, []);
  }

  async propose(command: ProposedCommand): Promise<CommandResult> {
    this.#checkReachable();
    return this.#apply(command);
  }

  async readBarrier(): Promise<void> {
    this.#checkReachable();
  }

  async keepLeaseAlive(id: LeaseId): Promise<{ readonly ttlMs: number }> {
    this.#checkReachable();
    const kept = this.#leases.keepAlive(id);
    if (kept.outcome !== 'renewed') throw notFound(id);
    return { ttlMs: kept.ttlMs };
  }

  async leaseRemaining(id: LeaseId): Promise<{ readonly remainingMs: number }> {
    this.#checkReachable();
    const remainingMs = this.#leases.remainingMs(id);
    if (remainingMs === undefined) throw notFound(id);
    return { remainingMs };
  }

  setReachability(reachability: 'reachable' | 'unreachable'): void {
    this.#reachability = reachability;
  }

  close(): void {
    this.#leases.follow();
  }

  /** Through the codec, so that what a real log could not carry fails here too. */
  #apply({ body, identity }: ProposedCommand): CommandResult {
    const command: Command = { timeMs: this.#clock.wallTime(), identity, body };
    const result = this.state.apply(encodeCommand(command), ++this.#index);
    this.#followLeases(result);
    this.watches.changed();
    return result;
  }

  #followLeases(result: CommandResult): void {
    const granted = result.kind === 'lease-granted' ? this.state.leases.get(result.id) : undefined;
    if (granted) this.#leases.granted(granted);
    if (result.kind === 'lease-revoked') this.#leases.removed(result.id);
  }

  #checkReachable(): void {
    if (this.#reachability === 'reachable') return;
    throw new MetaError('UNAVAILABLE', 'The metadata service was made unreachable by the test. Nothing was done.');
  }
}

function notFound(id: LeaseId): MetaError {
  return new MetaError('LEASE_NOT_FOUND', leaseNotFound(id).message);
}
