// Between the shards and the WAL: gathers what a turn of the event loop appends, keeps the budgets, and tells
// the rest of the engine what became durable.
//
// Invariants:
//   W1. Appends of one turn to one shard become one batch and one WAL frame: the cost of a frame, a checksum
//       and a callback is paid once per shard and turn.
//   W2. inflightBytes and unwrittenBytes are bounded; beyond the bound an append is refused, never queued. [I13]

import type { Clock } from '@robustmq/stdx/clock';
import { StorageError } from '@robustmq/storage-adapter';
import type { Wal, WalError } from '@robustmq/wal';
import type { Segment } from '../segment/segment.js';
import type { StoredBatch } from '../shard/stored-batch.js';
import type { TailCache } from '../shard/tail-cache.js';
import { type EngineState, failedError } from './engine-state.js';
import { WAL_KIND } from './wal-kind.js';

export interface BatchWriterOptions {
  readonly inflightBytesMax: number;
  readonly unwrittenBytesMax: number;
}

export interface BatchWriterDeps {
  readonly clock: Clock;
  readonly wal: Wal;
  readonly state: EngineState;
  readonly cache: TailCache;
}

/** What a batch comes from: a shard. */
export interface BatchSource {
  /** Makes one batch of what was gathered and calls write() with it. */
  seal(): void;
  readonly wantsPrepared: boolean;
}

/** What happens to batches and segments; the flusher and the roller listen. */
export interface WriterListener<Log extends BatchSource> {
  /** A shard has durable batches to write to its file. */
  onUnwritten(log: Log): void;
  /** The last batch of a segment is durable: it can be closed. */
  onSealed(log: Log, segment: Segment): void;
  onNearlyFull(log: Log): void;
  /** The disk had no room for the WAL. */
  onDiskFull(): void;
}

export class BatchWriter<Log extends BatchSource> {
  inflightBytes = 0;
  unwrittenBytes = 0;
  appendedBatches = 0;
  appendedBytes = 0;
  readonly #options: BatchWriterOptions;
  readonly #deps: BatchWriterDeps;
  #listener: WriterListener<Log> | undefined;
  #gathering = new Set<Log>();
  #outstanding = 0;
  #refusing: StorageError | undefined;
  #refusals = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(options: BatchWriterOptions, deps: BatchWriterDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  listen(listener: WriterListener<Log>): void {
    this.#listener = listener;
  }

  /** Why an append of so many bytes is refused now; undefined when it is not. */
  refusal(bytes: number): StorageError | undefined {
    const refused = this.#deps.state.refusal();
    if (refused) return refused;
    const { inflightBytesMax, unwrittenBytesMax } = this.#options;
    // One append larger than the whole budget passes when nothing else is under way.
    if (this.inflightBytes > 0 && this.inflightBytes + bytes > inflightBytesMax)
      return overloaded(`${this.inflightBytes} bytes wait for the WAL, at most ${inflightBytesMax}`);
    if (this.unwrittenBytes > 0 && this.unwrittenBytes + bytes > unwrittenBytesMax)
      return overloaded(`${this.unwrittenBytes} bytes wait for their segment file, at most ${unwrittenBytesMax}`);
    return undefined;
  }

  reserve(bytes: number): void {
    this.inflightBytes += bytes;
  }

  release(bytes: number): void {
    this.inflightBytes -= bytes;
  }

  /** Seals the shard's batch at the end of this turn (W1). */
  gather(log: Log): void {
    if (this.#gathering.size === 0) this.#deps.clock.setImmediate(() => this.sealGathered());
    this.#gathering.add(log);
  }

  sealGathered(): void {
    if (this.#gathering.size === 0) return;
    const logs = this.#gathering;
    this.#gathering = new Set();
    for (const log of logs) log.seal();
  }

  /** Hands one batch to the WAL; `settled` is called once it is durable or cannot become so. */
  write(log: Log, batch: StoredBatch, settled: (error: StorageError | undefined) => void): void {
    this.appendedBatches++;
    this.appendedBytes += batch.buffer.length;
    this.#outstanding++;
    try {
      // Nothing reaches the WAL behind a refused batch before its shard was told and went back (L4).
      const refused = this.#deps.state.refusal() ?? this.#refusing;
      if (refused) throw refused;
      this.#deps.wal.append(WAL_KIND.batch, [batch.buffer], (error) => {
        settled(error === undefined ? undefined : this.#refused(error));
        this.#finished();
      });
    } catch (error) {
      const refused = this.#refused(error);
      this.#refusing = refused;
      this.#refusals++;
      this.#deps.clock.setImmediate(() => {
        if (--this.#refusals === 0) this.#refusing = undefined;
        settled(refused);
        this.#finished();
      });
    }
    if (log.wantsPrepared) this.#listener?.onNearlyFull(log);
  }

  /** Resolves when nothing is on its way to the WAL. */
  idle(): Promise<void> {
    if (this.#outstanding === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #finished(): void {
    this.#outstanding--;
    if (this.#outstanding > 0 || this.#idleWaiters.length === 0) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  committed(log: Log, batch: StoredBatch): void {
    this.unwrittenBytes += batch.buffer.length;
    this.#deps.cache.add(batch);
    this.#listener?.onUnwritten(log);
  }

  sealed(log: Log, segment: Segment): void {
    this.#listener?.onSealed(log, segment);
  }

  #refused(error: unknown): StorageError {
    if (error instanceof StorageError) return error;
    const code = (error as Partial<WalError>).code; // whatever was thrown
    if (code === 'DISK_FULL') {
      this.#listener?.onDiskFull();
      return new StorageError('DISK_FULL', 'no space is left for the write-ahead log', { cause: error });
    }
    this.#deps.state.fail(error);
    return failedError(error);
  }
}

const overloaded = (what: string) => new StorageError('OVERLOADED', `${what}; retry after a pause`);
