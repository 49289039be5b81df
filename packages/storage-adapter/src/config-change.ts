import { StorageError } from './errors.js';
import type { ShardId } from './record.js';
import type { ShardConfig } from './shard-storage.js';

/**
 * What createShard() of an existing shard asks for: nothing, or another retention, which is adopted, because an
 * operator changes the setting and restarts. Another cleanup would give the records that are there another meaning:
 * StorageError SHARD_EXISTS.
 */
export function configChange(shard: ShardId, existing: ShardConfig, wanted: ShardConfig): 'none' | 'retention' {
  if (existing.cleanup !== wanted.cleanup)
    throw new StorageError(
      'SHARD_EXISTS',
      `shard ${shard} exists with cleanup "${existing.cleanup}", not "${wanted.cleanup}"; only retention and tombstone times can be changed`,
    );
  return existing.retentionMs === wanted.retentionMs &&
    existing.retentionBytes === wanted.retentionBytes &&
    existing.tombstoneMs === wanted.tombstoneMs
    ? 'none'
    : 'retention';
}
