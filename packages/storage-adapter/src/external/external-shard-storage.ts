// A ShardStorage over an external engine: what does not depend on which engine it is.

import { randomUUID } from 'node:crypto';
import { Backoff } from '@robustmq/stdx/backoff';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import type { Capabilities } from '../capabilities.js';
import { StorageError } from '../errors.js';
import type { AppendRecord, Offset, ShardId, StoredRecord } from '../record.js';
import {
  type AppendOptions,
  type AppendResult,
  type EndListener,
  type GroupOffset,
  type KeyQuery,
  type ReadOptions,
  type ReadResult,
  type ShardConfig,
  type ShardDescription,
  ShardStorage,
  type TagQuery,
} from '../shard-storage.js';
import { AppendLane } from './append-lane.js';
import { EndWatch } from './end-watch.js';
import type { ExternalEngine } from './external-engine.js';
import type { ResolvedExternalStorageOptions } from './external-options.js';

export interface ExternalStorageDeps {
  readonly clock: Clock;
  readonly logger?: Logger;
}

/** What a record costs beside its payload, roughly. */
const RECORD_OVERHEAD_BYTES = 64;

export class ExternalShardStorage extends ShardStorage {
  readonly capabilities: Capabilities;
  readonly #engine: ExternalEngine;
  readonly #options: ResolvedExternalStorageOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #watch: EndWatch;
  readonly #lanes = new Map<ShardId, AppendLane>();
  /** Two processes that share an engine must never take each other's attempts for their own. */
  readonly #writer = randomUUID();
  #pendingBytes = 0;
  #tick: Timer;
  #housekeeping: Promise<void> = Promise.resolve();

  constructor(engine: ExternalEngine, options: ResolvedExternalStorageOptions, deps: ExternalStorageDeps) {
    super();
    const { clock, logger = nullLogger } = deps;
    this.capabilities = {
      durability: engine.durability,
      compaction: true,
      readByKey: true,
      readByTag: true,
      idempotentAppend: true,
      denseOffsets: true,
    };
    this.#engine = engine;
    this.#options = options;
    this.#clock = clock;
    this.#logger = logger;
    this.#watch = new EndWatch(engine, { clock, logger, pollEveryMs: options.pollEveryMs });
    this.#tick = this.#setTick();
  }

  protected override _createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    return this.#engine.createShard(shard, config);
  }

  protected override async _deleteShard(shard: ShardId): Promise<void> {
    await this.#lanes.get(shard)?.drain();
    await this.#engine.deleteShard(shard);
  }

  protected override _listShards(prefix: string): Promise<ShardId[]> {
    return this.#engine.listShards(prefix);
  }

  protected override _describeShard(shard: ShardId): Promise<ShardDescription> {
    return this.#engine.describeShard(shard);
  }

  protected override _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    { producer }: AppendOptions,
  ): Promise<AppendResult> {
    let bytes = 0;
    for (const { payload } of records) bytes += payload.length + RECORD_OVERHEAD_BYTES;
    const { pendingBytesMax } = this.#options;
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > pendingBytesMax) {
      const text = `${this.#pendingBytes} bytes wait for ${this.#engine.name}, at most ${pendingBytesMax}`;
      return Promise.reject(new StorageError('OVERLOADED', text));
    }
    this.#pendingBytes += bytes;
    return this.#lane(shard).append({ records, producer }, bytes);
  }

  #lane(shard: ShardId): AppendLane {
    let lane = this.#lanes.get(shard);
    if (!lane) {
      const prng = createPrng(this.#writer);
      lane = new AppendLane(shard, {
        engine: this.#engine,
        clock: this.#clock,
        writer: this.#writer,
        giveUpMs: this.#options.giveUpMs,
        newBackoff: () => new Backoff({ firstMs: 20, longestMs: 1000 }, prng),
        onEnd: (grown, end) => this.#watch.grew(grown, end),
        onSettled: (bytes) => {
          this.#pendingBytes -= bytes;
        },
      });
      this.#lanes.set(shard, lane);
    }
    return lane;
  }

  protected override _read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return this.#engine.read(shard, options);
  }

  protected override _readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    return this.#engine.readByTag(shard, query);
  }

  protected override _readByKey(shard: ShardId, query: KeyQuery): Promise<StoredRecord | undefined> {
    return this.#engine.readByKey(shard, query);
  }

  protected override _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    return this.#engine.offsetAtTime(shard, timestampMs);
  }

  protected override _onEnd(shard: ShardId, listener: EndListener): () => void {
    return this.#watch.listen(shard, listener);
  }

  protected override _trim(shard: ShardId, before: Offset): Promise<void> {
    return this.#engine.trim(shard, before);
  }

  protected override _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    return this.#engine.commitOffsets(group, offsets);
  }

  protected override _committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    return this.#engine.committedOffsets(group);
  }

  protected override _deleteGroup(group: string): Promise<void> {
    return this.#engine.deleteGroup(group);
  }

  protected override async _close(): Promise<void> {
    this.#tick.cancel();
    await Promise.all([...this.#lanes.values()].map((lane) => lane.drain()));
    await this.#watch.stop();
    await this.#housekeeping;
    this.#tick.cancel();
    await this.#engine.close();
  }

  #setTick(): Timer {
    return this.#clock.setTimer(this.#options.retentionEveryMs, () => {
      this.#housekeeping = this.#engine
        .housekeep()
        .catch((error: unknown) => {
          this.#logger.warn({ engine: this.#engine.name }, `retention waits for the next tick: ${errorMessage(error)}`);
        })
        .finally(() => {
          if (this.state === 'open') this.#tick = this.#setTick();
        });
    });
  }
}
