import { Backoff } from '@robustmq/stdx/backoff';
import type { Clock } from '@robustmq/stdx/clock';
import type { Prng } from '@robustmq/stdx/prng';
import { MetaError } from '../errors.js';

/** Between attempts: long enough not to storm, short enough that an election of half a second is ridden over. */
const RETRY_BACKOFF = { firstMs: 20, longestMs: 500 };

export interface RetryOptions {
  readonly clock: Clock;
  readonly prng: Prng;
  /** No attempt begins after this. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly isRetryable: (error: MetaError) => boolean;
}

export interface Attempt {
  /** How many attempts before this one may have been applied. */
  readonly ambiguous: number;
  /** What is left of the time limit. */
  readonly remainingMs: number;
}

/**
 * Calls until it succeeds, fails for good, the time is over, or the signal aborts. The last error is what the caller
 * gets; once an attempt may have been applied, it says so (`next: 'unknown'`) even if a later one was refused.
 */
export async function retrying<T>(options: RetryOptions, call: (attempt: Attempt) => Promise<T>): Promise<T> {
  const { clock, signal } = options;
  const deadlineMs = clock.now() + options.timeoutMs;
  const backoff = new Backoff(RETRY_BACKOFF, options.prng);
  let unclear: MetaError | undefined;
  for (let ambiguous = 0; ; ) {
    signal?.throwIfAborted();
    try {
      return await call({ ambiguous, remainingMs: Math.max(1, deadlineMs - clock.now()) });
    } catch (error) {
      if (!(error instanceof MetaError) || signal?.aborted) throw error;
      if (error.next === 'unknown') {
        unclear = error;
        ambiguous++;
      }
      const delayMs = backoff.nextDelayMs();
      if (!options.isRetryable(error) || clock.now() + delayMs >= deadlineMs) throw outcome(error, unclear);
      await delay(clock, delayMs, signal);
    }
  }
}

function outcome(last: MetaError, unclear: MetaError | undefined): MetaError {
  // What is wrong with the request itself is certain, whatever came before.
  if (!unclear || last.next === 'unknown' || last.next === 'never') return last;
  return new MetaError(last.code, last.message, { next: 'unknown', cause: last.cause ?? unclear });
}

export function delay(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.setTimer(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
    if (signal?.aborted) done();
  });
}
