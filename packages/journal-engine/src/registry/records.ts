// What the journal keeps in meta, and how it is written there. JSON, so that any client of the store can read it.
//
//   journal/nodes/<nodeId>                     NodeRecord
//   journal/next-uid                           the shard uid given out next, in decimal
//   journal/shards/<name>                      ShardRecord
//   journal/segments/<uid>/<epoch>             SegmentRecord; both numbers with ten digits, so that keys sort
//   journal/tombstones/<nodeId>/<fileName>     a segment file this node still has to remove
//   journal/offsets/<group>/<shard>            where a group of consumers is; the group percent-encoded

import type { ShardConfig } from '@robustmq/storage-adapter';
import { JournalError } from '../errors.js';

export const JOURNAL_KEYS = {
  nextUid: 'journal/next-uid',
  node: (nodeId: number) => `journal/nodes/${nodeId}`,
  shards: 'journal/shards/',
  shard: (name: string) => `journal/shards/${name}`,
  segments: 'journal/segments/',
  segmentsOf: (uid: number) => `journal/segments/${tenDigits(uid)}/`,
  segment: (uid: number, epoch: number) => `journal/segments/${tenDigits(uid)}/${tenDigits(epoch)}`,
  tombstones: (nodeId: number) => `journal/tombstones/${nodeId}/`,
  offsetsOf: (group: string) => `journal/offsets/${encodeURIComponent(group)}/`,
} as const;

/** A disk of a node: a replaced or emptied disk is another one, and never votes for what the old one held. */
export interface Replica {
  readonly node: number;
  readonly incarnation: string;
}

export interface NodeRecord {
  readonly incarnation: string;
}

export interface ShardRecord {
  readonly name: string;
  readonly uid: number;
  readonly config: ShardConfig;
  /** The highest epoch ever given to a writer of this shard. */
  readonly epoch: number;
  readonly logStart: number;
}

export interface SegmentRecord {
  readonly epoch: number;
  /**
   *   prepared  registered so that the writer can go on in it without asking; base is not yet known
   *   open      takes batches of the writer of this epoch
   *   closed    end, bytes and digest are final
   */
  readonly state: 'prepared' | 'open' | 'closed';
  readonly base: number;
  readonly generation: number;
  readonly replicas: readonly Replica[];
  readonly end?: number;
  readonly bytes?: number;
  readonly digest?: number;
  readonly firstTimestampMs?: number;
  readonly lastTimestampMs?: number;
}

export function encodeRecord(record: NodeRecord | ShardRecord | SegmentRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}

export function decodeShard(key: string, value: Buffer): ShardRecord {
  const record = parse(key, value) as Partial<ShardRecord>; // checked next
  if (typeof record.name !== 'string' || !isCount(record.uid) || !isCount(record.epoch) || !isCount(record.logStart))
    throw unreadable(key);
  if (typeof record.config?.cleanup !== 'string') throw unreadable(key);
  return record as ShardRecord; // its fields were checked
}

export function decodeSegment(key: string, value: Buffer): SegmentRecord {
  const record = parse(key, value) as Partial<SegmentRecord>; // checked next
  if (!isCount(record.epoch) || !isCount(record.base) || !isCount(record.generation)) throw unreadable(key);
  const { state } = record;
  if (state !== 'prepared' && state !== 'open' && state !== 'closed') throw unreadable(key);
  if (state === 'closed' && (!isCount(record.end) || !isCount(record.bytes) || !isCount(record.digest)))
    throw unreadable(key);
  return record as SegmentRecord; // its fields were checked
}

export function decodeNode(key: string, value: Buffer): NodeRecord {
  const record = parse(key, value) as Partial<NodeRecord>; // checked next
  if (typeof record.incarnation !== 'string') throw unreadable(key);
  return { incarnation: record.incarnation };
}

function parse(key: string, value: Buffer): object {
  try {
    const parsed: unknown = JSON.parse(value.toString());
    if (typeof parsed === 'object' && parsed !== null) return parsed;
  } catch (cause) {
    throw unreadable(key, cause);
  }
  throw unreadable(key);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0; // safe integers are numbers

const unreadable = (key: string, cause?: unknown) =>
  new JournalError('CORRUPT', `the meta record ${key} cannot be read; was it written by another version?`, { cause });

function tenDigits(value: number): string {
  return String(value).padStart(10, '0');
}
