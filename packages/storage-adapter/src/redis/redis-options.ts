import { StorageError } from '../errors.js';
import {
  type ExternalStorageOptions,
  type ResolvedExternalStorageOptions,
  resolveExternalStorageOptions,
} from '../external/external-options.js';

export interface RedisStorageOptions extends ExternalStorageOptions {
  /** `redis://user:password@host:port/database`, or `rediss://` for TLS. One server; Redis Cluster is refused. */
  readonly url: string;
  /** Begins every key. Default `robustmq:`, so that a server may be shared with others. */
  readonly prefix?: string;
  /**
   * Whether the server's settings are read and judged at start. Default `required`: a server that evicts or that
   * writes no append-only file loses what was acknowledged. `skipped` is for hosted servers that refuse CONFIG;
   * then whoever sets it answers for them.
   */
  readonly settingsCheck?: 'required' | 'skipped';
}

export interface ResolvedRedisStorageOptions extends ResolvedExternalStorageOptions {
  readonly url: string;
  readonly prefix: string;
  readonly settingsCheck: 'required' | 'skipped';
}

export function resolveRedisStorageOptions(given: RedisStorageOptions): ResolvedRedisStorageOptions {
  const { url, prefix = 'robustmq:', settingsCheck = 'required' } = given;
  if (!/^rediss?:\/\/.+/.test(url))
    throw new StorageError('INVALID_ARGUMENT', 'the url of a redis begins with redis:// or rediss://');
  return { ...resolveExternalStorageOptions(given), url, prefix, settingsCheck };
}
