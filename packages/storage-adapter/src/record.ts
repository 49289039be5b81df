import type { Brand } from '@robustmq/stdx/brand';

/** The name of a shard: 1 to 255 bytes of `[A-Za-z0-9._/-]`, not starting or ending with `/`. */
export type ShardId = Brand<string, 'ShardId'>;

/** The place of a record in its shard: 0 for the first one ever appended, then rising. */
export type Offset = Brand<number, 'Offset'>;

/** What is appended. Storage never looks into the payload. */
export interface AppendRecord {
  /** Finds the record by key; in a compacted shard the newest record of a key replaces the older ones. */
  readonly key?: string;
  /** Finds the record by any of its tags. */
  readonly tags?: readonly string[];
  readonly payload: Buffer;
}

/** What is read: as appended, with its place and time. */
export interface StoredRecord {
  readonly offset: Offset;
  /** Milliseconds since 1970 UTC, given by storage when appended; never falls from one record to the next. */
  readonly timestampMs: number;
  readonly key: string | undefined;
  readonly tags: readonly string[];
  readonly payload: Buffer;
}

/** Makes a retried append count once: the same (id, epoch, sequence) returns the first append's offsets. */
export interface Producer {
  readonly id: string;
  /** A higher epoch fences the lower ones of the same id. */
  readonly epoch: number;
  /** The sequence of the batch's first record; the next batch continues after its last. */
  readonly sequence: number;
}
