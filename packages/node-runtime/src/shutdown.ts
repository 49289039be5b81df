// Stop signals as one promise.
//
// The first SIGTERM or SIGINT asks for an orderly stop. A second one of either kind ends the process at once:
// who asks twice does not want to wait.

import type { Clock } from '@robustmq/stdx/clock';
import { EXIT_CODES } from './exit-codes.js';

export type StopSignal = 'SIGINT' | 'SIGTERM';

/** The part of the process that delivers signals; a test passes its own. */
export interface SignalSource {
  on(signal: StopSignal, listener: () => void): unknown;
  off(signal: StopSignal, listener: () => void): unknown;
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export const exitCodeOfSignal: Readonly<Record<StopSignal, number>> = {
  SIGINT: EXIT_CODES.interrupted,
  SIGTERM: EXIT_CODES.terminated,
};

/**
 * One key press can arrive twice: the terminal signals the whole process group, and a launcher such as npm
 * passes its own signal on. Within this many milliseconds of the first, a signal is the same wish.
 */
const SAME_WISH_MS = 400;

/** Why the process stops: a signal, or a part of it that failed for good. */
export type StopReason =
  | { readonly kind: 'signal'; readonly signal: StopSignal }
  | { readonly kind: 'failure'; readonly error: unknown };

export class StopRequest {
  readonly #abort = new AbortController();
  readonly #source: SignalSource;
  readonly #listeners = new Map<StopSignal, () => void>();
  readonly #clock: Clock;
  #reason: StopReason | undefined;
  #firstSignalMs: number | undefined;

  constructor(source: SignalSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Aborts when a stop is asked for; its reason is the StopReason. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get reason(): StopReason | undefined {
    return this.#reason;
  }

  listen(onSecondSignal: (signal: StopSignal) => void): void {
    for (const signal of STOP_SIGNALS) {
      const listener = () => {
        this.#firstSignalMs ??= this.#clock.now();
        if (!this.#reason) this.request({ kind: 'signal', signal });
        else if (this.#clock.now() - this.#firstSignalMs > SAME_WISH_MS) onSecondSignal(signal);
      };
      this.#listeners.set(signal, listener);
      this.#source.on(signal, listener);
    }
  }

  /** Only the first reason counts. */
  request(reason: StopReason): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#abort.abort(reason);
  }

  requested(): Promise<StopReason> {
    if (this.#reason) return Promise.resolve(this.#reason);
    return new Promise((resolve) => {
      this.signal.addEventListener('abort', () => resolve(this.signal.reason as StopReason), { once: true }); // request() sets it
    });
  }

  unlisten(): void {
    for (const [signal, listener] of this.#listeners) this.#source.off(signal, listener);
    this.#listeners.clear();
  }
}
