// Where groups of consumers are, kept in meta.
//
// Invariants:
//   O1. A commit resolves only when meta has it. While meta is away commits are refused, never cached.
//   O2. However many commits come, meta sees at most one round of transactions per interval: the first of a
//       quiet time goes at once, those behind it are gathered and the last offset of a key wins.

import type { MetaClient, Operation } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type GroupOffset, type Offset, parseOffset, parseShardId, StorageError } from '@robustmq/storage-adapter';
import { JOURNAL_KEYS } from './records.js';

/** Keys of one transaction: etcd's default bound on operations is 128. */
const OPERATIONS_MAX = 120;
const PENDING_MAX = 100_000;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: StorageError) => void;
}

export class GroupOffsets {
  readonly #meta: MetaClient;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #pending = new Map<string, Offset>();
  #waiters: Waiter[] = [];
  #state: 'quiet' | 'waiting' | 'writing' = 'quiet';
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #idle: (() => void)[] = [];

  constructor(meta: MetaClient, clock: Clock, intervalMs: number) {
    this.#meta = meta;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  commit(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    if (this.#pending.size + offsets.length > PENDING_MAX)
      return Promise.reject(new StorageError('OVERLOADED', `${this.#pending.size} consumer offsets wait for meta`));
    for (const { shard, offset } of offsets) this.#pending.set(JOURNAL_KEYS.offsetsOf(group) + shard, offset);
    const committed = new Promise<void>((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
    if (this.#state === 'quiet') this.#schedule();
    return committed;
  }

  async committed(group: string): Promise<GroupOffset[]> {
    const prefix = JOURNAL_KEYS.offsetsOf(group);
    try {
      const { kvs } = await this.#meta.range({ prefix });
      return kvs.map(({ key, value }) => ({
        shard: parseShardId(key.slice(prefix.length)),
        offset: parseOffset(Number(value.toString())),
      }));
    } catch (error) {
      throw unavailable(error);
    }
  }

  async deleteGroup(group: string): Promise<void> {
    const prefix = JOURNAL_KEYS.offsetsOf(group);
    await this.drain();
    try {
      await this.#meta.delete({ prefix });
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** Resolves when nothing waits for meta any more. */
  async drain(): Promise<void> {
    if (this.#state === 'quiet') return;
    if (this.#state === 'waiting') void this.#write();
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #schedule(): void {
    this.#state = 'waiting';
    const pauseMs = this.#writtenAtMs + this.#intervalMs - this.#clock.now();
    const write = () => {
      if (this.#state === 'waiting') void this.#write();
    };
    if (pauseMs > 0) this.#clock.setTimer(pauseMs, write);
    else this.#clock.setImmediate(write);
  }

  async #write(): Promise<void> {
    this.#state = 'writing';
    this.#writtenAtMs = this.#clock.now();
    const [pending, waiters] = [[...this.#pending], this.#waiters];
    this.#pending = new Map();
    this.#waiters = [];
    const puts: Operation[] = pending.map(([key, offset]) => ({ put: { key, value: Buffer.from(String(offset)) } }));
    try {
      for (let at = 0; at < puts.length; at += OPERATIONS_MAX)
        await this.#meta.transact({ when: [], then: puts.slice(at, at + OPERATIONS_MAX) });
      for (const { resolve } of waiters) resolve(); // O1
    } catch (error) {
      const refused = unavailable(error);
      for (const { reject } of waiters) reject(refused);
    }
    if (this.#waiters.length > 0) {
      this.#schedule();
      return;
    }
    this.#state = 'quiet';
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }
}

function unavailable(error: unknown): StorageError {
  return new StorageError('UNAVAILABLE', `meta did not answer: ${errorMessage(error)}; retry`, { cause: error });
}
