import type { Clock } from '@robustmq/stdx/clock';
import { RuntimeError } from './errors.js';

export interface LimitedSignal {
  readonly signal: AbortSignal;
  /** To be called when the work is over; a signal that lives longer then holds nothing of it. */
  end(): void;
}

/** A signal that aborts after a time on the given clock, or when the given signal does. */
export function limitedSignal(options: {
  readonly afterMs: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}): LimitedSignal {
  const { afterMs, clock, signal } = options;
  const abort = new AbortController();
  const late = () =>
    abort.abort(new RuntimeError('META_SILENT', `the metadata did not answer within ${Math.round(afterMs)} ms`));
  const timer = clock.setTimer(afterMs, late);
  const passOn = () => abort.abort(signal?.reason);
  if (signal?.aborted) passOn();
  else signal?.addEventListener('abort', passOn, { once: true });
  return {
    signal: abort.signal,
    end: () => {
      timer.cancel();
      signal?.removeEventListener('abort', passOn);
    },
  };
}
