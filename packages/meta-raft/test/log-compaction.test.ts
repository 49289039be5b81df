import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '@robustmq/wal/testing';
import type { Entry } from '../src/core/types.js';
import { GROUP_IDS } from '../src/driver/group-id.js';
import { RaftLogStore } from '../src/storage/raft-log-store.js';

const entry = (index: number): Entry => ({ index, term: 1, kind: 'command', payload: Buffer.from(`${index}`) });
const group = GROUP_IDS.metadata;

describe('the Raft log', () => {
  it('that was cut twice, the second time within what was kept the first time, is found again', async () => {
    const disk = new SimDisk(createPrng(1));
    const open = () => RaftLogStore.open({ directory: '/log' }, { disk, clock: new ManualClock() });
    const log = await open();
    const write = (from: number, through: number) =>
      new Promise<void>((resolve, reject) => {
        const entries = Array.from({ length: through - from + 1 }, (_, i) => entry(from + i));
        const hardState = { term: 1, votedFor: 1, commitIndex: through };
        log.write([{ group, reset: undefined, entries, hardState }], (error) => (error ? reject(error) : resolve()));
      });
    for (let from = 1; from < 200; from += 10) await write(from, from + 9);
    await log.compact(group, { index: 100, term: 1 });
    await log.compact(group, { index: 150, term: 1 });
    await write(201, 210);
    await log.close();
    const recovered = (await open()).takeRecovered(group);
    expect(recovered).toMatchObject({ base: { index: 150, term: 1 }, hardState: { commitIndex: 210 } });
    expect(recovered?.entries.map(({ index }) => index)).toEqual(Array.from({ length: 60 }, (_, i) => 151 + i));
  });
});
