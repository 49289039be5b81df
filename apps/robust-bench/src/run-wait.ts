// The waits of a run. Each ends when its time is over, when the run is stopped from outside, or when it failed.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { Opening } from './opening.js';

export class RunWait {
  readonly #clock: Clock;
  readonly #stopSignal: AbortSignal;
  #wake: (() => void) | undefined;
  failure: string | undefined;

  constructor(clock: Clock, stopSignal: AbortSignal) {
    this.#clock = clock;
    this.#stopSignal = stopSignal;
    stopSignal.addEventListener('abort', this.#onStop, { once: true });
  }

  readonly #onStop = (): void => this.#wake?.();

  /** The run is over: the signal, which may live on, forgets it. */
  release(): void {
    this.#stopSignal.removeEventListener('abort', this.#onStop);
  }

  get interrupted(): boolean {
    return this.failure !== undefined || this.#stopSignal.aborted;
  }

  /** The run is over; the first reason stands. */
  fail(reason: string): void {
    this.failure ??= reason;
    this.#wake?.();
  }

  async pause(ms: number): Promise<'elapsed' | 'interrupted'> {
    if (this.interrupted) return 'interrupted';
    return await new Promise((resolve) => {
      const end = (outcome: 'elapsed' | 'interrupted') => {
        this.#wake = undefined;
        timer.cancel();
        resolve(outcome);
      };
      const timer = this.#clock.setTimer(ms, () => end('elapsed'));
      this.#wake = () => end('interrupted');
    });
  }

  /** Ends early only when the run fails. To be used for short times. */
  async pauseThoughStopped(ms: number): Promise<'elapsed' | 'failed'> {
    if (this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#clock.setTimer(ms, resolve);
      });
    }
    return this.failure === undefined ? 'elapsed' : 'failed';
  }

  /** Opens the connections, or as many as there are when the run is stopped. */
  async openOrStop(opening: Opening): Promise<void> {
    if (this.#stopSignal.aborted) return;
    const stopped = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    try {
      await Promise.race([opening.run(), stopped]);
    } finally {
      this.#wake = undefined;
    }
  }

  every(ms: number, look: () => void): Timer {
    let timer = this.#clock.setTimer(ms, again);
    let state: 'ticking' | 'cancelled' = 'ticking';
    const clock = this.#clock;
    function again(): void {
      look();
      if (state === 'ticking') timer = clock.setTimer(ms, again);
    }
    return {
      cancel: () => {
        state = 'cancelled';
        timer.cancel();
      },
    };
  }
}
