import { KiB, MiB } from '@robustmq/stdx/byte-size';
import { JournalError } from './errors.js';

export interface JournalOptions {
  /** Everything of this engine lies in here: `journal.json`, `wal/`, `segments/`. Created when missing. */
  readonly directory: string;
  /** A directory written under another name is refused: it belongs to another cluster. `robustmq`. */
  readonly clusterName?: string;
  /** A directory written by another node is refused. 1: embedded and alone. */
  readonly nodeId?: number;

  /** A segment is closed at this size, in bytes. 256 MiB: one unit of retention and repair. Legal: 64 KiB to 1 GiB. */
  readonly segmentBytes?: number;
  /** The same for shards that are compacted, in bytes. 32 MiB: only closed segments are compacted. */
  readonly compactSegmentBytes?: number;
  /** A segment with records is closed at this age, in milliseconds, so that retention by time works. 1 hour. */
  readonly segmentAgeMs?: number;
  /** The same for shards that are compacted, in milliseconds. 10 minutes: how long replaced records of an idle shard stay. */
  readonly compactSegmentAgeMs?: number;
  /** One index entry per so many bytes of log. 16 KiB: a read from disk passes over at most that much. */
  readonly indexIntervalBytes?: number;

  /** Newest records kept in memory over all shards, in bytes, so that tail readers leave the disk alone. 64 MiB. */
  readonly tailCacheBytes?: number;
  /** Appends accepted but not yet durable, in bytes; beyond it OVERLOADED. 64 MiB: half a second of a fast disk. */
  readonly inflightBytesMax?: number;
  /** Durable records not yet in their segment file, in bytes; beyond it OVERLOADED. 256 MiB. */
  readonly unwrittenBytesMax?: number;
  /** A batch is cut at this size, in bytes, unless one append alone is larger. 1 MiB: one write of the WAL. */
  readonly batchBytes?: number;

  /** Records reach their segment file after at most so many milliseconds. 10,000: until then they are in memory and in the WAL. */
  readonly flushIntervalMs?: number;
  /** ... or as soon as so many bytes wait. 16 MiB. */
  readonly flushBytes?: number;
  /** Segment files are synced and the WAL released after so many WAL bytes. 128 MiB: bounds replay at start. */
  readonly checkpointBytes?: number;
  /** ... or after so many milliseconds with something to release. 30,000. */
  readonly checkpointIntervalMs?: number;
  /** Size of one WAL file, in bytes. 64 MiB. */
  readonly walFileBytes?: number;

  /** How often retention and compaction look at the shards, in milliseconds. 60,000. */
  readonly retentionIntervalMs?: number;
  /** Consumer offsets go to meta at most once per so many milliseconds, in one transaction. 100. */
  readonly offsetCommitIntervalMs?: number;

  /** With less free space than this, in bytes, appends are refused with DISK_FULL. 256 MiB: room for WAL and segments. */
  readonly diskReserveBytes?: number;
  /** How often free space is asked for, in milliseconds. 1,000. */
  readonly diskCheckIntervalMs?: number;

  /** Segment files kept open. 512: half of the usual 1,024 descriptors. */
  readonly openFilesMax?: number;
  /** Producers remembered per shard; the least recently seen is forgotten beyond it. 10,000. */
  readonly producersMax?: number;
}

export type ResolvedJournalOptions = Required<JournalOptions>;

interface Range {
  readonly fallback: number;
  readonly from: number;
  readonly to: number;
}

type NumericOption = Exclude<keyof JournalOptions, 'directory' | 'clusterName' | 'nodeId'>;

const DAY_MS = 86_400_000;

const RANGES: Readonly<Record<NumericOption, Range>> = {
  segmentBytes: { fallback: 256 * MiB, from: 128, to: 1024 * MiB },
  compactSegmentBytes: { fallback: 32 * MiB, from: 1 * KiB, to: 1024 * MiB },
  segmentAgeMs: { fallback: 3_600_000, from: 1, to: 365 * DAY_MS },
  compactSegmentAgeMs: { fallback: 600_000, from: 1, to: 365 * DAY_MS },
  indexIntervalBytes: { fallback: 16 * KiB, from: 64, to: 16 * MiB },
  tailCacheBytes: { fallback: 64 * MiB, from: 0, to: 64 * 1024 * MiB },
  inflightBytesMax: { fallback: 64 * MiB, from: 1 * KiB, to: 1024 * MiB },
  unwrittenBytesMax: { fallback: 256 * MiB, from: 1 * KiB, to: 16 * 1024 * MiB },
  batchBytes: { fallback: 1 * MiB, from: 128, to: 64 * MiB },
  flushIntervalMs: { fallback: 10_000, from: 1, to: DAY_MS },
  flushBytes: { fallback: 16 * MiB, from: 1, to: 1024 * MiB },
  checkpointBytes: { fallback: 128 * MiB, from: 1, to: 16 * 1024 * MiB },
  checkpointIntervalMs: { fallback: 30_000, from: 1, to: DAY_MS },
  walFileBytes: { fallback: 64 * MiB, from: 4 * KiB, to: 1024 * MiB },
  retentionIntervalMs: { fallback: 60_000, from: 1, to: DAY_MS },
  offsetCommitIntervalMs: { fallback: 100, from: 0, to: 60_000 },
  diskReserveBytes: { fallback: 256 * MiB, from: 0, to: 1024 * 1024 * MiB },
  diskCheckIntervalMs: { fallback: 1_000, from: 1, to: DAY_MS },
  openFilesMax: { fallback: 512, from: 4, to: 1_000_000 },
  producersMax: { fallback: 10_000, from: 1, to: 10_000_000 },
};

/** Fills in defaults and refuses what is out of range (INVALID_OPTION). */
export function resolveJournalOptions(given: JournalOptions): ResolvedJournalOptions {
  if (given.directory === '') throw invalid('directory', 'must not be empty');
  const { directory, clusterName = 'robustmq', nodeId = 1 } = given;
  if (clusterName === '') throw invalid('clusterName', 'must not be empty');
  if (!Number.isSafeInteger(nodeId) || nodeId < 0) throw invalid('nodeId', 'must be a whole number');
  const numbers = Object.entries(RANGES).map(([name, range]) => [name, resolveNumber(given, name, range)]);
  const resolved = Object.fromEntries(numbers) as Record<NumericOption, number>; // one entry per key of RANGES
  return { directory, clusterName, nodeId, ...resolved };
}

function resolveNumber(given: JournalOptions, name: string, { fallback, from, to }: Range): number {
  const value = given[name as NumericOption] ?? fallback; // a key of RANGES
  if (!Number.isSafeInteger(value) || value < from || value > to)
    throw invalid(name, `must be a whole number from ${from} to ${to}, not ${value}`);
  return value;
}

function invalid(name: string, problem: string): JournalError {
  return new JournalError('INVALID_OPTION', `journal option ${name} ${problem}`);
}
