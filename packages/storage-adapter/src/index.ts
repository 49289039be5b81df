export type { Capabilities, Durability } from './capabilities.js';
export { configChange } from './config-change.js';
export { STORAGE_ERRORS, StorageError, type StorageErrorCode } from './errors.js';
export type { LevelStorageOptions } from './level/level-options.js';
export { LevelShardStorage, type LevelStorageDeps } from './level/level-shard-storage.js';
export { MemoryShardStorage } from './memory/memory-shard-storage.js';
export type { AppendRecord, Offset, Producer, ShardId, StoredRecord } from './record.js';
export {
  type AppendOptions,
  type AppendResult,
  type EndListener,
  type GroupOffset,
  type KeyQuery,
  parseOffset,
  parseShardId,
  type ReadOptions,
  type ReadResult,
  type ShardConfig,
  type ShardDescription,
  ShardStorage,
  STORAGE_LIMITS,
  type TagQuery,
  TOMBSTONE_MS,
} from './shard-storage.js';
