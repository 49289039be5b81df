// Shards in one LevelDB database: for one node, durable against loss of power.
//
// Appends are synced and share their syncs (level-commit-queue.ts); the index by key and by tag is in the same batch
// as the record. LevelDB is trusted with acknowledged records only as far as level-database.ts says: a flipped bit
// in its files may lose records silently, so a node that must not lose any keeps them in the journal.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import type { Level } from 'level';
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
import { LevelCatalogue } from './level-catalogue.js';
import { LevelCommitQueue } from './level-commit-queue.js';
import { LevelDatabase } from './level-database.js';
import { groupKey, groupRange, newestKey, shardOfGroupKey } from './level-keys.js';
import {
  type LevelStorageOptions,
  type ResolvedLevelStorageOptions,
  resolveLevelStorageOptions,
} from './level-options.js';
import { findOffsetAtTime, readRecord, readRecords, readTagged } from './level-reading.js';
import type { LevelShard } from './level-shard.js';
import { LevelTrimming } from './level-trimming.js';
import { decodeNewest, decodeOffset, encodeOffset, encodeRecord } from './level-values.js';

export interface LevelStorageDeps {
  readonly clock: Clock;
  readonly logger?: Logger;
  /** LevelDB itself; the one of the package `level` unless given. Tests give one that fails when told to. */
  readonly level?: typeof Level;
}

/** A tag's or group's length is stored in two bytes. */
const NAME_BYTES_MAX = 65_535;

export class LevelShardStorage extends ShardStorage {
  readonly capabilities: Capabilities = {
    durability: 'single-fsync',
    compaction: true,
    readByKey: true,
    readByTag: true,
    idempotentAppend: true,
    denseOffsets: true,
  };

  readonly #options: ResolvedLevelStorageOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #database: LevelDatabase;
  readonly #catalogue: LevelCatalogue;
  readonly #queue: LevelCommitQueue;
  readonly #trimming: LevelTrimming;
  #tick: Timer;
  #enforcing: Promise<void> = Promise.resolve();

  /**
   * Opens or creates the database. StorageError INVALID_ARGUMENT, UNAVAILABLE (held by another process), DISK_FULL, or
   * FAILED (damaged, or of another format).
   */
  static async open(given: LevelStorageOptions, deps: LevelStorageDeps): Promise<LevelShardStorage> {
    const options = resolveLevelStorageOptions(given);
    const database = await LevelDatabase.open(options, deps.clock, deps.level);
    try {
      const catalogue = new LevelCatalogue(database);
      await catalogue.load();
      return new LevelShardStorage({ options, deps, database, catalogue });
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  private constructor(parts: {
    options: ResolvedLevelStorageOptions;
    deps: LevelStorageDeps;
    database: LevelDatabase;
    catalogue: LevelCatalogue;
  }) {
    super();
    const { options, deps, database, catalogue } = parts;
    this.#options = options;
    this.#clock = deps.clock;
    this.#logger = deps.logger ?? nullLogger;
    this.#database = database;
    this.#catalogue = catalogue;
    const shards = () => catalogue.shards.values();
    this.#queue = new LevelCommitQueue({ database, clock: deps.clock, shards, options });
    this.#trimming = new LevelTrimming(database, this.#queue, this.#logger);
    this.#tick = this.#setTick();
  }

  protected override async _createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    await this.#queue.alone(() => this.#catalogue.create(shard, config));
  }

  protected override async _deleteShard(shard: ShardId): Promise<void> {
    const target = this.#shard(shard);
    await this.#queue.alone(() => this.#catalogue.delete(target));
  }

  protected override async _listShards(prefix: string): Promise<ShardId[]> {
    return [...this.#catalogue.shards.keys()].filter((shard) => shard.startsWith(prefix)).sort();
  }

  protected override async _describeShard(shard: ShardId): Promise<ShardDescription> {
    const { config, head } = this.#shard(shard);
    return { shard, config, logStart: head.logStart as Offset, end: head.end as Offset }; // kept as offsets
  }

  protected override _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    { producer }: AppendOptions,
  ): Promise<AppendResult> {
    try {
      const target = this.#shard(shard);
      const encoded = records.map((record) => {
        const { key, tags = [], payload } = record;
        for (const tag of tags) assertNameFits('a tag', tag);
        return { key, tags, payloadBytes: payload.length, bytes: encodeRecord(record) };
      });
      return this.#queue.append({ shard: target, records: encoded, producer });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  protected override async _read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return await readRecords(this.#database, this.#shard(shard), options);
  }

  protected override async _readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    return await readTagged(this.#database, this.#shard(shard), query);
  }

  protected override async _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    return await findOffsetAtTime(this.#database, this.#shard(shard), timestampMs);
  }

  protected override async _readByKey(shard: ShardId, { key }: KeyQuery): Promise<StoredRecord | undefined> {
    const target = this.#shard(shard);
    // Compaction may take the record away between the two reads; the entry then names a newer one.
    for (let attempt = 0; attempt < 3; attempt++) {
      const entry = await this.#database.get(newestKey(target.number, key));
      if (!entry) return undefined;
      const { offset, payloadBytes } = decodeNewest(entry);
      if (payloadBytes === 0 && target.config.cleanup === 'compact') return undefined; // a tombstone
      if (offset < target.head.logStart) return undefined;
      const record = await readRecord(this.#database, target, offset);
      if (record) return record;
    }
    return undefined;
  }

  protected override _onEnd(shard: ShardId, listener: EndListener): () => void {
    const { listeners } = this.#shard(shard);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  protected override async _trim(shard: ShardId, before: Offset): Promise<void> {
    const target = this.#shard(shard);
    if (before > target.head.end) {
      const { end } = target.head;
      throw new StorageError('OFFSET_OUT_OF_RANGE', `cannot trim shard ${shard} to ${before}, it ends at ${end}`);
    }
    await this.#trimming.trimTo(target, before);
    this.#trimming.sweepLater(target);
  }

  protected override async _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    assertNameFits('a group', group);
    await this.#queue.write(
      offsets.map(({ shard, offset }) => ({
        type: 'put' as const,
        key: groupKey(group, shard),
        value: encodeOffset(offset),
      })),
    );
  }

  protected override async _committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    assertNameFits('a group', group);
    const all = { limit: -1, bytesMax: Number.POSITIVE_INFINITY };
    const entries = await this.#database.entries(groupRange(group), all);
    return entries.map(([key, value]) => ({
      shard: shardOfGroupKey(key) as ShardId, // stored as one
      offset: decodeOffset(value),
    }));
  }

  protected override async _deleteGroup(group: string): Promise<void> {
    assertNameFits('a group', group);
    await this.#queue.alone(async () => {
      const keys = await this.#database.keys(groupRange(group), -1);
      await this.#database.write(
        keys.map((key) => ({ type: 'del' as const, key })),
        'durable',
      );
    });
  }

  protected override async _close(): Promise<void> {
    this.#tick.cancel();
    await this.#trimming.stop();
    await this.#enforcing;
    await this.#queue.drain();
    await this.#database.close();
  }

  #setTick(): Timer {
    return this.#clock.setTimer(this.#options.retentionEveryMs, () => {
      this.#enforcing = this.#enforceRetention().finally(() => {
        if (this.state === 'open') this.#tick = this.#setTick();
      });
    });
  }

  async #enforceRetention(): Promise<void> {
    for (const shard of [...this.#catalogue.shards.values()]) {
      if (this.state !== 'open') return;
      try {
        await this.#trimming.enforce(shard, this.#clock.wallTime());
      } catch (error) {
        this.#logger.warn(
          { shard: shard.name, err: error },
          'level storage: retention failed, the next tick tries again',
        );
      }
    }
  }

  #shard(shard: ShardId): LevelShard {
    const found = this.#catalogue.shards.get(shard);
    if (!found) throw new StorageError('SHARD_NOT_FOUND', `no shard ${shard}: create it first`);
    return found;
  }
}

function assertNameFits(what: string, name: string): void {
  if (Buffer.byteLength(name) > NAME_BYTES_MAX)
    throw new StorageError('INVALID_ARGUMENT', `${what} of more than ${NAME_BYTES_MAX} bytes`);
}
