import { MetaError } from '../errors.js';
import type { ReplicationCallOptions } from './replication.js';

/**
 * One caller who waits: settled exactly once, by an outcome, its deadline, or its signal.
 * A deadline is looked at once per tick; a timer for each would cost more than the call.
 */
export class Call<Value> {
  readonly promise: Promise<Value>;
  readonly deadlineMs: number;
  readonly #signal: AbortSignal | undefined;
  #settle: { readonly resolve: (value: Value) => void; readonly reject: (reason: unknown) => void } | undefined;
  readonly #onAbort = () => this.reject(this.#signal?.reason);

  constructor(options: ReplicationCallOptions, times: { readonly nowMs: number; readonly timeoutMs: number }) {
    this.promise = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.deadlineMs = times.nowMs + (options.timeoutMs ?? times.timeoutMs);
    this.#signal = options.signal;
    if (this.#signal?.aborted) this.#onAbort();
    else this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get isSettled(): boolean {
    return this.#settle === undefined;
  }

  resolve(value: Value): void {
    this.#take()?.resolve(value);
  }

  reject(reason: unknown): void {
    this.#take()?.reject(reason);
  }

  /** True when the caller waits no longer. */
  expire(nowMs: number, what: string): boolean {
    if (this.#settle && nowMs >= this.deadlineMs) {
      this.reject(
        new MetaError('DEADLINE', `The time limit passed before ${what}. Is a majority of the nodes running?`),
      );
    }
    return this.isSettled;
  }

  #take() {
    const settle = this.#settle;
    this.#settle = undefined;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    return settle;
  }
}
