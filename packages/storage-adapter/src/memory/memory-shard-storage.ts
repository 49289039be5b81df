// The plainest driver: everything in this process, gone with it. For tests and for brokers that promise nothing.

import type { Clock } from '@robustmq/stdx/clock';
import type { Capabilities } from '../capabilities.js';
import { configChange } from '../config-change.js';
import { StorageError } from '../errors.js';
import { type ProducerHistory, ProducerTable } from '../producer-table.js';
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
  TOMBSTONE_MS,
} from '../shard-storage.js';

interface MemoryShard {
  config: ShardConfig;
  /** In offset order; with gaps where compaction dropped a record. */
  records: StoredRecord[];
  logStart: number;
  end: number;
  payloadBytes: number;
  lastTimestampMs: number;
  readonly newestByKey: Map<string, number>;
  /** Of a compacted shard: keys whose newest record is a tombstone, oldest first, with its time. */
  readonly tombstones: Map<string, number>;
  readonly producers: ProducerHistory;
  readonly listeners: Set<EndListener>;
}

export interface MemoryShardStorageDeps {
  readonly clock: Clock;
}

export class MemoryShardStorage extends ShardStorage {
  readonly capabilities: Capabilities = {
    durability: 'memory',
    compaction: true,
    readByKey: true,
    readByTag: true,
    idempotentAppend: true,
    denseOffsets: true,
  };

  readonly #clock: Clock;
  readonly #shards = new Map<ShardId, MemoryShard>();
  readonly #groups = new Map<string, Map<ShardId, Offset>>();

  constructor(deps: MemoryShardStorageDeps) {
    super();
    this.#clock = deps.clock;
  }

  protected override async _createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    const existing = this.#shards.get(shard);
    if (existing) {
      if (configChange(shard, existing.config, config) === 'none') return;
      existing.config = config;
      this.#enforceRetention(existing);
      return;
    }
    this.#shards.set(shard, {
      config,
      records: [],
      logStart: 0,
      end: 0,
      payloadBytes: 0,
      lastTimestampMs: 0,
      newestByKey: new Map(),
      tombstones: new Map(),
      producers: new ProducerTable(),
      listeners: new Set(),
    });
  }

  protected override async _deleteShard(shard: ShardId): Promise<void> {
    this.#shard(shard);
    this.#shards.delete(shard);
  }

  protected override async _listShards(prefix: string): Promise<ShardId[]> {
    return [...this.#shards.keys()].filter((shard) => shard.startsWith(prefix)).sort();
  }

  protected override async _describeShard(shard: ShardId): Promise<ShardDescription> {
    const { config, logStart, end } = this.#shard(shard);
    return { shard, config, logStart: logStart as Offset, end: end as Offset }; // kept as offsets by append
  }

  protected override _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    { producer }: AppendOptions,
  ): Promise<AppendResult> {
    try {
      const target = this.#shard(shard);
      const first = target.end as Offset; // the next offset by definition
      if (producer) {
        const admission = target.producers.admit(producer, records.length, first);
        if (admission.kind === 'repeated') return Promise.resolve(admission.result);
      }
      target.lastTimestampMs = Math.max(target.lastTimestampMs, this.#clock.wallTime());
      for (const record of records) this.#push(target, record);
      this.#enforceRetention(target);
      for (const listener of target.listeners) listener(target.end as Offset); // as above
      return Promise.resolve({ firstOffset: first, lastOffset: (target.end - 1) as Offset }); // at least one record
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #push(target: MemoryShard, { key, tags, payload }: AppendRecord): void {
    const offset = target.end++ as Offset; // the next offset by definition
    // A copy: the caller's buffer may be a view of something large or reused.
    target.records.push({
      offset,
      timestampMs: target.lastTimestampMs,
      key,
      tags: tags ?? [],
      payload: Buffer.from(payload),
    });
    target.payloadBytes += payload.length;
    if (key === undefined) return;
    const older = target.newestByKey.get(key);
    target.newestByKey.set(key, offset);
    if (target.config.cleanup !== 'compact') return;
    if (older !== undefined) this.#drop(target, older);
    target.tombstones.delete(key);
    if (payload.length === 0) target.tombstones.set(key, target.lastTimestampMs);
  }

  #drop(target: MemoryShard, offset: number): void {
    const at = lowerBound(target.records, offset);
    const [dropped] = target.records[at]?.offset === offset ? target.records.splice(at, 1) : [];
    if (dropped) target.payloadBytes -= dropped.payload.length;
  }

  /** There is no background work here: what has expired goes when somebody looks. */
  #dropTombstones(target: MemoryShard): void {
    const { config, tombstones, newestByKey } = target;
    const oldestMs = this.#clock.wallTime() - (config.tombstoneMs ?? TOMBSTONE_MS);
    for (const [key, timestampMs] of tombstones) {
      if (timestampMs >= oldestMs) return;
      const offset = newestByKey.get(key);
      if (offset !== undefined) this.#drop(target, offset);
      this.#forgetKey(target, key);
    }
  }

  #forgetKey({ newestByKey, tombstones }: MemoryShard, key: string): void {
    newestByKey.delete(key);
    tombstones.delete(key);
  }

  #enforceRetention(target: MemoryShard): void {
    const { cleanup, retentionMs, retentionBytes } = target.config;
    if (cleanup !== 'delete') return;
    const oldestMs = retentionMs === undefined ? 0 : target.lastTimestampMs - retentionMs;
    let keepFrom = 0;
    let bytes = target.payloadBytes;
    for (const record of target.records) {
      if (record.timestampMs >= oldestMs && (retentionBytes === undefined || bytes <= retentionBytes)) break;
      bytes -= record.payload.length;
      keepFrom++;
    }
    if (keepFrom > 0) this.#trimTo(target, target.records[keepFrom]?.offset ?? target.end);
  }

  #trimTo(target: MemoryShard, before: number): void {
    if (before <= target.logStart) return; // S5
    const keepFrom = lowerBound(target.records, before);
    for (const record of target.records.splice(0, keepFrom)) {
      target.payloadBytes -= record.payload.length;
      if (record.key !== undefined && target.newestByKey.get(record.key) === record.offset)
        this.#forgetKey(target, record.key);
    }
    target.logStart = before;
  }

  protected override async _read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return this.#collect(shard, options, () => true);
  }

  protected override async _readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    return this.#collect(shard, query, (record) => record.tags.includes(query.tag));
  }

  #collect(shard: ShardId, options: ReadOptions, wanted: (record: StoredRecord) => boolean): ReadResult {
    const { records, logStart, end } = this.#shard(shard);
    const { from, maxRecords, maxBytes } = options;
    if (from < logStart || from > end)
      throw new StorageError(
        'OFFSET_OUT_OF_RANGE',
        `offset ${from} of shard ${shard}, which holds ${logStart} to ${end}`,
      );
    const found: StoredRecord[] = [];
    let bytes = 0;
    let next = end;
    for (let i = lowerBound(records, from); i < records.length; i++) {
      const record = records[i] as StoredRecord; // i is within the list
      if (found.length >= maxRecords || bytes >= maxBytes) {
        next = record.offset;
        break;
      }
      if (!wanted(record)) continue;
      found.push(record);
      bytes += record.payload.length;
    }
    return { records: found, next: next as Offset, end: end as Offset }; // both were offsets before
  }

  protected override async _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    const { records, end } = this.#shard(shard);
    return records.find((record) => record.timestampMs >= timestampMs)?.offset ?? (end as Offset); // the end is one
  }

  protected override async _readByKey(shard: ShardId, { key }: KeyQuery): Promise<StoredRecord | undefined> {
    const { newestByKey, tombstones, records } = this.#shard(shard);
    const offset = newestByKey.get(key);
    return offset === undefined || tombstones.has(key) ? undefined : records[lowerBound(records, offset)];
  }

  protected override _onEnd(shard: ShardId, listener: EndListener): () => void {
    const { listeners } = this.#shard(shard);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  protected override async _trim(shard: ShardId, before: Offset): Promise<void> {
    const target = this.#shard(shard);
    if (before > target.end)
      throw new StorageError(
        'OFFSET_OUT_OF_RANGE',
        `cannot trim shard ${shard} to ${before}, it ends at ${target.end}`,
      );
    this.#trimTo(target, before);
  }

  protected override async _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    const committed = this.#groups.get(group) ?? new Map<ShardId, Offset>();
    this.#groups.set(group, committed);
    for (const { shard, offset } of offsets) committed.set(shard, offset);
  }

  protected override async _committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    return [...(this.#groups.get(group) ?? [])].map(([shard, offset]) => ({ shard, offset }));
  }

  protected override async _deleteGroup(group: string): Promise<void> {
    this.#groups.delete(group);
  }

  protected override async _close(): Promise<void> {
    this.#shards.clear();
    this.#groups.clear();
  }

  #shard(shard: ShardId): MemoryShard {
    const found = this.#shards.get(shard);
    if (!found) throw new StorageError('SHARD_NOT_FOUND', `no shard ${shard}: create it first`);
    if (found.tombstones.size > 0) this.#dropTombstones(found);
    return found;
  }
}

/** The place of the first record at or behind an offset. */
function lowerBound(records: readonly StoredRecord[], offset: number): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((records[middle] as StoredRecord).offset < offset)
      low = middle + 1; // middle is within the list
    else high = middle;
  }
  return low;
}
