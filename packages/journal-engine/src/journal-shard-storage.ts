// The journal as a ShardStorage: what the broker holds.

import {
  type AppendOptions,
  type AppendRecord,
  type AppendResult,
  type Capabilities,
  type EndListener,
  type GroupOffset,
  type Offset,
  type ReadOptions,
  type ReadResult,
  type ShardConfig,
  type ShardDescription,
  type ShardId,
  ShardStorage,
  StorageError,
  type StoredRecord,
} from '@robustmq/storage-adapter';
import type { JournalEngine } from './journal-engine.js';

export class JournalShardStorage extends ShardStorage {
  readonly capabilities: Capabilities = {
    durability: 'single-fsync',
    compaction: true,
    readByKey: false,
    readByTag: false,
    idempotentAppend: true,
    denseOffsets: true,
  };

  readonly #engine: JournalEngine;

  constructor(engine: JournalEngine) {
    super();
    this.#engine = engine;
  }

  protected override _createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    return this.#engine.createShard(shard, config);
  }

  protected override _deleteShard(shard: ShardId): Promise<void> {
    return this.#engine.deleteShard(shard);
  }

  protected override async _listShards(prefix: string): Promise<ShardId[]> {
    return this.#engine.listShards(prefix);
  }

  protected override async _describeShard(shard: ShardId): Promise<ShardDescription> {
    const { config, logStart, committedEnd } = this.#engine.shards.get(shard).log;
    return { shard, config, logStart: logStart as Offset, end: committedEnd as Offset }; // kept as offsets by the log
  }

  protected override _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    { producer }: AppendOptions,
  ): Promise<AppendResult> {
    const handle = this.#engine.shards.find(shard);
    if (!handle) return Promise.reject(new StorageError('SHARD_NOT_FOUND', `no shard ${shard}: create it first`));
    return handle.log.append(records, producer);
  }

  protected override _read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return this.#engine.reader.read(this.#engine.shards.get(shard).log, options);
  }

  protected override async _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    const offset = await this.#engine.reader.offsetAtTime(this.#engine.shards.get(shard).log, timestampMs);
    return offset as Offset; // of a record, or the end
  }

  protected override async _readByKey(): Promise<StoredRecord | undefined> {
    throw new StorageError('NOT_SUPPORTED', 'the journal has no key index');
  }

  protected override async _readByTag(): Promise<ReadResult> {
    throw new StorageError('NOT_SUPPORTED', 'the journal has no tag index');
  }

  protected override _onEnd(shard: ShardId, listener: EndListener): () => void {
    const { listeners } = this.#engine.shards.get(shard).log;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  protected override _trim(shard: ShardId, before: Offset): Promise<void> {
    return this.#engine.trim(shard, before);
  }

  protected override _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    return this.#engine.offsets.commit(group, offsets);
  }

  protected override _committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    return this.#engine.offsets.committed(group);
  }

  protected override _deleteGroup(group: string): Promise<void> {
    return this.#engine.offsets.deleteGroup(group);
  }

  protected override _close(): Promise<void> {
    return this.#engine.close();
  }
}
