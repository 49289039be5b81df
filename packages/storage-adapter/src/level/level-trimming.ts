// Takes records away from the beginning of a shard: because trim() said so, or because they are too old or too many.
//
// Invariants:
//   T1. logStart is durable before the first record below it is deleted.
//   T2. Deletion goes in steps with the queue free in between, so that appends wait for one step at most.
//   T3. A crash in between leaves records below logStart that nobody can read; the next tick deletes them.

import type { Logger } from '@robustmq/stdx/logger';
import { TOMBSTONE_MS } from '../shard-storage.js';
import type { LevelCommitQueue } from './level-commit-queue.js';
import type { LevelDatabase, LevelEntry, LevelOperation } from './level-database.js';
import {
  headKey,
  newestKey,
  offsetOfRecordKey,
  offsetOfTombstoneKey,
  recordKey,
  recordRange,
  tagKey,
  tombstoneRange,
} from './level-keys.js';
import type { LevelShard } from './level-shard.js';
import { decodeNewest, decodeRecord, encodeHead, type ShardHead } from './level-values.js';

/** One step. */
const STEP = { limit: 256, bytesMax: 4 * 1024 * 1024 } as const;

export class LevelTrimming {
  readonly #database: LevelDatabase;
  readonly #queue: LevelCommitQueue;

  readonly #logger: Logger;
  readonly #sweeps = new Set<Promise<void>>();
  #state: 'running' | 'stopped' = 'running';

  constructor(database: LevelDatabase, queue: LevelCommitQueue, logger: Logger) {
    this.#database = database;
    this.#queue = queue;
    this.#logger = logger;
  }

  /** Resolves when the step under way is done; what is left waits for the next life (T3). */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    await Promise.all(this.#sweeps);
  }

  /** Raises logStart, durably. The records go with sweep(). */
  async trimTo(shard: LevelShard, before: number): Promise<void> {
    await this.#queue.alone(async () => {
      if (before <= shard.head.logStart || shard.state === 'deleted') return; // S5
      await this.#storeHead(shard, { ...shard.head, logStart: before }, []);
    });
  }

  /** Deletes what lies below logStart, in the background. */
  sweepLater(shard: LevelShard): void {
    const sweep = this.#sweep(shard).catch((error: unknown) => {
      this.#logger.warn({ shard: shard.name, err: error }, 'level storage: sweeping failed, the next tick tries again');
    });
    this.#sweeps.add(sweep);
    void sweep.then(() => this.#sweeps.delete(sweep));
  }

  async #sweep(shard: LevelShard): Promise<void> {
    while (this.#state === 'running' && shard.state === 'live' && shard.cleanFrom < shard.head.logStart) {
      await this.#queue.alone(() => this.#sweepStep(shard)); // T2
    }
  }

  /** Applies the retention of a shard. */
  async enforce(shard: LevelShard, wallTimeMs: number): Promise<void> {
    const { cleanup, retentionMs, retentionBytes } = shard.config;
    if (cleanup === 'delete' && (retentionMs !== undefined || retentionBytes !== undefined)) {
      while (this.#state === 'running') {
        const before = await this.#expired(shard, wallTimeMs);
        if (before <= shard.head.logStart) break;
        await this.trimTo(shard, before);
        await this.#sweep(shard);
      }
    }
    await this.#sweep(shard); // T3
    const beforeMs = wallTimeMs - (shard.config.tombstoneMs ?? TOMBSTONE_MS);
    while (cleanup === 'compact' && this.#state === 'running' && shard.state === 'live')
      if (!(await this.#queue.alone(() => this.#dropTombstones(shard, beforeMs)))) return; // T2
  }

  /** Takes a step's worth of tombstones away. Gives whether there may be more. */
  async #dropTombstones({ number }: LevelShard, beforeMs: number): Promise<boolean> {
    const entries = await this.#database.entries(tombstoneRange(number, beforeMs), STEP);
    if (entries.length === 0) return false;
    const keys = entries.map(([, key]) => newestKey(number, key.toString()));
    const newest = await this.#database.getMany(keys);
    const operations: LevelOperation[] = entries.flatMap(([at], i) => {
      const operation: LevelOperation = { type: 'del', key: at };
      const [key, entry] = [keys[i], newest[i]];
      const offset = offsetOfTombstoneKey(at);
      if (!key || !entry || decodeNewest(entry).offset !== offset) return [operation]; // a newer record replaced it
      const tags = decodeNewest(entry).tags.map((tag) => tagKey(number, tag, offset));
      return [
        operation,
        ...[key, recordKey(number, offset), ...tags].map((gone) => ({ type: 'del' as const, key: gone })),
      ];
    });
    await this.#database.write(operations, 'later'); // lost by a crash: the next tick does it again
    return entries.length >= STEP.limit;
  }

  /** Where the first step's worth of expired records ends; logStart when nothing has expired. */
  async #expired({ number, head, config }: LevelShard, wallTimeMs: number): Promise<number> {
    const { logStart, end, payloadBytes } = head;
    const { retentionMs, retentionBytes = Number.POSITIVE_INFINITY } = config;
    const oldestMs = retentionMs === undefined ? 0 : wallTimeMs - retentionMs;
    let keepFrom = logStart;
    let bytes = payloadBytes;
    // Mostly nothing has expired, and the first record alone shows it.
    for (const step of [{ limit: 1, bytesMax: 1 }, STEP]) {
      for (const [key, value] of await this.#database.entries(recordRange(number, keepFrom, end), step)) {
        const record = decodeRecord(offsetOfRecordKey(key), value);
        if (record.timestampMs >= oldestMs && bytes <= retentionBytes) return keepFrom;
        bytes -= record.payload.length;
        keepFrom = record.offset + 1;
      }
    }
    return keepFrom;
  }

  async #sweepStep(shard: LevelShard): Promise<void> {
    const { head, number } = shard;
    const entries = await this.#database.entries(recordRange(number, shard.cleanFrom, head.logStart), STEP);
    if (entries.length === 0) {
      shard.cleanFrom = head.logStart;
      return;
    }
    const { operations, payloadBytes, next } = await this.#deletionOf(shard, entries);
    await this.#storeHead(shard, { ...head, payloadBytes: head.payloadBytes - payloadBytes }, operations);
    shard.cleanFrom = next;
  }

  async #deletionOf({ number }: LevelShard, entries: readonly LevelEntry[]) {
    const operations: LevelOperation[] = [];
    const keyed: { at: Buffer; offset: number }[] = [];
    let payloadBytes = 0;
    let next = 0;
    for (const [key, value] of entries) {
      const record = decodeRecord(offsetOfRecordKey(key), value);
      operations.push({ type: 'del', key });
      for (const tag of record.tags) operations.push({ type: 'del', key: tagKey(number, tag, record.offset) });
      if (record.key !== undefined) keyed.push({ at: newestKey(number, record.key), offset: record.offset });
      payloadBytes += record.payload.length;
      next = record.offset + 1;
    }
    const newest = await this.#database.getMany(keyed.map(({ at }) => at));
    keyed.forEach(({ at, offset }, i) => {
      const entry = newest[i];
      if (entry && decodeNewest(entry).offset === offset) operations.push({ type: 'del', key: at });
    });
    return { operations, payloadBytes, next };
  }

  async #storeHead(shard: LevelShard, head: ShardHead, operations: LevelOperation[]): Promise<void> {
    const put: LevelOperation = { type: 'put', key: headKey(shard.number), value: encodeHead(head) };
    await this.#database.write([...operations, put], operations.length === 0 ? 'durable' : 'later'); // T1
    shard.head = head;
  }
}
