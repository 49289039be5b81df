// LevelDB as the driver uses it: binary keys and values, synced batches, and errors that mean something.
//
// Why every failed write ends in closing and opening anew: LevelDB that ran out of space in the middle of its log
// goes on writing behind the damage once there is space again, says yes, and forgets all of it at the next start
// (20 of 20 tries; none with a reopen in between). So:
//   V1. After a failed write nothing is written before the database was closed and opened again.
//   V2. What the failed write was meant to do is then looked up; LevelDB keeps a batch whole or not at all.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Level } from 'level';
import { StorageError } from '../errors.js';
import type { KeyRange } from './level-keys.js';

export type LevelOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };

export type LevelEntry = [key: Buffer, value: Buffer];

export interface LevelDatabaseOptions {
  readonly directory: string;
  readonly cacheBytes: number;
  readonly writeBufferBytes: number;
}

/** How often a database that could not be opened again is tried, when it is needed. */
export const REOPEN_EVERY_MS = 1000;
const ENCODINGS = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;

export class LevelDatabase {
  readonly #options: LevelDatabaseOptions;
  readonly #clock: Clock;
  readonly #levelClass: typeof Level;
  #level: Level<Buffer, Buffer>;
  #triedMs = 0;
  #reopening: Promise<void> | undefined;

  /** StorageError UNAVAILABLE when another process holds the directory, FAILED when the database is damaged. */
  static async open(options: LevelDatabaseOptions, clock: Clock, levelClass?: typeof Level): Promise<LevelDatabase> {
    const database = new LevelDatabase(options, clock, levelClass ?? (await loadLevel()));
    await database.#open();
    return database;
  }

  private constructor(options: LevelDatabaseOptions, clock: Clock, levelClass: typeof Level) {
    this.#options = options;
    this.#clock = clock;
    this.#levelClass = levelClass;
    this.#level = this.#create();
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    return await this.#reading((level) => level.get(key));
  }

  async getMany(keys: readonly Buffer[]): Promise<(Buffer | undefined)[]> {
    return keys.length === 0 ? [] : await this.#reading((level) => level.getMany([...keys]));
  }

  /** At most `limit` entries of the range in order; fewer when their values reach `bytesMax`, but one if there is one. */
  async entries(range: KeyRange, limits: { limit: number; bytesMax: number }): Promise<LevelEntry[]> {
    const { limit, bytesMax } = limits;
    return await this.#reading(async (level) => {
      const iterator = level.iterator({ ...range, limit, highWaterMarkBytes: Math.min(bytesMax, 1024 * 1024) });
      const found: LevelEntry[] = [];
      try {
        for (let bytes = 0; bytes < bytesMax; ) {
          const more = await iterator.nextv(Math.min(limit, 256));
          if (more.length === 0) return found;
          for (const entry of more) {
            if (bytes >= bytesMax) return found;
            found.push(entry);
            bytes += entry[1].length;
          }
        }
        return found;
      } finally {
        await iterator.close();
      }
    });
  }

  async keys(range: KeyRange, limit: number): Promise<Buffer[]> {
    return await this.#reading((level) => level.keys({ ...range, limit }).all());
  }

  async clear(range: KeyRange): Promise<void> {
    await this.#level.clear(range);
  }

  /** All or nothing; with `durable` it survives a loss of power once it resolves. A rejection: V1. */
  async write(operations: readonly LevelOperation[], durability: 'durable' | 'later'): Promise<void> {
    await this.#level.batch([...operations], { sync: durability === 'durable' });
  }

  /** Closes and opens again (V1). Rejects when that cannot be done now; a later call or read tries again. */
  reopen(): Promise<void> {
    this.#reopening ??= this.#closeAndOpen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  async close(): Promise<void> {
    await this.#level.close();
  }

  async #reading<T>(read: (level: Level<Buffer, Buffer>) => Promise<T>): Promise<T> {
    if (this.#reopening) await this.#reopening;
    else if (this.#level.status === 'closed' && this.#clock.now() - this.#triedMs >= REOPEN_EVERY_MS)
      await this.reopen();
    try {
      return await read(this.#level);
    } catch (error) {
      throw storageErrorOf(error, 'a read failed');
    }
  }

  async #closeAndOpen(): Promise<void> {
    await this.#level.close();
    this.#level = this.#create();
    await this.#open();
  }

  async #open(): Promise<void> {
    this.#triedMs = this.#clock.now();
    try {
      await this.#level.open({
        cacheSize: this.#options.cacheBytes,
        writeBufferSize: this.#options.writeBufferBytes,
        compression: true,
      });
    } catch (error) {
      throw storageErrorOf(error, `the database in ${this.#options.directory} cannot be opened`);
    }
  }

  #create(): Level<Buffer, Buffer> {
    return new this.#levelClass<Buffer, Buffer>(this.#options.directory, ENCODINGS);
  }
}

/** Loaded when it is needed: it brings a native binding, which brokers on other storage can do without. */
async function loadLevel(): Promise<typeof Level> {
  try {
    return (await import('level')).Level;
  } catch (cause) {
    const advice = 'Install level with its prebuilt binaries for this platform, or choose another storage';
    throw new StorageError('UNAVAILABLE', `LevelDB cannot be loaded: ${errorMessage(cause)}. ${advice}`, { cause });
  }
}

interface ThrownShape {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly cause?: ThrownShape;
}

/** What a failure of LevelDB means to the caller. */
export function storageErrorOf(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error;
  const chain: string[] = [];
  const codes = new Set<unknown>();
  // By shape, not by class: the binding's errors may be of another realm.
  let link = error as ThrownShape | undefined; // whatever was thrown: every field may be missing
  while (link && chain.length < 5) {
    chain.push(String(link.message ?? link));
    codes.add(link.code);
    link = link.cause;
  }
  const text = chain.join(': ');
  const options = { cause: error };
  if (/no space left|quota exceeded/i.test(text))
    return new StorageError('DISK_FULL', `${what}: no space left. Free some`, options);
  if (codes.has('LEVEL_LOCKED'))
    return new StorageError('UNAVAILABLE', `${what}: another process holds it. Stop that process`, options);
  if (codes.has('LEVEL_CORRUPTION') || /corruption/i.test(text))
    return new StorageError('FAILED', `${what}: it is damaged (${text}). Restore it from a backup`, options);
  return new StorageError('UNAVAILABLE', `${what}: ${text}`, options);
}
