import { StorageError } from '../errors.js';
import {
  type ExternalStorageOptions,
  type ResolvedExternalStorageOptions,
  resolveExternalStorageOptions,
} from '../external/external-options.js';

export interface PostgresStorageOptions extends ExternalStorageOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`. */
  readonly url: string;
  /** The schema of all tables, created when missing. Default `robustmq`. 1 to 63 of `[a-z0-9_]`. */
  readonly schema?: string;
  /** Connections at most. Default 4: one group per shard is under way, and the disk syncs for several at once. */
  readonly connectionsMax?: number;
}

export interface ResolvedPostgresStorageOptions extends ResolvedExternalStorageOptions {
  readonly url: string;
  readonly schema: string;
  readonly connectionsMax: number;
}

export function resolvePostgresStorageOptions(given: PostgresStorageOptions): ResolvedPostgresStorageOptions {
  const { url, schema = 'robustmq', connectionsMax = 4 } = given;
  if (!/^postgres(ql)?:\/\/.+/.test(url))
    throw new StorageError('INVALID_ARGUMENT', 'the url of a PostgreSQL begins with postgres://');
  // It stands in statements as it is.
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema))
    throw new StorageError('INVALID_ARGUMENT', `schema "${schema}": 1 to 63 of a-z 0-9 _, no digit first`);
  if (!Number.isSafeInteger(connectionsMax) || connectionsMax < 1 || connectionsMax > 1000)
    throw new StorageError('INVALID_ARGUMENT', `connectionsMax is ${connectionsMax}; 1 to 1,000 is legal`);
  return { ...resolveExternalStorageOptions(given), url, schema, connectionsMax };
}
