import type { AppendRecord, AppendResult, StorageError } from '@robustmq/storage-adapter';
import type { Segment } from '../segment/segment.js';

/** An append that waits for its batch to become durable. */
export interface PendingAppend {
  readonly records: readonly AppendRecord[];
  readonly firstOffset: number;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: StorageError) => void;
}

/** Where a shard keeps its newest batches. */
export interface BatchTail {
  push(batch: StoredBatch): void;
  /** Lets the oldest batch go; nothing when it went before. */
  shift(batch: StoredBatch): void;
}

/** An encoded batch on its way or durable: immutable bytes and where they belong. */
export interface StoredBatch {
  readonly tail: BatchTail;
  readonly segment: Segment;
  readonly buffer: Buffer;
  readonly position: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly timestampMs: number;
  /** Whether its bytes are in the segment file. */
  written: boolean;
}
