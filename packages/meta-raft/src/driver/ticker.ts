// One ticker for all groups of a node.
//
// Invariants:
//   T1. Ticks lie on a grid fixed at the start: a late tick does not move the next one, so nodes that start
//       together do not drift into step (and one node's ticks do not bunch).
//   T2. A gap counts as one tick, and only after what the network delivered meanwhile was read. Node runs due timers
//       before it polls sockets: without this, a process that stalled for an election timeout would find its timer due,
//       and campaign, with the leader's heartbeats already waiting in its sockets.

import type { Clock, Timer } from '@robustmq/stdx/clock';

export interface TickerOptions {
  readonly clock: Clock;
  readonly tickMs: number;
  readonly tick: () => void;
  /** The process did not run for so long. */
  readonly stalled: (gapMs: number) => void;
}

export class Ticker {
  readonly #options: TickerOptions;
  #dueMs: number;
  #timer: Timer | undefined;
  #state: 'running' | 'stopped' = 'running';

  constructor(options: TickerOptions) {
    this.#options = options;
    this.#dueMs = options.clock.now();
    this.#arm();
  }

  stop(): void {
    this.#state = 'stopped';
    this.#timer?.cancel();
  }

  #arm(): void {
    const { clock, tickMs } = this.#options;
    const nowMs = clock.now();
    const missed = Math.max(0, Math.floor((nowMs - this.#dueMs) / tickMs));
    this.#dueMs += (missed + 1) * tickMs; // T1
    this.#timer = clock.setTimer(this.#dueMs - nowMs, () => this.#fire());
  }

  #fire(): void {
    const { clock, tickMs, stalled } = this.#options;
    const lateMs = clock.now() - this.#dueMs;
    this.#arm();
    if (lateMs < tickMs) {
      this.#tick();
      return;
    }
    stalled(lateMs);
    // Two turns: the first ends with the poll that reads the sockets, in the second the frames have become messages.
    clock.setImmediate(() => clock.setImmediate(() => this.#tick())); // T2
  }

  #tick(): void {
    if (this.#state === 'running') this.#options.tick();
  }
}
