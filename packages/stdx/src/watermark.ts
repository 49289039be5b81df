import { assert } from './assert.js';

interface Waiter {
  readonly target: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * A number that only rises, and those who wait for it to reach theirs.
 *
 * Invariants:
 *   W1. value never goes down.
 *   W2. A waiter settles exactly once: when its target is reached, its signal aborts, or the mark fails.
 */
export class Watermark {
  #value: number;
  #waiters: Waiter[] = [];
  #failure: { readonly reason: unknown } | undefined;

  constructor(initial: number) {
    this.#value = initial;
  }

  get value(): number {
    return this.#value;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Raises the mark and resolves those it has reached. */
  raise(to: number): void {
    assert(to >= this.#value, `a watermark only rises (${this.#value} to ${to})`); // W1
    this.#value = to;
    const reached = this.#waiters.filter((waiter) => waiter.target <= to);
    if (reached.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.target > to);
    for (const waiter of reached) waiter.resolve();
  }

  /** Resolves when the mark is at `target` or above; rejects with the signal's reason or the mark's failure. */
  reaches(target: number, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.reason);
    if (this.#value >= target) return Promise.resolve();
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal?.reason);
      };
      const settled =
        <A extends unknown[]>(settle: (...args: A) => void) =>
        (...args: A) => {
          signal?.removeEventListener('abort', onAbort);
          settle(...args);
        };
      const waiter: Waiter = { target, resolve: settled(resolve), reject: settled(reject) };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** The mark will never rise again: everybody who waits, now or later, is told why. */
  fail(reason: unknown): void {
    if (this.#failure) return;
    this.#failure = { reason };
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(reason);
  }
}
