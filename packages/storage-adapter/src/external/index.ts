export type { PostgresStorageOptions } from '../postgres/postgres-options.js';
export { openPostgresStorage } from '../postgres/postgres-shard-storage.js';
export type { RedisStorageOptions } from '../redis/redis-options.js';
export { openRedisStorage } from '../redis/redis-shard-storage.js';
export type { ExternalStorageDeps } from './external-shard-storage.js';
