import type { ShardId } from '../record.js';
import type { EndListener, ShardConfig } from '../shard-storage.js';
import type { ShardHead } from './level-values.js';

/** What the level driver keeps of a shard in memory. Only the commit queue changes it. */
export interface LevelShard {
  readonly name: ShardId;
  readonly number: number;
  config: ShardConfig;
  readonly listeners: Set<EndListener>;
  /** As it is on disk: everything below `end` is durable. */
  head: ShardHead;
  /** Below this no record is left to be deleted. */
  cleanFrom: number;
  state: 'live' | 'deleted';
}

export const EMPTY_HEAD: ShardHead = { logStart: 0, end: 0, lastTimestampMs: 0, payloadBytes: 0 };
