// One segment of a shard on this node: what is known about its file. The bytes are sequences of batches
// (batch/batch-format.ts); the first one is the opening batch.
//
// Invariants:
//   G1. One writer epoch per segment: (shardUid, epoch) is never used twice, not even after a restart (J4).
//   G2. writtenBytes <= bytes: the file is written from batches that are durable in the WAL, in order.
//   G3. A closed segment never changes; compaction writes another generation beside it.

import type { SparseIndex } from './sparse-index.js';

/** Offsets that cannot be read any more: their bytes are damaged. Never skipped silently. */
export interface CorruptRange {
  readonly from: number;
  readonly to: number;
}

export interface SegmentName {
  readonly shardUid: number;
  readonly epoch: number;
  readonly generation: number;
}

export class Segment {
  readonly shardUid: number;
  readonly epoch: number;
  readonly generation: number;
  readonly baseOffset: number;
  readonly fileName: string;
  state: 'open' | 'closed' = 'open';
  /** Everything below is durable: in the WAL or in the file. */
  endOffset: number;
  /** Durable bytes; the file may lag behind (G2). */
  bytes = 0;
  /** Bytes in the file, synced or not. */
  writtenBytes = 0;
  /** Over the headers of all batches: extendDigest(). */
  digest = 0;
  firstTimestampMs: number | undefined;
  lastTimestampMs = 0;
  /** The offset it will be closed at, once no later batch goes here; undefined while it takes batches. */
  sealEnd: number | undefined;
  /** When it was opened, on the monotonic clock. */
  openedAtMs = 0;
  /** Undefined while a closed segment has not been read. */
  index: SparseIndex | undefined;
  corrupt: readonly CorruptRange[] = [];
  /** The producer table as of sealEnd, encoded; for the sidecar. */
  producersAtEnd: Buffer | undefined;
  /** Bytes covered by the sidecar last written. */
  sidecarBytes = 0;

  constructor(name: SegmentName, baseOffset: number) {
    this.shardUid = name.shardUid;
    this.epoch = name.epoch;
    this.generation = name.generation;
    this.baseOffset = baseOffset;
    this.endOffset = baseOffset;
    this.fileName = segmentFileName(name);
  }

  get isEmpty(): boolean {
    return this.endOffset === this.baseOffset;
  }
}

const FILE_NAME = /^(\d{10})-(\d{10})-(\d{4,10})\.(log|idx)$/;

/** `<shardUid>-<epoch>-<generation>.log` */
export function segmentFileName({ shardUid, epoch, generation }: SegmentName): string {
  return `${digits(shardUid, 10)}-${digits(epoch, 10)}-${digits(generation, 4)}.log`;
}

export function sidecarFileName(logFileName: string): string {
  return logFileName.replace(/\.log$/, '.idx');
}

export function parseSegmentFileName(name: string): SegmentName | undefined {
  const match = FILE_NAME.exec(name);
  if (!match) return undefined;
  const [, shardUid, epoch, generation] = match;
  return { shardUid: Number(shardUid), epoch: Number(epoch), generation: Number(generation) };
}

const digits = (value: number, width: number) => String(value).padStart(width, '0');
