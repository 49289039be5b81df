// A seeded workload over the whole engine on a simulated disk, cut by a crash, reopened, and checked.
//
// What is checked (journal.md §2.6, as far as one node has them):
//   I1   what was acknowledged is there, at its offset, with its bytes, unless trimmed or compacted away
//   I2   an offset that was seen never changes its value, over all lives
//   I5   segments tile: without compaction there are no gaps from logStart to the end
//   I7   a reader never sees the end go back below what was acknowledged
//   I10  a repeated producer batch has one offset, whether its first try was acknowledged or cut
//   I11  logStart never goes down and never passes the end
//   K1   the newest acknowledged record of every key of a compacted shard is there

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { MemoryMeta } from '@robustmq/meta-raft/testing';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { AssertionFailure, assert } from '@robustmq/stdx/assert';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import type { AppendRecord, AppendResult, Offset, Producer, ShardConfig, ShardId } from '@robustmq/storage-adapter';
import { SimDisk } from '@robustmq/wal/testing';
import { type RunningJournal, startJournal } from '../src/start-journal.js';

const SHARDS: Readonly<Record<string, ShardConfig>> = {
  kept: { cleanup: 'keep' },
  compacted: { cleanup: 'compact' },
  bounded: { cleanup: 'delete', retentionBytes: 3000 },
};

interface ShardModel {
  /** Acknowledged or seen: offset to value. Never changes (I2). */
  readonly values: Map<number, string>;
  acknowledgedEnd: number;
  logStart: number;
  readonly newestByKey: Map<string, { offset: number; value: string }>;
  /** Producer batches whose outcome a crash left open, to be repeated. */
  undecided: { records: AppendRecord[]; producer: Producer }[];
  sequence: number;
}

export class CrashWorkload {
  readonly disk: SimDisk;
  readonly #meta: MemoryMeta;
  readonly #prng: Prng;
  readonly #models = new Map<string, ShardModel>();
  #journal: RunningJournal | undefined;
  #client: MetaClient | undefined;
  #clock = new ManualClock();
  #values = 0;
  #lives = 0;

  constructor(seed: number | string) {
    const prng = createPrng(seed);
    this.disk = new SimDisk(prng.fork('disk'));
    this.#prng = prng.fork('workload');
    this.#meta = createMemoryMeta({ clock: new ManualClock(), seed });
  }

  /** Starts, or resolves false when the disk stopped meanwhile. */
  async open(): Promise<boolean> {
    this.#lives++;
    this.#client = this.#meta.connect();
    this.#clock = new ManualClock({ wallTimeMs: Date.UTC(2026, 0, 1) + this.#lives * 60_000 });
    try {
      this.#journal = await startJournal(
        {
          directory: '/data',
          clusterName: 'simulated',
          nodeId: 1,
          segmentBytes: this.#prng.pick([1024, 2048, 8192]),
          compactSegmentBytes: 1024,
          batchBytes: 512,
          indexIntervalBytes: 128,
          tailCacheBytes: this.#prng.pick([0, 512, 100_000]),
          flushBytes: this.#prng.pick([1, 1000, 100_000]),
          checkpointBytes: this.#prng.pick([2000, 100_000]),
          walFileBytes: 8192,
          diskReserveBytes: 0,
          openFilesMax: 6,
        },
        { disk: this.disk, clock: this.#clock, meta: this.#client, prng: createPrng(this.#lives) },
      );
      for (const [name, config] of Object.entries(SHARDS)) await this.#journal.storage.createShard(name, config);
      return true;
    } catch (error) {
      if (this.disk.halted) return false;
      throw error;
    }
  }

  /** Random operations until they are done or the disk stops. */
  async run(operations: number): Promise<void> {
    for (let i = 0; i < operations && !this.disk.halted; i++) {
      try {
        await this.#operate();
      } catch (error) {
        if (!this.disk.halted || error instanceof AssertionFailure) throw error;
      }
    }
  }

  /** The process is gone: nothing it still had under way reaches disk or meta. */
  async crash(kind: 'power' | 'process'): Promise<void> {
    this.disk.haltAfter(0);
    await this.#client?.close();
    this.#journal = undefined;
    // What the dead process had under way fails now, not in the next life.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => this.#clock.setImmediate(() => resolve(0)));
    if (kind === 'power') this.disk.crash();
    else this.disk.kill();
  }

  async closeCleanly(): Promise<void> {
    await this.#journal?.close();
    await this.#client?.close();
    this.#journal = undefined;
  }

  /** All invariants, against everything that is stored; then repeats what was undecided (I10). */
  async check(): Promise<void> {
    try {
      for (const name of Object.keys(SHARDS)) await this.#checkShard(name);
      for (const name of Object.keys(SHARDS)) await this.#repeatUndecided(name);
      for (const name of Object.keys(SHARDS)) await this.#checkShard(name);
    } catch (error) {
      if (!this.disk.halted || error instanceof AssertionFailure) throw error;
    }
  }

  async #operate(): Promise<void> {
    const journal = this.#running;
    const dice = this.#prng.between(0, 99);
    this.#clock.advance(this.#prng.between(0, 50));
    if (dice < 70) await this.#appendSome();
    else if (dice < 78) await journal.checkpoint();
    else if (dice < 84) await journal.houseKeep();
    else if (dice < 88) await this.#trim();
    else if (dice < 97) await this.#checkShard(this.#prng.pick(Object.keys(SHARDS)));
    else await this.#reopen();
  }

  async #reopen(): Promise<void> {
    await this.closeCleanly();
    await this.open();
  }

  async #appendSome(): Promise<void> {
    const appends = Array.from({ length: this.#prng.between(1, 6) }, () => {
      const name = this.#prng.pick(Object.keys(SHARDS));
      return this.#prng.chance(0.3) ? this.#appendOnce(name) : this.#append(name);
    });
    const outcomes = await Promise.allSettled(appends);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async #append(name: string): Promise<void> {
    const records = this.#newRecords(name);
    this.#acknowledge(name, records, await this.#running.storage.append(name as ShardId, records));
  }

  async #appendOnce(name: string): Promise<void> {
    const model = this.#model(name);
    const records = this.#newRecords(name);
    const producer = { id: 'p', epoch: 1, sequence: model.sequence };
    model.sequence += records.length;
    const attempt = { records, producer };
    model.undecided.push(attempt);
    this.#acknowledge(name, records, await this.#running.storage.append(name as ShardId, records, { producer }));
    model.undecided = model.undecided.filter((other) => other !== attempt);
  }

  async #repeatUndecided(name: string): Promise<void> {
    const model = this.#model(name);
    for (const { records, producer } of model.undecided) {
      const first = await this.#running.storage.append(name as ShardId, records, { producer });
      const again = await this.#running.storage.append(name as ShardId, records, { producer });
      assert(first.firstOffset === again.firstOffset, 'I10: a repeated batch has one offset');
      this.#acknowledge(name, records, first);
    }
    model.undecided = [];
  }

  #newRecords(name: string): AppendRecord[] {
    return Array.from({ length: this.#prng.between(1, 3) }, () => {
      const payload = Buffer.from(`${name}-${this.#values++}-${'x'.repeat(this.#prng.between(0, 150))}`);
      return this.#prng.chance(0.8) ? { key: `k${this.#prng.between(0, 9)}`, payload } : { payload, tags: ['t'] };
    });
  }

  #acknowledge(name: string, records: readonly AppendRecord[], { firstOffset, lastOffset }: AppendResult): void {
    const model = this.#model(name);
    assert(lastOffset - firstOffset + 1 === records.length, 'S2: offsets of a batch follow each other');
    records.forEach((record, i) => {
      this.#see(name, firstOffset + i, textOf(record));
    });
    model.acknowledgedEnd = Math.max(model.acknowledgedEnd, lastOffset + 1);
  }

  #see(name: string, offset: number, value: string): void {
    const model = this.#model(name);
    const known = model.values.get(offset);
    assert(known === undefined || known === value, `I2: ${name} ${offset} was ${known} and is ${value}`);
    model.values.set(offset, value);
    const key = value.split('|')[0];
    if (!key) return;
    const newest = model.newestByKey.get(key);
    if (!newest || newest.offset < offset) model.newestByKey.set(key, { offset, value });
  }

  async #trim(): Promise<void> {
    const model = this.#model('kept');
    const before = this.#prng.between(model.logStart, model.acknowledgedEnd);
    await this.#running.storage.trim('kept' as ShardId, before as Offset);
  }

  async #checkShard(name: string): Promise<void> {
    const model = this.#model(name);
    const { logStart, end } = await this.#running.storage.describeShard(name as ShardId);
    assert(logStart >= model.logStart && logStart <= end, `I11: ${name} begins at ${logStart}`);
    assert(end >= model.acknowledgedEnd, `I1: ${name} ends at ${end}, ${model.acknowledgedEnd} was acknowledged`);
    model.logStart = logStart;
    const found = new Map<number, string>();
    for (let next: number = logStart; next < end; ) {
      const page = await this.#running.storage.read(name as ShardId, {
        from: next as Offset,
        maxRecords: this.#prng.between(1, 40),
        maxBytes: this.#prng.between(1, 3000),
      });
      for (const record of page.records) {
        assert(record.offset >= next && record.offset < end, 'I7: records lie within the read');
        found.set(record.offset, textOf(record));
        this.#see(name, record.offset, textOf(record)); // I2
        next = record.offset + 1;
      }
      assert(page.next >= next, 'a read goes on');
      next = page.next;
    }
    this.#checkComplete(name, found, { logStart, end });
  }

  #checkComplete(name: string, found: ReadonlyMap<number, string>, range: { logStart: number; end: number }): void {
    const model = this.#model(name);
    if (SHARDS[name]?.cleanup === 'compact') {
      for (const [key, { offset, value }] of model.newestByKey)
        assert(found.get(offset) === value, `K1: ${name} lost the newest of ${key} at ${offset}`);
    } else {
      for (let offset = range.logStart; offset < range.end; offset++)
        assert(found.has(offset), `I5: ${name} has a gap at ${offset}`);
    }
  }

  get #running(): RunningJournal {
    assert(this.#journal, 'the workload is open');
    return this.#journal;
  }

  #model(name: string): ShardModel {
    const known = this.#models.get(name);
    if (known) return known;
    const model: ShardModel = {
      values: new Map(),
      acknowledgedEnd: 0,
      logStart: 0,
      newestByKey: new Map(),
      undecided: [],
      sequence: 0,
    };
    this.#models.set(name, model);
    return model;
  }
}

function textOf({ key, payload }: { readonly key?: string | undefined; readonly payload: Buffer }): string {
  return `${key ?? ''}|${payload.toString()}`;
}
