// How the level driver reads. `end` is taken from the shard's head, which moves when records are durable (S3), so
// nothing above it is seen although the database may show it already.

import { StorageError } from '../errors.js';
import type { Offset, StoredRecord } from '../record.js';
import type { ReadOptions, ReadResult, TagQuery } from '../shard-storage.js';
import type { LevelDatabase } from './level-database.js';
import { offsetOfRecordKey, offsetOfTagKey, recordKey, recordRange, tagRange } from './level-keys.js';
import type { LevelShard } from './level-shard.js';
import { decodeRecord } from './level-values.js';

/** Tagged records are fetched this many at a time. */
const TAGGED_AT_ONCE = 64;

export async function readRecords(
  database: LevelDatabase,
  shard: LevelShard,
  { from, maxRecords, maxBytes }: ReadOptions,
): Promise<ReadResult> {
  const end = endFor(shard, from);
  const records: StoredRecord[] = [];
  let bytes = 0;
  let next: number = from;
  // Payloads are shorter than the values that hold them, so one round may bring fewer bytes than may be returned.
  while (next < end && records.length < maxRecords && bytes < maxBytes) {
    const limits = { limit: Math.min(maxRecords - records.length, 1024), bytesMax: maxBytes - bytes };
    const entries = await database.entries(recordRange(shard.number, next, end), limits);
    if (entries.length === 0) return { records, next: end, end };
    for (const [key, value] of entries) {
      const record = decodeRecord(offsetOfRecordKey(key), value);
      records.push(record);
      bytes += record.payload.length;
      next = record.offset + 1;
      if (bytes >= maxBytes) break;
    }
  }
  return { records, next: next as Offset, end }; // at most the end, which is one
}

export async function readTagged(database: LevelDatabase, shard: LevelShard, query: TagQuery): Promise<ReadResult> {
  const { from, maxRecords, maxBytes, tag } = query;
  const end = endFor(shard, from);
  const records: StoredRecord[] = [];
  let bytes = 0;
  let next: number = from;
  while (next < end && records.length < maxRecords && bytes < maxBytes) {
    const limit = Math.min(TAGGED_AT_ONCE, maxRecords - records.length);
    const keys = await database.keys(tagRange(shard.number, tag, { from: next, to: end }), limit);
    if (keys.length === 0) return { records, next: end, end };
    for (const offset of keys.map(offsetOfTagKey)) {
      const record = await readRecord(database, shard, offset);
      next = offset + 1;
      if (!record) continue; // compacted or trimmed since the index was read
      records.push(record);
      bytes += record.payload.length;
      if (bytes >= maxBytes) break;
    }
  }
  return { records, next: next as Offset, end }; // at most the end, which is one
}

/** The end of the shard, when `from` lies in it. */
function endFor({ name, head }: LevelShard, from: number): Offset {
  const { logStart, end } = head;
  if (from >= logStart && from <= end) return end as Offset; // kept as one
  throw new StorageError('OFFSET_OUT_OF_RANGE', `offset ${from} of shard ${name}, which holds ${logStart} to ${end}`);
}

export async function readRecord(
  database: LevelDatabase,
  shard: LevelShard,
  offset: number,
): Promise<StoredRecord | undefined> {
  const value = await database.get(recordKey(shard.number, offset));
  return value && decodeRecord(offset, value);
}

/** Times never fall from one record to the next, so halving finds the first one at or after the given time. */
export async function findOffsetAtTime(
  database: LevelDatabase,
  shard: LevelShard,
  timestampMs: number,
): Promise<Offset> {
  const { logStart, end } = shard.head;
  const firstFrom = async (offset: number): Promise<StoredRecord | undefined> => {
    const [entry] = await database.entries(recordRange(shard.number, offset, end), { limit: 1, bytesMax: 1 });
    return entry && decodeRecord(offsetOfRecordKey(entry[0]), entry[1]);
  };
  let low = logStart;
  let high = end;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const record = await firstFrom(middle); // behind a gap, where compaction left one
    if (!record || record.timestampMs >= timestampMs) high = middle;
    else low = record.offset + 1;
  }
  return (await firstFrom(low))?.offset ?? (end as Offset); // the end is an offset
}
