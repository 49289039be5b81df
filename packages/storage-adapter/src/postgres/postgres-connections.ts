// Connections to a PostgreSQL server, transactions on them, and what its errors mean.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Pool, PoolClient } from 'pg';
import { StorageError } from '../errors.js';
import { loadClient } from '../external/load-client.js';
import type { ResolvedPostgresStorageOptions } from './postgres-options.js';

/** What a statement may carry. */
export type Value = string | number | Buffer | null | readonly (string | number | Buffer | null)[];
/** int8 arrives as text, bytea as a Buffer. */
export type Row = Readonly<Record<string, string | Buffer | null>>;
export type Ask = (text: string, values?: readonly Value[]) => Promise<Row[]>;

export class PostgresConnections {
  readonly #pool: Pool;

  private constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** StorageError CLIENT_MISSING. Connects when first asked. */
  static async open(options: ResolvedPostgresStorageOptions, logger: Logger): Promise<PostgresConnections> {
    const { Pool } = await loadClient({ name: 'pg', range: '^8.11' }, () => import('pg'));
    const pool = new Pool({
      connectionString: options.url,
      max: options.connectionsMax,
      connectionTimeoutMillis: options.connectTimeoutMs,
      application_name: 'robustmq',
      // Names are found in our schema; a commit is acknowledged when it is on disk, whatever the server's default.
      options: `-c search_path=${options.schema} -c synchronous_commit=on`,
    });
    pool.on('error', (error) => logger.debug({ engine: 'postgres' }, errorMessage(error)));
    return new PostgresConnections(pool);
  }

  /** One statement. */
  async ask(text: string, values: readonly Value[] = []): Promise<Row[]> {
    return await this.#with((client) => rowsOf(client, text, values));
  }

  /** All of it or nothing. An error of the statements rolls back; one of the commit is UNKNOWN_OUTCOME. */
  async transact<T>(act: (ask: Ask) => Promise<T>): Promise<T> {
    return await this.#with(async (client) => {
      await client.query('BEGIN');
      let result: T;
      try {
        result = await act((text, values = []) => rowsOf(client, text, values));
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      }
      await client.query('COMMIT');
      return result;
    });
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #with<T>(act: (client: PoolClient) => Promise<T>): Promise<T> {
    let client: PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw meaningOf(error, 'UNAVAILABLE');
    }
    // A connection that breaks while it is ours fails its statement; the event alone must not end the process.
    const ignore = () => {};
    client.on('error', ignore);
    let failure: StorageError | undefined;
    try {
      return await act(client);
    } catch (error) {
      failure = meaningOf(error, 'UNKNOWN_OUTCOME');
      throw failure;
    } finally {
      client.off('error', ignore);
      client.release(failure?.code === 'UNKNOWN_OUTCOME');
    }
  }
}

async function rowsOf(client: PoolClient, text: string, values: readonly Value[]): Promise<Row[]> {
  return (await client.query<Row>(text, [...values])).rows;
}

/** By SQLSTATE; what has none is a connection that failed, and `lost` says what that means. */
function meaningOf(cause: unknown, lost: 'UNAVAILABLE' | 'UNKNOWN_OUTCOME'): StorageError {
  if (cause instanceof StorageError) return cause;
  const { code } = cause as { code?: unknown }; // whatever was thrown
  const text = `postgres: ${errorMessage(cause)}`;
  const state = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : '';
  if (state === '53100') return new StorageError('DISK_FULL', text, { cause });
  // Serialization failures, deadlocks and want of resources were rolled back; 57P03: it is still starting.
  if (/^(40|53|57P03|55P03)/.test(state)) return new StorageError('UNAVAILABLE', text, { cause });
  if (/^(28|3D|42501)/.test(state))
    return new StorageError('ENGINE_UNFIT', `${text}. Check user, password, database and rights`, { cause });
  if (state === '' || /^(08|57P)/.test(state)) return new StorageError(lost, text, { cause });
  return new StorageError('FAILED', text, { cause });
}
