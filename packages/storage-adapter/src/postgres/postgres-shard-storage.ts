// Shards in PostgreSQL (postgres-tables.ts has the tables): durable as its commits are, and fenced by the lock of a row.

import type { Clock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import type { Durability } from '../capabilities.js';
import { configChange } from '../config-change.js';
import { StorageError } from '../errors.js';
import type { AppendOutcome, Attempt, ExternalEngine, GroupedAppend } from '../external/external-engine.js';
import { ExternalShardStorage, type ExternalStorageDeps } from '../external/external-shard-storage.js';
import type { Offset, ShardId, StoredRecord } from '../record.js';
import {
  type GroupOffset,
  type KeyQuery,
  type ReadOptions,
  type ReadResult,
  type ShardConfig,
  type ShardDescription,
  type TagQuery,
  TOMBSTONE_MS,
} from '../shard-storage.js';
import { appendInTransaction, hashOf, lockShard, shardOf } from './postgres-append.js';
import { PostgresConnections, type Row } from './postgres-connections.js';
import { type PostgresStorageOptions, resolvePostgresStorageOptions } from './postgres-options.js';
import { createTables, judgeServer } from './postgres-tables.js';

/** Records one transaction deletes: appends to the shard wait for one such step at most. */
const STEP_RECORDS = 1000;
/** Records of one read: the server sorts and sends them as a whole. */
const PAGE_RECORDS_MAX = 10_000;

/** Opens storage in a PostgreSQL database. StorageError CLIENT_MISSING, UNAVAILABLE or ENGINE_UNFIT. */
export async function openPostgresStorage(
  given: PostgresStorageOptions,
  deps: ExternalStorageDeps,
): Promise<ExternalShardStorage> {
  const options = resolvePostgresStorageOptions(given);
  const connections = await PostgresConnections.open(options, deps.logger ?? nullLogger);
  try {
    const durability = await judgeServer(connections);
    await createTables(connections, options.schema);
    return new ExternalShardStorage(new PostgresEngine(connections, deps.clock, durability), options, deps);
  } catch (error) {
    await connections.close();
    throw error;
  }
}

class PostgresEngine implements ExternalEngine {
  readonly name = 'postgres';
  readonly durability: Durability;
  readonly #connections: PostgresConnections;
  readonly #clock: Clock;

  constructor(connections: PostgresConnections, clock: Clock, durability: Durability) {
    this.#connections = connections;
    this.#clock = clock;
    this.durability = durability;
  }

  async createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    const written = JSON.stringify(config);
    await this.#connections.transact(async (ask) => {
      const insert = 'INSERT INTO shard (name, config) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id';
      if ((await ask(insert, [shard, written])).length > 0) return;
      const existing = await lockShard(ask, shard);
      if (configChange(shard, existing.config, config) === 'retention')
        await ask('UPDATE shard SET config = $2 WHERE id = $1', [existing.id, written]);
    });
  }

  async deleteShard(shard: ShardId): Promise<void> {
    const deleted = await this.#connections.ask('DELETE FROM shard WHERE name = $1 RETURNING id', [shard]);
    if (deleted.length === 0) shardOf(shard, undefined);
  }

  async listShards(prefix: string): Promise<ShardId[]> {
    const rows = await this.#connections.ask('SELECT name FROM shard WHERE starts_with(name, $1) ORDER BY name', [
      prefix,
    ]);
    return rows.map(({ name }) => String(name) as ShardId); // were parsed when created
  }

  async describeShard(shard: ShardId): Promise<ShardDescription> {
    const [row] = await this.#connections.ask('SELECT * FROM shard WHERE name = $1', [shard]);
    const { config, logStart, next } = shardOf(shard, row);
    return { shard, config, logStart: logStart as Offset, end: next as Offset }; // kept as offsets
  }

  async appendGroup(
    shard: ShardId,
    group: readonly GroupedAppend[],
    attempt: Attempt,
  ): Promise<readonly AppendOutcome[]> {
    const wallTimeMs = this.#clock.wallTime();
    return await this.#connections.transact((ask) => appendInTransaction(ask, shard, { group, attempt, wallTimeMs }));
  }

  async read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return await this.#page(shard, options, undefined);
  }

  async readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    return await this.#page(shard, query, query.tag);
  }

  /** One statement, so one moment: a record that a trim takes away meanwhile is either below logStart or there. */
  async #page(shard: ShardId, options: ReadOptions, tag: string | undefined): Promise<ReadResult> {
    const maxRecords = Math.min(options.maxRecords, PAGE_RECORDS_MAX);
    const maxBytes = Math.min(options.maxBytes, Number.MAX_SAFE_INTEGER);
    const tagged =
      tag === undefined
        ? ''
        : 'AND EXISTS (SELECT FROM record_tag t WHERE t.shard = r.shard AND t.off = r.off AND t.tag = $5)';
    const rows = await this.#connections.ask(
      `SELECT s.*, p.* FROM shard s LEFT JOIN LATERAL (
         SELECT off, ts, key, tags, payload FROM (
           SELECT *, sum(octet_length(payload)) OVER (ORDER BY off) - octet_length(payload) AS before FROM (
             SELECT r.* FROM record r WHERE r.shard = s.id AND r.off >= greatest($2::bigint, s.log_start) ${tagged}
             ORDER BY r.off LIMIT $3) AS limited) AS summed
         WHERE before < $4::bigint) AS p ON true WHERE s.name = $1 ORDER BY p.off`,
      [shard, options.from, maxRecords, maxBytes, ...(tag === undefined ? [] : [hashOf(tag)])],
    );
    const { logStart, next: end } = shardOf(shard, rows[0]);
    const { from } = options;
    if (from < logStart || from > end) {
      const text = `offset ${from} of shard ${shard}, which holds ${logStart} to ${end}`;
      throw new StorageError('OFFSET_OUT_OF_RANGE', text);
    }
    const records = rows.filter(({ off }) => off !== null).map(recordOf);
    const bytes = records.reduce((sum, { payload }) => sum + payload.length, 0);
    const last = records.at(-1);
    const isCut = last !== undefined && (records.length >= maxRecords || bytes >= maxBytes);
    return { records, next: (isCut ? last.offset + 1 : end) as Offset, end: end as Offset }; // behind one, and one
  }

  async readByKey(shard: ShardId, { key }: KeyQuery): Promise<StoredRecord | undefined> {
    const [row] = await this.#connections.ask(
      `SELECT s.*, r.off, r.ts, r.key, r.tags, r.payload FROM shard s LEFT JOIN LATERAL (
         SELECT * FROM record WHERE shard = s.id AND key IS NOT NULL AND sha256(key) = $2 AND off >= s.log_start
         ORDER BY off DESC LIMIT 1) AS r ON true WHERE s.name = $1`,
      [shard, hashOf(key)],
    );
    const { config } = shardOf(shard, row);
    if (!row || row['off'] === null) return undefined;
    const record = recordOf(row);
    return config.cleanup === 'compact' && record.payload.length === 0 ? undefined : record; // a tombstone
  }

  async offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    const [row] = await this.#connections.ask(
      `SELECT s.*, r.off FROM shard s LEFT JOIN LATERAL (
         SELECT off FROM record WHERE shard = s.id AND ts >= $2::numeric AND off >= s.log_start ORDER BY ts, off LIMIT 1
       ) AS r ON true WHERE s.name = $1`,
      [shard, timestampMs],
    );
    const { next } = shardOf(shard, row);
    return Number(row?.['off'] ?? next) as Offset; // of a record, or the end
  }

  async trim(shard: ShardId, before: Offset): Promise<void> {
    await this.#connections.transact(async (ask) => {
      const { id, logStart, next } = await lockShard(ask, shard);
      if (before > next) {
        const text = `cannot trim shard ${shard} to ${before}, it ends at ${next}`;
        throw new StorageError('OFFSET_OUT_OF_RANGE', text);
      }
      if (before > logStart) await ask('UPDATE shard SET log_start = $2 WHERE id = $1', [id, before]);
    });
    while (await this.#sweepStep(shard)) {}
  }

  /** Deletes what lies below logStart, some of it. Gives whether there may be more. */
  async #sweepStep(shard: ShardId): Promise<boolean> {
    return await this.#connections.transact(async (ask) => {
      const { id, logStart } = await lockShard(ask, shard);
      const gone = await ask(
        `DELETE FROM record WHERE shard = $1 AND off IN (
           SELECT off FROM record WHERE shard = $1 AND off < $2 ORDER BY off LIMIT $3)
         RETURNING octet_length(payload) AS bytes`,
        [id, logStart, STEP_RECORDS],
      );
      const bytes = gone.reduce((sum, row) => sum + Number(row['bytes']), 0);
      if (bytes > 0) await ask('UPDATE shard SET bytes = bytes - $2 WHERE id = $1', [id, bytes]);
      return gone.length === STEP_RECORDS;
    });
  }

  async commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    // The last of a shard wins, and a statement may touch a row once.
    const last = new Map(offsets.map(({ shard, offset }) => [shard, offset]));
    await this.#connections.ask(
      `INSERT INTO group_offset SELECT $1, shard, off FROM unnest($2::text[], $3::bigint[]) AS o(shard, off)
       ON CONFLICT (grp, shard) DO UPDATE SET off = excluded.off`,
      [hashOf(group), [...last.keys()], [...last.values()]],
    );
  }

  async committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    const rows = await this.#connections.ask('SELECT shard, off FROM group_offset WHERE grp = $1', [hashOf(group)]);
    return rows.map(({ shard, off }) => ({ shard: String(shard) as ShardId, offset: Number(off) as Offset })); // were both when committed
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#connections.ask('DELETE FROM group_offset WHERE grp = $1', [hashOf(group)]);
  }

  async endsOf(shards: readonly ShardId[]): Promise<readonly (number | undefined)[]> {
    const rows = await this.#connections.ask('SELECT name, next FROM shard WHERE name = ANY($1::text[])', [shards]);
    const ends = new Map(rows.map(({ name, next }) => [String(name), Number(next)]));
    return shards.map((shard) => ends.get(shard));
  }

  async housekeep(): Promise<void> {
    for (const shard of await this.listShards('')) {
      try {
        while (await this.#expireStep(shard)) {}
        while (await this.#sweepStep(shard)) {}
      } catch (error) {
        if (!(error instanceof StorageError) || error.code !== 'SHARD_NOT_FOUND') throw error; // it was deleted meanwhile
      }
    }
  }

  /** Moves logStart over what is too old or too much, and lets old tombstones go. Gives whether there may be more. */
  async #expireStep(shard: ShardId): Promise<boolean> {
    return await this.#connections.transact(async (ask) => {
      const { id, config, logStart, bytes } = await lockShard(ask, shard);
      const now = this.#clock.wallTime();
      if (config.cleanup === 'compact') {
        const gone = await ask(
          `DELETE FROM record WHERE shard = $1 AND off IN (
             SELECT off FROM record WHERE shard = $1 AND ts < $2 AND key IS NOT NULL AND octet_length(payload) = 0 LIMIT $3)
           RETURNING off`,
          [id, now - (config.tombstoneMs ?? TOMBSTONE_MS), STEP_RECORDS],
        );
        return gone.length === STEP_RECORDS;
      }
      const { retentionMs, retentionBytes } = config;
      if (config.cleanup !== 'delete' || (retentionMs === undefined && retentionBytes === undefined)) return false;
      const oldest = await ask(
        'SELECT off, ts, octet_length(payload) AS bytes FROM record WHERE shard = $1 AND off >= $2 ORDER BY off LIMIT $3',
        [id, logStart, STEP_RECORDS],
      );
      let left = bytes;
      let before = logStart;
      for (const row of oldest) {
        const isOld = retentionMs !== undefined && Number(row['ts']) < now - retentionMs;
        if (!isOld && left <= (retentionBytes ?? Number.POSITIVE_INFINITY)) break;
        left -= Number(row['bytes']);
        before = Number(row['off']) + 1;
      }
      if (before === logStart) return false;
      await ask('DELETE FROM record WHERE shard = $1 AND off < $2', [id, before]);
      await ask('UPDATE shard SET log_start = $2, bytes = $3 WHERE id = $1', [id, before, left]);
      return true;
    });
  }

  async close(): Promise<void> {
    await this.#connections.close();
  }
}

function recordOf(row: Row): StoredRecord {
  const { off, ts, key, tags, payload } = row;
  return {
    offset: Number(off) as Offset, // stored as one
    timestampMs: Number(ts),
    key: key instanceof Buffer ? key.toString() : undefined,
    tags: JSON.parse(String(tags)) as string[], // written by the append
    payload: payload as Buffer, // a bytea
  };
}
