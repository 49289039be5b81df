import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import type { AppendRecord, Offset, ShardId, StoredRecord } from '../record.js';
import { parseOffset, type ReadOptions, type ShardConfig, type ShardStorage } from '../shard-storage.js';

export interface SuiteOptions {
  /** Opens storage in a directory; called again with the same one to open what is there. */
  readonly open: (directory: string, clock: ManualClock) => Promise<ShardStorage>;
  /** Whether what was stored is there again after close and open. */
  readonly persistent: boolean;
  /**
   * Whether the driver takes time and timers from the clock it is given. Only then can retention be tested, and times be
   * compared with known ones. `own` unless given.
   */
  readonly clock?: 'given' | 'own';
  /**
   * Whether `open` may be called again with the directory of a storage that is open, as another process would. Then
   * writers race from storages of their own. `one` unless given.
   */
  readonly openers?: 'one' | 'many';
  /** Rounds of the race of 16 writers, for engines that take long over one. 200 unless given. */
  readonly raceRounds?: number;
}

/** A record as short as it can be written down in a test. */
export function record(text: string, more: Partial<AppendRecord> = {}): AppendRecord {
  return { payload: Buffer.from(text), ...more };
}

export const offset = parseOffset;

export function texts(records: readonly StoredRecord[]): string[] {
  return records.map(({ payload }) => payload.toString());
}

/** The code of what was thrown, or `resolved`. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'resolved',
    (error: { code: string }) => error.code,
  );
}

/** One storage per test, in a directory of its own. */
export class SuiteContext {
  readonly options: SuiteOptions;
  clock = new ManualClock();
  #directory = '';
  #storage: ShardStorage | undefined;
  readonly #others: ShardStorage[] = [];

  constructor(options: SuiteOptions) {
    this.options = options;
    beforeEach(async () => {
      this.#directory = await fs.mkdtemp(path.join(os.tmpdir(), 'shards-'));
      this.clock = new ManualClock();
      this.#storage = await options.open(this.#directory, this.clock);
    });
    afterEach(async () => {
      await Promise.all(this.#others.splice(0).map((storage) => storage.close()));
      await this.#storage?.close();
      await fs.rm(this.#directory, { recursive: true, force: true });
    });
  }

  get storage(): ShardStorage {
    expect(this.#storage).toBeDefined();
    return this.#storage as ShardStorage; // set before each test
  }

  /** Closes and opens again in the same directory, on the same clock unless another is given. */
  async reopen(clock = this.clock): Promise<ShardStorage> {
    await this.storage.close();
    this.clock = clock;
    this.#storage = await this.options.open(this.#directory, this.clock);
    return this.#storage;
  }

  /** Storages for writers that race: of their own where the driver allows it. */
  async openMany(number: number): Promise<ShardStorage[]> {
    const more: ShardStorage[] = [];
    while (this.options.openers === 'many' && more.length < number - 1) {
      const storage = await this.options.open(this.#directory, this.clock);
      more.push(storage);
      this.#others.push(storage);
    }
    return [this.storage, ...more];
  }

  async shard(name = 'shard', config: ShardConfig = { cleanup: 'keep' }): Promise<ShardId> {
    return await this.storage.createShard(name, config);
  }

  async append(shard: ShardId, ...payloads: string[]): Promise<void> {
    await this.storage.append(
      shard,
      payloads.map((text) => record(text)),
    );
  }

  /** All records from `from` on, in as many reads as it takes; once more when retention took the first ones meanwhile. */
  async readAll(shard: ShardId, options: Partial<ReadOptions> = {}): Promise<StoredRecord[]> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#readAll(shard, options);
      } catch (error) {
        if ((error as { code?: string }).code !== 'OFFSET_OUT_OF_RANGE' || attempt === 3) throw error; // any may be thrown
      }
    }
  }

  async #readAll(shard: ShardId, options: Partial<ReadOptions>): Promise<StoredRecord[]> {
    const { logStart } = await this.storage.describeShard(shard);
    const { maxRecords = 1000, maxBytes = 1_000_000 } = options;
    const found: StoredRecord[] = [];
    let from: Offset = options.from ?? logStart;
    for (;;) {
      const { records, next, end } = await this.storage.read(shard, { from, maxRecords, maxBytes });
      found.push(...records);
      if (next >= end) return found;
      expect(next).toBeGreaterThan(from);
      from = next;
    }
  }

  /** Lets time pass until the condition holds; gives up after an hour of it. */
  async eventually(holds: () => Promise<boolean>): Promise<void> {
    for (let turn = 0; turn < 3600; turn++) {
      if (await holds()) return;
      await this.clock.advanceAndSettle(1000);
    }
    expect(await holds()).toBe(true);
  }
}
