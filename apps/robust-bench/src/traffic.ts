// Makes the publishers send: as soon as they have room, or when their messages are due.
//
// One pass over all publishers in a turn of the event loop, after everything readable was read. At a rate, a timer
// brings the pass near the next due time and turns of the loop spin over the rest, because timers are exact to a
// millisecond only and latency counts from when a message was due.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { Moment, Publisher } from './publisher.js';

/** Spinning begins this long before a message is due. */
const SPIN_MS = 2;

export interface Pace {
  /** Messages per second of all publishers together; 0 as fast as it goes. */
  readonly rate: number;
  /** Added to clock.now() to give the machine's monotonic clock. */
  readonly originMs: number;
}

export class Traffic {
  readonly #publishers: readonly Publisher[];
  readonly #clock: Clock;
  readonly #pace: Pace;
  readonly #moment: { -readonly [K in keyof Moment]: Moment[K] };
  #state: 'stopped' | 'waiting' | 'scheduled' = 'stopped';
  #timer: Timer | undefined;
  readonly #pass = (): void => this.#sendAll();

  constructor(publishers: readonly Publisher[], clock: Clock, pace: Pace) {
    this.#publishers = publishers;
    this.#clock = clock;
    this.#pace = pace;
    const { rate, originMs } = pace;
    this.#moment = { nowMs: 0, startMs: 0, spacingMs: rate === 0 ? 0 : 1000 / rate, originMs };
  }

  start(): void {
    this.#moment.startMs = this.#clock.now();
    this.#state = 'waiting';
    this.wake();
  }

  stop(): void {
    this.#state = 'stopped';
    this.#timer?.cancel();
  }

  /** Some publisher may have room: there will be a pass in this turn. */
  wake(): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'scheduled';
    this.#clock.setImmediate(this.#pass);
  }

  #sendAll(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'waiting';
    const moment = this.#moment;
    moment.nowMs = this.#clock.now();
    let more = false;
    for (const publisher of this.#publishers) {
      if (publisher.send(moment) === 'more') more = true;
    }
    if (more) this.wake();
    else if (this.#pace.rate > 0) this.#waitForDue();
  }

  #waitForDue(): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const publisher of this.#publishers) {
      if (!publisher.blocked) dueMs = Math.min(dueMs, publisher.nextDueMs(this.#moment));
    }
    const leftMs = dueMs - this.#clock.now();
    if (leftMs <= SPIN_MS) this.wake();
    else if (Number.isFinite(leftMs)) {
      this.#timer?.cancel();
      this.#timer = this.#clock.setTimer(leftMs - SPIN_MS / 2, () => this.wake());
    }
  }
}
