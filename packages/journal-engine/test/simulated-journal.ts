// A journal on a simulated disk and a manual clock, for tests that say what happens when.

import { createMemoryMeta, type MemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import type { AppendRecord, Offset, ShardId } from '@robustmq/storage-adapter';
import { SimDisk } from '@robustmq/wal/testing';
import type { JournalOptions } from '../src/options.js';
import { type RunningJournal, startJournal } from '../src/start-journal.js';

export class SimulatedJournal {
  readonly disk = new SimDisk(createPrng('simulated journal'));
  readonly clock = new ManualClock();
  readonly meta: MemoryMeta = createMemoryMeta({ clock: this.clock });
  readonly options: JournalOptions;
  #running: RunningJournal | undefined;

  constructor(options: Partial<JournalOptions> = {}) {
    this.options = { directory: '/data', diskReserveBytes: 0, walFileBytes: 64 * 1024, ...options };
  }

  async start(options: Partial<JournalOptions> = {}): Promise<RunningJournal> {
    const { disk, clock, meta } = this;
    this.#running = await startJournal({ ...this.options, ...options }, { disk, clock, meta: meta.connect() });
    return this.#running;
  }

  /** As if the process had been killed: nothing is closed. */
  async killAndStart(): Promise<RunningJournal> {
    this.disk.kill();
    return await this.start();
  }

  /** Of the segments directory, by kind. */
  async files(ending: 'log' | 'idx'): Promise<string[]> {
    return (await this.disk.list('/data/segments')).filter((name) => name.endsWith(`.${ending}`));
  }
}

export function texts(...values: string[]): AppendRecord[] {
  return values.map((value) => ({ payload: Buffer.from(value) }));
}

/** `offset:payload` of everything from `start` on, read in small pages. */
export async function readAll(journal: RunningJournal, shard: ShardId, start?: number): Promise<string[]> {
  const found: string[] = [];
  let next = start ?? (await journal.storage.describeShard(shard)).logStart;
  for (;;) {
    const page = await journal.storage.read(shard, { from: next as Offset, maxRecords: 7, maxBytes: 1 << 16 });
    for (const { payload, offset } of page.records) found.push(`${offset}:${payload.toString()}`);
    next = page.next;
    if (page.next === page.end) return found;
  }
}
