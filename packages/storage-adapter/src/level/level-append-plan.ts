import { StorageError } from '../errors.js';
import { admitBatch, type ProducerState } from '../producer-table.js';
import type { Offset, Producer } from '../record.js';
import type { AppendResult } from '../shard-storage.js';
import type { LevelDatabase, LevelOperation } from './level-database.js';
import { headKey, newestKey, producerKey, recordKey, tagKey, tombstoneKey } from './level-keys.js';
import type { LevelShard } from './level-shard.js';
import {
  decodeNewest,
  decodeProducer,
  encodeHead,
  encodeNewest,
  encodeProducer,
  type NewestEntry,
  type ShardHead,
  stampRecord,
} from './level-values.js';

export interface RecordToAppend {
  readonly key: string | undefined;
  readonly tags: readonly string[];
  readonly payloadBytes: number;
  /** The value of its entry, still without the time. */
  readonly bytes: Buffer;
}

export interface Append {
  readonly shard: LevelShard;
  readonly records: readonly RecordToAppend[];
  readonly producer: Producer | undefined;
}

export type AppendOutcome<A> =
  | { readonly kind: 'accepted'; readonly append: A; readonly result: AppendResult }
  | { readonly kind: 'refused'; readonly append: A; readonly error: unknown };

export interface AppendPlan<A> {
  readonly operations: LevelOperation[];
  /** The heads of the touched shards once the operations are durable. */
  readonly heads: ReadonlyMap<LevelShard, ShardHead>;
  /** In the order of the appends. */
  readonly outcomes: readonly AppendOutcome<A>[];
}

const NOTHING = Buffer.alloc(0);

/** Works out what a group of appends writes, in their order; nothing is changed yet. */
export async function planAppends<A extends Append>(
  database: LevelDatabase,
  appends: readonly A[],
  wallTimeMs: number,
): Promise<AppendPlan<A>> {
  const plan = new Planner(wallTimeMs, await loadProducers(database, appends), await loadNewest(database, appends));
  const outcomes = appends.map((append): AppendOutcome<A> => {
    try {
      return { kind: 'accepted', append, result: plan.append(append) };
    } catch (error) {
      return { kind: 'refused', append, error };
    }
  });
  return { operations: plan.finish(), heads: plan.heads, outcomes };
}

class Planner {
  readonly heads = new Map<LevelShard, ShardHead>();
  readonly #operations: LevelOperation[] = [];
  readonly #wallTimeMs: number;
  readonly #producers: Map<string, ProducerState>;
  readonly #newest: Map<string, NewestEntry>;

  constructor(wallTimeMs: number, producers: Map<string, ProducerState>, newest: Map<string, NewestEntry>) {
    this.#wallTimeMs = wallTimeMs;
    this.#producers = producers;
    this.#newest = newest;
  }

  append({ shard, records, producer }: Append): AppendResult {
    if (shard.state === 'deleted') throw new StorageError('SHARD_NOT_FOUND', `shard ${shard.name} was deleted`);
    const head = this.heads.get(shard) ?? shard.head;
    const firstOffset = head.end as Offset; // the next offset by definition
    if (producer) {
      const key = producerKey(shard.number, producer.id);
      const known = this.#producers.get(key.toString('latin1'));
      const admission = admitBatch(known, { producer, records: records.length, firstOffset });
      if (admission.kind === 'repeated') return admission.result;
      this.#producers.set(key.toString('latin1'), admission.state);
      this.#put(key, encodeProducer(admission.state));
    }
    const lastTimestampMs = Math.max(head.lastTimestampMs, this.#wallTimeMs);
    let { end, payloadBytes } = head;
    for (const record of records) {
      payloadBytes += record.payloadBytes - this.#dropOlder(shard, record, head.logStart);
      stampRecord(record.bytes, lastTimestampMs);
      if (isTombstone(shard, record)) this.#putTombstone(shard, record, { offset: end, timestampMs: lastTimestampMs });
      this.#putRecord(shard, record, end++);
    }
    this.heads.set(shard, { logStart: head.logStart, end, lastTimestampMs, payloadBytes });
    return { firstOffset, lastOffset: (end - 1) as Offset }; // at least one record
  }

  finish(): LevelOperation[] {
    for (const [shard, head] of this.heads) this.#put(headKey(shard.number), encodeHead(head));
    return this.#operations;
  }

  #putRecord(shard: LevelShard, record: RecordToAppend, offset: number): void {
    const { key, tags, payloadBytes } = record;
    this.#put(recordKey(shard.number, offset), record.bytes);
    for (const tag of tags) this.#put(tagKey(shard.number, tag, offset), NOTHING);
    if (key === undefined) return;
    const entry = { offset, payloadBytes, tags };
    const at = newestKey(shard.number, key);
    if (shard.config.cleanup === 'compact') this.#newest.set(at.toString('latin1'), entry);
    this.#put(at, encodeNewest(entry));
  }

  /** Nobody deletes it when its record is replaced: who finds it later sees that the key has a newer record. */
  #putTombstone(shard: LevelShard, { key = '' }: RecordToAppend, at: { offset: number; timestampMs: number }): void {
    this.#put(tombstoneKey(shard.number, at.timestampMs, at.offset), Buffer.from(key));
  }

  /** In a compacted shard, deletes the record this one replaces; gives the payload bytes that go. */
  #dropOlder(shard: LevelShard, { key }: RecordToAppend, logStart: number): number {
    if (key === undefined || shard.config.cleanup !== 'compact') return 0;
    const older = this.#newest.get(newestKey(shard.number, key).toString('latin1'));
    if (!older || older.offset < logStart) return 0; // below logStart the trimming deletes and counts
    this.#operations.push({ type: 'del', key: recordKey(shard.number, older.offset) });
    for (const tag of older.tags) this.#operations.push({ type: 'del', key: tagKey(shard.number, tag, older.offset) });
    return older.payloadBytes;
  }

  #put(key: Buffer, value: Buffer): void {
    this.#operations.push({ type: 'put', key, value });
  }
}

function isTombstone({ config }: LevelShard, { key, payloadBytes }: RecordToAppend): boolean {
  return config.cleanup === 'compact' && key !== undefined && payloadBytes === 0;
}

async function loadProducers(database: LevelDatabase, appends: readonly Append[]): Promise<Map<string, ProducerState>> {
  const keys = appends.flatMap(({ shard, producer }) => (producer ? [producerKey(shard.number, producer.id)] : []));
  return await loadMap(database, keys, decodeProducer);
}

async function loadNewest(database: LevelDatabase, appends: readonly Append[]): Promise<Map<string, NewestEntry>> {
  const keys = appends
    .filter(({ shard }) => shard.config.cleanup === 'compact')
    .flatMap(({ shard, records }) =>
      records.flatMap(({ key }) => (key === undefined ? [] : [newestKey(shard.number, key)])),
    );
  return await loadMap(database, keys, decodeNewest);
}

async function loadMap<T>(
  database: LevelDatabase,
  keys: readonly Buffer[],
  decode: (bytes: Buffer) => T,
): Promise<Map<string, T>> {
  const values = await database.getMany(keys);
  const found = new Map<string, T>();
  values.forEach((value, i) => {
    const key = keys[i];
    if (value && key) found.set(key.toString('latin1'), decode(value));
  });
  return found;
}
