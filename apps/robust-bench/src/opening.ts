// Opens many connections, a few at a time.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { BenchError } from './errors.js';
import { Histogram } from './histogram.js';

export interface OpeningPlan {
  readonly count: number;
  /** Handshakes under way at a time. */
  readonly concurrency: number;
  /** Per second; 0 as fast as it goes. */
  readonly rate: number;
  /** Opens connection number i; its owner then calls onReady(i) or fail(). */
  readonly open: (number: number) => void;
}

/** Without a handshake that completes in this time, the broker is called unavailable. */
const PATIENCE_MS = 30_000;
/** How often the rate and the patience are looked at. */
const LOOK_EVERY_MS = 5;

export class Opening {
  readonly #plan: OpeningPlan;
  readonly #clock: Clock;
  readonly #openedAtMs: Float64Array;
  #opened = 0;
  #ready = 0;
  #beganMs = 0;
  #progressMs = 0;
  #timer: Timer | undefined;
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  /** In microseconds: from the connect until it was ready. */
  readonly handshakes = new Histogram();
  /** How long all of it took, in milliseconds. */
  tookMs = 0;

  constructor(plan: OpeningPlan, clock: Clock) {
    this.#plan = plan;
    this.#clock = clock;
    this.#openedAtMs = new Float64Array(plan.count);
  }

  get readyCount(): number {
    return this.#ready;
  }

  /** Resolves when all are ready. Errors: UNAVAILABLE, and what fail() was called with. */
  async run(): Promise<void> {
    this.#beganMs = this.#clock.now();
    this.#progressMs = this.#beganMs;
    const done = new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#look();
    try {
      await done;
    } finally {
      this.#timer?.cancel();
      this.tookMs = this.#clock.now() - this.#beganMs;
    }
  }

  onReady(number: number): void {
    const nowMs = this.#clock.now();
    this.#ready++;
    this.#progressMs = nowMs;
    this.handshakes.record((nowMs - (this.#openedAtMs[number] ?? nowMs)) * 1000);
    if (this.#ready === this.#plan.count) this.#settle?.resolve();
    else this.#openMore();
  }

  fail(error: unknown): void {
    this.#settle?.reject(error);
  }

  #look(): void {
    this.#openMore();
    if (this.#clock.now() - this.#progressMs > PATIENCE_MS && this.#opened > this.#ready) {
      this.fail(
        new BenchError(
          'UNAVAILABLE',
          `the broker accepted ${this.#ready} of ${this.#plan.count} connections and then none for ${PATIENCE_MS / 1000} s`,
        ),
      );
      return;
    }
    this.#timer = this.#clock.setTimer(LOOK_EVERY_MS, () => this.#look());
  }

  #openMore(): void {
    const { count, concurrency, rate, open } = this.#plan;
    const nowMs = this.#clock.now();
    const allowed = rate === 0 ? count : Math.min(count, 1 + Math.floor(((nowMs - this.#beganMs) * rate) / 1000));
    while (this.#opened < allowed && this.#opened - this.#ready < concurrency) {
      const number = this.#opened++;
      this.#openedAtMs[number] = nowMs;
      open(number);
    }
  }
}
