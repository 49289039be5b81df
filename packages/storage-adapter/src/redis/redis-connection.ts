// One connection to a Redis server, its scripts, and what its errors mean.

import { createHash } from 'node:crypto';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Redis } from 'ioredis';
import { StorageError } from '../errors.js';
import { loadClient } from '../external/load-client.js';
import type { ResolvedRedisStorageOptions } from './redis-options.js';

/** Of a reply: text, or a list of replies. */
export type RedisReply = Buffer | null | readonly RedisReply[];

/** What an error reply begins with, when the command was not done and may be done later. */
const LATER = /^(LOADING|READONLY|MASTERDOWN|TRYAGAIN|BUSY|CLUSTERDOWN|NOREPLICAS)/;
/** Out of memory, or not able to write its file. */
const FULL = /^(OOM|MISCONF)/;
const DENIED = /^(NOAUTH|WRONGPASS|NOPERM)/;
/** Its own words for a command that was never written to a socket. */
const NEVER_SENT = "Stream isn't writeable";

export class RedisConnection {
  readonly #redis: Redis;
  readonly #shaOf = new Map<string, string>();

  private constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** StorageError CLIENT_MISSING, UNAVAILABLE (it does not answer) or ENGINE_UNFIT (it does not let us in). */
  static async open(options: ResolvedRedisStorageOptions, logger: Logger): Promise<RedisConnection> {
    const { Redis } = await loadClient({ name: 'ioredis', range: '^6' }, () => import('ioredis'));
    const redis = new Redis(options.url, {
      lazyConnect: true,
      connectTimeout: options.connectTimeoutMs,
      // An answer that takes longer is not waited for: the outcome is unknown then, and the attempt is sent again.
      commandTimeout: options.connectTimeoutMs,
      // Who waits, and for how long, is decided by us, in one place.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      // A connection that breaks fails its commands at once.
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(50 * times, 1000),
    });
    redis.on('error', (error: unknown) => logger.debug({ engine: 'redis' }, errorMessage(error)));
    try {
      await redis.connect();
      await redis.ping();
    } catch (cause) {
      redis.disconnect();
      const error = meaningOf(cause);
      if (error.code === 'ENGINE_UNFIT') throw error;
      const text = `redis at ${withoutPassword(options.url)} does not answer: ${errorMessage(cause)}. Is it running, is storage.redis.url right?`;
      throw new StorageError('UNAVAILABLE', text, { cause });
    }
    return new RedisConnection(redis);
  }

  async call(command: string, ...args: (string | number | Buffer)[]): Promise<RedisReply> {
    try {
      return (await this.#redis.callBuffer(command, args)) as RedisReply; // what the protocol knows
    } catch (error) {
      throw meaningOf(error);
    }
  }

  /** Runs a script; the server keeps it after the first time. */
  async run(
    script: string,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<readonly RedisReply[]> {
    const rest = [keys.length, ...keys, ...args];
    try {
      return (await this.#evaluate(script, rest)) as readonly RedisReply[]; // all of ours return lists
    } catch (error) {
      throw meaningOf(error);
    }
  }

  async #evaluate(script: string, rest: (string | number | Buffer)[]): Promise<unknown> {
    let sha = this.#shaOf.get(script);
    if (sha === undefined) {
      sha = createHash('sha1').update(script).digest('hex');
      this.#shaOf.set(script, sha);
    }
    try {
      return await this.#redis.callBuffer('EVALSHA', [sha, ...rest]);
    } catch (error) {
      if (!errorMessage(error).startsWith('NOSCRIPT')) throw error;
      return await this.#redis.callBuffer('EVAL', [script, ...rest]);
    }
  }

  close(): void {
    this.#redis.disconnect();
  }
}

function meaningOf(cause: unknown): StorageError {
  if (cause instanceof StorageError) return cause;
  const message = errorMessage(cause);
  const text = `redis: ${message}`;
  if (FULL.test(message)) return new StorageError('DISK_FULL', text, { cause });
  if (LATER.test(message) || message.startsWith(NEVER_SENT)) return new StorageError('UNAVAILABLE', text, { cause });
  if (DENIED.test(message)) return new StorageError('ENGINE_UNFIT', `${text}. Check user and password`, { cause });
  if ((cause as Partial<Error>).name === 'ReplyError') return new StorageError('FAILED', text, { cause }); // any value may be thrown
  return new StorageError('UNKNOWN_OUTCOME', text, { cause });
}

/** For messages. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//…@');
}
