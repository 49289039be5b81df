// What an external engine must do to be a driver. ExternalShardStorage does the rest: queueing, retries, tails, ticks.

import type { Durability } from '../capabilities.js';
import type { StorageError } from '../errors.js';
import type { AppendRecord, Offset, Producer, ShardId, StoredRecord } from '../record.js';
import type {
  AppendResult,
  GroupOffset,
  KeyQuery,
  ReadOptions,
  ReadResult,
  ShardConfig,
  ShardDescription,
  TagQuery,
} from '../shard-storage.js';

export interface GroupedAppend {
  readonly records: readonly AppendRecord[];
  readonly producer: Producer | undefined;
}

/** Names one group of appends of one storage instance: the engine does the same attempt once, however often it is sent. */
export interface Attempt {
  readonly writer: string;
  readonly sequence: number;
}

export type AppendOutcome =
  | { readonly kind: 'appended'; readonly result: AppendResult }
  | { readonly kind: 'refused'; readonly error: StorageError };

/**
 * Errors of every method: StorageError; UNAVAILABLE when nothing was done and a retry may help, UNKNOWN_OUTCOME when the
 * answer was lost.
 */
export interface ExternalEngine {
  /** For messages: `redis`. */
  readonly name: string;
  /** Derived from how the engine was found at start. */
  readonly durability: Durability;
  createShard(shard: ShardId, config: ShardConfig): Promise<void>;
  deleteShard(shard: ShardId): Promise<void>;
  listShards(prefix: string): Promise<ShardId[]>;
  describeShard(shard: ShardId): Promise<ShardDescription>;
  /** One atomic step; outcomes in the order of the group. */
  appendGroup(shard: ShardId, group: readonly GroupedAppend[], attempt: Attempt): Promise<readonly AppendOutcome[]>;
  read(shard: ShardId, options: ReadOptions): Promise<ReadResult>;
  readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult>;
  readByKey(shard: ShardId, query: KeyQuery): Promise<StoredRecord | undefined>;
  offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset>;
  trim(shard: ShardId, before: Offset): Promise<void>;
  commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void>;
  committedOffsets(group: string): Promise<readonly GroupOffset[]>;
  deleteGroup(group: string): Promise<void>;
  /** The ends of shards, in their order; undefined for one that is gone. */
  endsOf(shards: readonly ShardId[]): Promise<readonly (number | undefined)[]>;
  /** Applies retention and lets old tombstones go, in all shards. */
  housekeep(): Promise<void>;
  close(): Promise<void>;
}
