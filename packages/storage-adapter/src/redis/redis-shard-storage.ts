// Shards in Redis Streams (redis-scripts.ts has the keys). Fast, and of class bounded-loss: what is acknowledged may be
// lost by a failover, whatever the settings.

import type { Clock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
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
import { RedisConnection, type RedisReply } from './redis-connection.js';
import {
  type RedisStorageOptions,
  type ResolvedRedisStorageOptions,
  resolveRedisStorageOptions,
} from './redis-options.js';
import * as scripts from './redis-scripts.js';
import { checkServer, checkSettings } from './redis-settings-check.js';

/** Records one script deletes: a millisecond or so, in which the server does nothing else. */
const STEP_RECORDS = 500;

/**
 * Opens storage in a Redis server. StorageError CLIENT_MISSING, UNAVAILABLE, or ENGINE_UNFIT when its settings would
 * lose records.
 */
export async function openRedisStorage(
  given: RedisStorageOptions,
  deps: ExternalStorageDeps,
): Promise<ExternalShardStorage> {
  const options = resolveRedisStorageOptions(given);
  const { logger = nullLogger, clock } = deps;
  const connection = await RedisConnection.open(options, logger);
  try {
    await checkServer(connection);
    await judgeSettings(connection, options, logger);
  } catch (error) {
    connection.close();
    throw error;
  }
  return new ExternalShardStorage(new RedisEngine(connection, options.prefix, clock), options, deps);
}

async function judgeSettings(
  connection: RedisConnection,
  { settingsCheck }: ResolvedRedisStorageOptions,
  logger: Logger,
): Promise<void> {
  if (settingsCheck === 'required') await checkSettings(connection, logger);
  else logger.warn({ engine: 'redis' }, 'the settings of redis are not checked, as configured: they may lose records');
}

class RedisEngine implements ExternalEngine {
  readonly name = 'redis';
  readonly durability = 'bounded-loss';
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #clock: Clock;

  constructor(connection: RedisConnection, prefix: string, clock: Clock) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  async createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    const wanted = JSON.stringify(config);
    for (;;) {
      const keys = [this.#base(shard), this.#shards];
      const [outcome, existing] = await this.#connection.run(scripts.CREATE, keys, [shard, wanted]);
      if (String(outcome) === 'OK') return;
      const found = String(existing);
      if (configChange(shard, JSON.parse(found) as ShardConfig, config) === 'none') return; // written by this method
      const [change] = await this.#connection.run(scripts.CONFIGURE, [this.#base(shard)], [found, wanted]);
      if (String(change) === 'OK') return; // otherwise somebody else changed or deleted it: once more
    }
  }

  async deleteShard(shard: ShardId): Promise<void> {
    const [outcome] = await this.#connection.run(scripts.DELETE, [this.#base(shard), this.#shards], [shard]);
    if (String(outcome) !== 'OK') throw notFound(shard);
  }

  async listShards(prefix: string): Promise<ShardId[]> {
    const names = listOf(await this.#connection.call('SMEMBERS', this.#shards)).map(String);
    return names.filter((name) => name.startsWith(prefix)).sort() as ShardId[]; // were parsed when created
  }

  async describeShard(shard: ShardId): Promise<ShardDescription> {
    const fields = ['config', 'logStart', 'end'];
    const [config, logStart, end] = listOf(await this.#connection.call('HMGET', `${this.#base(shard)}:h`, ...fields));
    if (!config) throw notFound(shard);
    return {
      shard,
      config: JSON.parse(String(config)) as ShardConfig, // written by createShard
      logStart: offsetOf(logStart),
      end: offsetOf(end),
    };
  }

  async appendGroup(
    shard: ShardId,
    group: readonly GroupedAppend[],
    { writer, sequence }: Attempt,
  ): Promise<readonly AppendOutcome[]> {
    const args: (string | Buffer)[] = [writer, `${sequence}`, `${this.#clock.wallTime()}`, `${group.length}`];
    for (const { records, producer } of group) {
      args.push(producer ? '1' : '0', producer?.id ?? '', `${producer?.epoch ?? 0}`, `${producer?.sequence ?? 0}`);
      args.push(`${records.length}`);
      for (const { payload, key, tags = [] } of records)
        args.push(payload, key === undefined ? '0' : '1', key ?? '', `${tags.length}`, ...tags);
    }
    const outcomes = await this.#run(shard, scripts.APPEND, args);
    return group.map((append, i) => outcomeOf(append, listOf(outcomes[i] ?? null)));
  }

  async read(shard: ShardId, { from, maxRecords, maxBytes }: ReadOptions): Promise<ReadResult> {
    return pageOf(await this.#run(shard, scripts.READ, [`${from}`, count(maxRecords), count(maxBytes)]));
  }

  async readByTag(shard: ShardId, { from, maxRecords, maxBytes, tag }: TagQuery): Promise<ReadResult> {
    return pageOf(await this.#run(shard, scripts.READ_TAGGED, [`${from}`, count(maxRecords), count(maxBytes), tag]));
  }

  async readByKey(shard: ShardId, { key }: KeyQuery): Promise<StoredRecord | undefined> {
    const [entry] = await this.#run(shard, scripts.READ_KEY, [key]);
    return entry ? recordOf(entry) : undefined;
  }

  async offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    const [offset] = await this.#run(shard, scripts.AT_TIME, [`${timestampMs}`]);
    return offsetOf(offset);
  }

  async trim(shard: ShardId, before: Offset): Promise<void> {
    for (;;) {
      const [more] = await this.#run(shard, scripts.TRIM, [`${before}`, `${STEP_RECORDS}`]);
      if (String(more) !== '1') return;
    }
  }

  async commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    const pairs = offsets.flatMap(({ shard, offset }) => [shard, `${offset}`]);
    await this.#connection.call('HSET', this.#group(group), ...pairs);
  }

  async committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    const pairs = listOf(await this.#connection.call('HGETALL', this.#group(group)));
    return Array.from({ length: pairs.length / 2 }, (_, i) => ({
      shard: String(pairs[2 * i]) as ShardId, // was one when it was committed
      offset: offsetOf(pairs[2 * i + 1]),
    }));
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#connection.call('DEL', this.#group(group));
  }

  async endsOf(shards: readonly ShardId[]): Promise<readonly (number | undefined)[]> {
    const ends = await Promise.all(
      shards.map((shard) => this.#connection.call('HGET', `${this.#base(shard)}:h`, 'end')),
    );
    return ends.map((end) => (end ? Number(String(end)) : undefined));
  }

  async housekeep(): Promise<void> {
    for (const shard of await this.listShards('')) {
      for (let more = '1'; more === '1'; ) {
        const args = [`${this.#clock.wallTime()}`, `${STEP_RECORDS}`, `${TOMBSTONE_MS}`];
        const [outcome, rest] = await this.#connection.run(scripts.EXPIRE, [this.#base(shard)], args);
        more = String(outcome) === 'OK' ? String(rest) : '0'; // otherwise it was deleted meanwhile
      }
    }
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /** What a script says after OK. */
  async #run(shard: ShardId, script: string, args: readonly (string | Buffer)[]): Promise<readonly RedisReply[]> {
    const [outcome, ...rest] = await this.#connection.run(script, [this.#base(shard)], args);
    if (String(outcome) === 'NONE') throw notFound(shard);
    if (String(outcome) === 'RANGE') {
      const text = `an offset outside of shard ${shard}, which holds ${String(rest[0])} to ${String(rest[1])}`;
      throw new StorageError('OFFSET_OUT_OF_RANGE', text);
    }
    return rest;
  }

  get #shards(): string {
    return `${this.#prefix}shards`;
  }

  #base(shard: ShardId): string {
    return `${this.#prefix}{${shard}}`;
  }

  #group(group: string): string {
    return `${this.#prefix}g:${group}`;
  }
}

function outcomeOf({ producer }: GroupedAppend, [kind, first, last]: readonly RedisReply[]): AppendOutcome {
  const id = producer?.id;
  switch (String(kind)) {
    case 'A':
      return { kind: 'appended', result: { firstOffset: offsetOf(first), lastOffset: offsetOf(last) } };
    case 'F': {
      const text = `producer ${id} of epoch ${producer?.epoch} was replaced by ${String(first)}`;
      return { kind: 'refused', error: new StorageError('PRODUCER_FENCED', text) };
    }
    default: {
      const text = `producer ${id} sent ${producer?.sequence}, ${String(first)} was next`;
      return { kind: 'refused', error: new StorageError('SEQUENCE_GAP', text) };
    }
  }
}

function pageOf([next, end, entries]: readonly RedisReply[]): ReadResult {
  return { next: offsetOf(next), end: offsetOf(end), records: listOf(entries ?? null).map(recordOf) };
}

/** A stream's entry: its id, and its fields one after the other. */
function recordOf(entry: RedisReply): StoredRecord {
  const [id, fields] = listOf(entry);
  const list = listOf(fields ?? null) as readonly Buffer[]; // an entry's fields are texts
  const tags: string[] = [];
  let timestampMs = 0;
  let key: string | undefined;
  let payload = Buffer.alloc(0);
  for (let i = 0; i + 1 < list.length; i += 2) {
    const value = list[i + 1] as Buffer; // within the list
    const field = String(list[i]);
    if (field === 't') timestampMs = Number(String(value));
    else if (field === 'd')
      payload = value as typeof payload; // the same class with another type argument
    else if (field === 'k') key = String(value);
    else tags.push(String(value));
  }
  return { offset: Number.parseInt(String(id), 10) as Offset, timestampMs, key, tags, payload }; // ids are made of offsets
}

const listOf = (reply: RedisReply): readonly RedisReply[] => (Array.isArray(reply) ? reply : []);
const offsetOf = (reply: RedisReply | undefined): Offset => Number(String(reply)) as Offset; // written as one
/** A bound may be infinite, which Lua does not read. */
const count = (bound: number): string => String(Math.min(bound, Number.MAX_SAFE_INTEGER));
const notFound = (shard: ShardId) => new StorageError('SHARD_NOT_FOUND', `no shard ${shard}: create it first`);
