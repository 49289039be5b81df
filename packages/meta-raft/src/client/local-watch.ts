import { MiB } from '@robustmq/stdx/byte-size';
import { MetaError } from '../errors.js';
import type { KeyRange } from '../state/key-range.js';
import type { TakeLimits, Watcher, WatchHub, WatchTake } from '../state/watch-hub.js';
import type { WatchBatch } from './meta-client.js';
import { toWatchBatch } from './requests.js';

/** Where a batch ends, with the revision it is in. */
const BATCH_LIMITS: TakeLimits = { versions: 1000, bytes: MiB };

export interface LocalWatchInit {
  readonly hub: WatchHub;
  readonly range: KeyRange;
  readonly fromRevision: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onClose: (watch: LocalWatch) => void;
}

type WatchPhase =
  | { readonly phase: 'open' }
  | { readonly phase: 'ended' }
  | { readonly phase: 'broken'; readonly error: MetaError };

/**
 * A watch on the state of this process. It is open as soon as it is made, not at the first next(): what
 * changes after the call is never missed.
 */
export class LocalWatch implements AsyncIterableIterator<WatchBatch> {
  readonly #init: LocalWatchInit;
  readonly #watcher: Watcher;
  readonly #onAbort = () => this.#end({ phase: 'ended' });
  #phase: WatchPhase = { phase: 'open' };
  /** next() calls that wait, oldest first. A consumer has one at a time; more are legal. */
  #waiting: (() => void)[] = [];

  constructor(init: LocalWatchInit) {
    this.#init = init;
    this.#watcher = init.hub.open(init.range, init.fromRevision, () => this.#wake());
    init.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (init.signal?.aborted) this.#onAbort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchBatch, undefined>> {
    for (;;) {
      if (this.#phase.phase === 'broken') throw this.#phase.error;
      if (this.#phase.phase === 'ended') return { done: true, value: undefined };
      const taken = this.#watcher.take(BATCH_LIMITS);
      if (taken.take === 'changes') return { done: false, value: toWatchBatch(taken.versions, taken.revision) };
      if (taken.take === 'compacted') this.#end({ phase: 'broken', error: compacted(this.#watcher, taken) });
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async return(): Promise<IteratorResult<WatchBatch, undefined>> {
    this.#end({ phase: 'ended' });
    return { done: true, value: undefined };
  }

  /** The client or the service below is gone. */
  fail(error: MetaError): void {
    this.#end({ phase: 'broken', error });
  }

  #end(phase: Exclude<WatchPhase, { readonly phase: 'open' }>): void {
    if (this.#phase.phase !== 'open') return;
    this.#phase = phase;
    this.#init.signal?.removeEventListener('abort', this.#onAbort);
    this.#watcher.close();
    this.#init.onClose(this);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function compacted(watcher: Watcher, taken: Extract<WatchTake, { readonly take: 'compacted' }>): MetaError {
  return new MetaError(
    'COMPACTED',
    `The changes from revision ${watcher.nextRevision} on are no longer kept; history begins at ${taken.compactedRevision}. ` +
      'List the keys again and watch from the revision of that list plus one.',
  );
}
