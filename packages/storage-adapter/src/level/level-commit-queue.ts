// All writes of the level driver, one group after the other.
//
// Invariants:
//   Q1. One batch is in flight; appends and small writes that gather meanwhile are the next, under one sync.
//   Q2. A shard's head in memory changes only after the batch that changes it on disk is durable.
//   Q3. Work is settled in the order it came, except that what is refused is refused at once.
//   Q4. After a failed batch the database is opened anew and the heads are read from it before anything else is
//       written. Appends whose batch is found there have succeeded; the others were not done.

import type { Clock } from '@robustmq/stdx/clock';
import { StorageError } from '../errors.js';
import type { AppendResult } from '../shard-storage.js';
import { type Append, type AppendPlan, planAppends } from './level-append-plan.js';
import { type LevelDatabase, type LevelOperation, REOPEN_EVERY_MS, storageErrorOf } from './level-database.js';
import { headKey } from './level-keys.js';
import type { LevelShard } from './level-shard.js';
import { decodeHead } from './level-values.js';

interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

interface AppendWork extends Append, Settle<AppendResult> {
  readonly kind: 'append';
  readonly bytes: number;
}

interface WriteWork extends Settle<void> {
  readonly kind: 'write';
  readonly operations: readonly LevelOperation[];
  readonly bytes: number;
}

interface AloneWork {
  readonly kind: 'alone';
  /** Settles its own promise; never rejects. */
  readonly run: (refusal: StorageError | undefined) => Promise<void>;
  readonly bytes: 0;
  reject(error: unknown): void;
}

type Work = AppendWork | WriteWork | AloneWork;

/** Bytes of one batch: LevelDB holds a batch in memory several times over. */
const GROUP_BYTES_MAX = 8 * 1024 * 1024;
/** What the database may answer when it has to be opened anew; other codes are the caller's own mistakes. */
const DATABASE_TROUBLE: ReadonlySet<string> = new Set(['DISK_FULL', 'UNAVAILABLE', 'FAILED']);

export interface CommitQueueOptions {
  /** Accepted and not durable yet, in bytes; an empty queue takes any single append. */
  readonly pendingBytesMax: number;
}

export class LevelCommitQueue {
  readonly #database: LevelDatabase;
  readonly #clock: Clock;
  readonly #shards: () => Iterable<LevelShard>;
  readonly #options: CommitQueueOptions;
  #queue: Work[] = [];
  #pendingBytes = 0;
  #running: Promise<void> | undefined;
  #failure: StorageError | undefined;
  #headsAreRead = true;
  #triedMs = 0;

  constructor(parts: {
    database: LevelDatabase;
    clock: Clock;
    shards: () => Iterable<LevelShard>;
    options: CommitQueueOptions;
  }) {
    this.#database = parts.database;
    this.#clock = parts.clock;
    this.#shards = parts.shards;
    this.#options = parts.options;
  }

  append(append: Append): Promise<AppendResult> {
    let bytes = 0;
    for (const record of append.records) bytes += record.bytes.length + 64;
    return new Promise((resolve, reject) => this.#push({ kind: 'append', ...append, bytes, resolve, reject }));
  }

  /** Makes operations durable that touch neither heads nor records. */
  write(operations: readonly LevelOperation[]): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#push({ kind: 'write', operations, bytes: operations.length * 128, resolve, reject }),
    );
  }

  /** Runs something while nothing else writes. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const guarded = async (refusal: StorageError | undefined) => {
        if (refusal) return reject(refusal);
        try {
          resolve(await run());
        } catch (error) {
          reject(await this.#recover(error));
        }
      };
      this.#push({ kind: 'alone', run: guarded, bytes: 0, reject });
    });
  }

  /** Resolves when everything that was accepted is settled. */
  async drain(): Promise<void> {
    while (this.#running) await this.#running;
  }

  #push(work: Work): void {
    const { pendingBytesMax } = this.#options;
    if (this.#failure) {
      work.reject(this.#failure);
    } else if (this.#pendingBytes > 0 && this.#pendingBytes + work.bytes > pendingBytesMax) {
      work.reject(
        new StorageError('OVERLOADED', `${this.#pendingBytes} bytes wait for the disk, at most ${pendingBytesMax}`),
      );
    } else {
      this.#queue.push(work);
      this.#pendingBytes += work.bytes;
      this.#running ??= this.#run();
    }
  }

  async #run(): Promise<void> {
    // In a later turn: what is appended in this one goes into one group.
    await new Promise<void>((resolve) => this.#clock.setImmediate(resolve));
    for (let next = this.#queue[0]; next; next = this.#queue[0]) {
      const refusal = await this.#whyNotNow();
      if (next.kind === 'alone') {
        this.#queue.shift();
        await next.run(refusal);
      } else {
        const group = this.#takeGroup();
        if (refusal) this.#refuse(group, refusal);
        else await this.#commit(group);
      }
    }
    this.#running = undefined;
  }

  /** What stands at the head of the queue up to the next work that runs alone (Q1). */
  #takeGroup(): (AppendWork | WriteWork)[] {
    const group: (AppendWork | WriteWork)[] = [];
    let bytes = 0;
    for (const work of this.#queue) {
      if (work.kind === 'alone' || (group.length > 0 && bytes + work.bytes > GROUP_BYTES_MAX)) break;
      group.push(work);
      bytes += work.bytes;
    }
    this.#queue.splice(0, group.length);
    return group;
  }

  async #commit(group: readonly (AppendWork | WriteWork)[]): Promise<void> {
    const appends = group.filter((work) => work.kind === 'append');
    const writes = group.filter((work) => work.kind === 'write');
    let plan: AppendPlan<AppendWork> | undefined;
    try {
      plan = await planAppends(this.#database, appends, this.#clock.wallTime());
      const operations = [...plan.operations, ...writes.flatMap((work) => work.operations)];
      if (operations.length > 0) await this.#database.write(operations, 'durable');
    } catch (error) {
      const reason = await this.#recover(error);
      if (!plan || !this.#headsAreRead || !isOnDisk(plan)) {
        this.#refuse(group, reason); // Q4
        return;
      }
    }
    this.#countOut(group);
    for (const work of writes) work.resolve();
    this.#settle(plan);
  }

  #refuse(group: readonly Work[], reason: StorageError): void {
    this.#countOut(group);
    for (const work of group) work.reject(reason);
  }

  /** Before anyone is told: who hears that an append is settled may append again at once. */
  #countOut(group: readonly Work[]): void {
    for (const { bytes } of group) this.#pendingBytes -= bytes;
  }

  #settle({ heads, outcomes }: AppendPlan<AppendWork>): void {
    for (const [shard, head] of heads) shard.head = head; // Q2
    for (const outcome of outcomes) {
      if (outcome.kind === 'accepted')
        outcome.append.resolve(outcome.result); // Q3
      else outcome.append.reject(outcome.error);
    }
    for (const shard of heads.keys()) for (const listener of shard.listeners) listener(endOf(shard));
  }

  /** After a failed write: opens the database anew and reads the heads from it (Q4). Gives what callers are told. */
  async #recover(error: unknown): Promise<StorageError> {
    if (error instanceof StorageError && !DATABASE_TROUBLE.has(error.code)) return error;
    const reason = storageErrorOf(error, 'a write failed');
    if (reason.code === 'FAILED') this.#failure = reason;
    this.#headsAreRead = false;
    await this.#readHeads();
    return this.#failure ?? reason;
  }

  async #readHeads(): Promise<void> {
    this.#triedMs = this.#clock.now();
    try {
      await this.#database.reopen();
      const shards = [...this.#shards()];
      const heads = await this.#database.getMany(shards.map(({ number }) => headKey(number)));
      shards.forEach((shard, i) => {
        const head = heads[i];
        if (head) shard.head = decodeHead(head);
      });
      this.#headsAreRead = true;
    } catch (cause) {
      const reason = storageErrorOf(cause, 'the database cannot be opened again');
      // Only a full disk can mend while the process lives.
      if (reason.code !== 'DISK_FULL') this.#failure = asFailure(reason);
    }
  }

  /** While the heads could not be read nothing may be written: offsets would be given out twice. */
  async #whyNotNow(): Promise<StorageError | undefined> {
    if (this.#failure) return this.#failure;
    if (!this.#headsAreRead && this.#clock.now() - this.#triedMs >= REOPEN_EVERY_MS) await this.#readHeads();
    if (this.#headsAreRead) return undefined;
    return this.#failure ?? new StorageError('DISK_FULL', 'no space left to open the database again. Free some');
  }
}

/** Whether the batch of a plan is what the shards' heads, just read from disk, say. */
function isOnDisk({ heads }: AppendPlan<AppendWork>): boolean {
  if (heads.size === 0) return false;
  for (const [shard, head] of heads) if (shard.head.end < head.end) return false;
  return true;
}

function asFailure(reason: StorageError): StorageError {
  return new StorageError('FAILED', `${reason.message}. Nothing more is accepted; restart the process`, {
    cause: reason,
  });
}

function endOf(shard: LevelShard) {
  return shard.head.end as Parameters<Parameters<LevelShard['listeners']['add']>[0]>[0]; // kept as an offset by appends
}
