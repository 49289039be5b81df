import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { createMemoryMeta, type MemoryMeta } from '@robustmq/meta-raft/testing';
import { systemClock } from '@robustmq/stdx/clock';
import type { Offset, ShardId } from '@robustmq/storage-adapter';
import { nodeDisk } from '@robustmq/wal';
import type { JournalOptions } from './options.js';
import { type RunningJournal, startJournal } from './start-journal.js';

jest.setTimeout(60_000); // a busy machine

const directories: string[] = [];

afterEach(async () => {
  for (const directory of directories.splice(0)) await fs.rm(directory, { recursive: true, force: true });
});

async function newDirectory(): Promise<string> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'journal-'));
  directories.push(directory);
  return directory;
}

interface Place {
  readonly directory: string;
  readonly meta: MemoryMeta;
}

function start({ directory, meta }: Place, options: Partial<JournalOptions> = {}): Promise<RunningJournal> {
  return startJournal(
    { directory, clusterName: 'test', nodeId: 1, diskReserveBytes: 0, ...options },
    { disk: nodeDisk(), clock: systemClock, meta },
  );
}

const record = (text: string) => ({ payload: Buffer.from(text) });

async function readAll(journal: RunningJournal, shard: ShardId, start = 0): Promise<string[]> {
  const found: string[] = [];
  for (let next = start; ; ) {
    const page = await journal.storage.read(shard, { from: next as Offset, maxRecords: 1000, maxBytes: 1 << 20 });
    for (const { payload, offset } of page.records) found.push(`${offset}:${payload.toString()}`);
    next = page.next;
    if (page.next === page.end) return found;
  }
}

describe('a journal on a real disk', () => {
  it('keeps what was appended, in order, over restarts', async () => {
    const place = { directory: await newDirectory(), meta: createMemoryMeta() };
    let journal = await start(place);
    const shard = await journal.storage.createShard('orders', { cleanup: 'keep' });
    const results = await Promise.all(['a', 'b', 'c'].map((text) => journal.storage.append(shard, [record(text)])));
    expect(results.map(({ firstOffset }) => firstOffset)).toEqual([0, 1, 2]);
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b', '2:c']);
    await journal.close();
    journal = await start(place);
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b', '2:c']);
    await journal.storage.append(shard, [record('d'), record('e')]);
    await journal.close();
    journal = await start(place);
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b', '2:c', '3:d', '4:e']);
    await journal.close();
  });
});
