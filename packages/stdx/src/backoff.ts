import { assert } from './assert.js';
import type { Prng } from './prng.js';

export interface BackoffOptions {
  /** The first delay, in milliseconds. */
  readonly firstMs: number;
  /** No delay is longer, in milliseconds. */
  readonly longestMs: number;
}

/**
 * Delays between attempts: each twice the one before, up to a limit, each drawn from its upper half
 * so that peers that failed together do not come back together.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #prng: Prng;
  #attempts = 0;

  constructor(options: BackoffOptions, prng: Prng) {
    assert(options.firstMs > 0 && options.longestMs >= options.firstMs, 'backoff delays rise from above zero');
    this.#options = options;
    this.#prng = prng;
  }

  get attempts(): number {
    return this.#attempts;
  }

  nextDelayMs(): number {
    // 2^30 times any first delay is beyond every limit; more would overflow for nothing.
    const exponent = Math.min(this.#attempts++, 30);
    const ceiling = Math.min(this.#options.longestMs, this.#options.firstMs * 2 ** exponent);
    return ceiling / 2 + (this.#prng.next() * ceiling) / 2;
  }

  /** To be called after a success. */
  reset(): void {
    this.#attempts = 0;
  }
}
