import { describe, expect, it, jest } from '@jest/globals';
import type { Offset, ShardId } from '@robustmq/storage-adapter';
import { readAll, SimulatedJournal, texts } from './simulated-journal.js';

jest.setTimeout(60_000); // a busy machine

const SMALL = {
  segmentBytes: 2048,
  compactSegmentBytes: 2048,
  tailCacheBytes: 0,
  indexIntervalBytes: 256,
  flushBytes: 1,
};
const offset = (value: number) => value as Offset;

describe('segments', () => {
  it('roll by size, are sealed with a sidecar, and read as one shard, over restarts of any kind', async () => {
    const world = new SimulatedJournal(SMALL);
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const expected: string[] = [];
    for (let i = 0; i < 100; i++) {
      const text = `${i}-${'x'.repeat(100)}`;
      const { firstOffset } = await journal.storage.append(shard, texts(text));
      expected.push(`${firstOffset}:${text}`);
    }
    await journal.checkpoint();
    expect((await world.files('log')).length).toBeGreaterThan(4);
    expect((await world.files('idx')).length).toBeGreaterThan(3);
    expect(await readAll(journal, shard)).toEqual(expected);
    journal = await world.killAndStart();
    expect(await readAll(journal, shard)).toEqual(expected);
    await journal.close();
    journal = await world.start();
    expect(await readAll(journal, shard)).toEqual(expected);
    // A sidecar is a shortcut, never the truth: without any, everything is still there.
    await journal.close();
    for (const name of await world.files('idx')) await world.disk.remove(`/data/segments/${name}`);
    journal = await world.start();
    expect(await readAll(journal, shard, 55)).toEqual(expected.slice(55));
    await journal.close();
  });

  it('find the first record at or after a time, in memory and on disk', async () => {
    for (const tailCacheBytes of [0, 1 << 20]) {
      const world = new SimulatedJournal({ ...SMALL, tailCacheBytes });
      const journal = await world.start();
      const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
      const times: number[] = [];
      for (let i = 0; i < 60; i++) {
        if (i % 3 === 0) world.clock.advance(10);
        times.push(world.clock.wallTime());
        await journal.storage.append(shard, texts(`${i}-${'x'.repeat(80)}`));
      }
      await journal.checkpoint();
      for (const at of [0, 1, 29, 30, 57, 59]) {
        const wanted = times[at] as number;
        expect(await journal.storage.offsetAtTime(shard, wanted)).toBe(times.indexOf(wanted));
        expect(await journal.storage.offsetAtTime(shard, wanted - 1)).toBe(times.indexOf(wanted));
      }
      expect(await journal.storage.offsetAtTime(shard, world.clock.wallTime() + 1)).toBe(60);
      expect(await journal.storage.offsetAtTime(shard, 0)).toBe(0);
      await journal.close();
    }
  });

  it('roll by age, so that retention by time has closed segments to drop', async () => {
    const world = new SimulatedJournal({ segmentAgeMs: 1000 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'delete', retentionMs: 10_000 });
    await journal.storage.append(shard, texts('old'));
    world.clock.advance(2_000);
    await journal.houseKeep();
    await journal.storage.append(shard, texts('new'));
    await journal.checkpoint();
    expect(await readAll(journal, shard)).toEqual(['0:old', '1:new']);
    world.clock.advance(9_000);
    await journal.houseKeep();
    expect(await readAll(journal, shard)).toEqual(['1:new']);
    expect(await world.files('log')).toHaveLength(1);
    journal = await world.killAndStart();
    expect(await journal.storage.describeShard(shard)).toMatchObject({ logStart: 1, end: 2 });
    await journal.close();
  });

  it('are dropped by size, and what was trimmed stays trimmed', async () => {
    const world = new SimulatedJournal(SMALL);
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'delete', retentionBytes: 6_000 });
    for (let i = 0; i < 100; i++) await journal.storage.append(shard, texts('x'.repeat(100)));
    await journal.checkpoint();
    await journal.houseKeep();
    const { logStart } = await journal.storage.describeShard(shard);
    expect(logStart).toBeGreaterThan(30);
    expect(logStart).toBeLessThan(80);
    await journal.storage.trim(shard, offset(90));
    await expect(journal.storage.read(shard, { from: offset(89), maxRecords: 1, maxBytes: 1 })).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
    });
    journal = await world.killAndStart();
    expect(await journal.storage.describeShard(shard)).toMatchObject({ logStart: 90, end: 100 });
    expect((await world.meta.range({ prefix: 'journal/tombstones/' })).count).toBe(0);
    await journal.close();
  });

  it('of a compacted shard keep the newest record of every key, at its offset', async () => {
    const world = new SimulatedJournal(SMALL);
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'compact' });
    const newest = new Map<string, string>();
    for (let i = 0; i < 200; i++) {
      const key = `k${i % 7}`;
      const { firstOffset } = await journal.storage.append(shard, [
        { key, payload: Buffer.from(`${i}-${'x'.repeat(60)}`) },
      ]);
      newest.set(key, `${firstOffset}:${i}-${'x'.repeat(60)}`);
    }
    await journal.checkpoint();
    await journal.houseKeep();
    const left = await readAll(journal, shard);
    expect(left).toEqual(expect.arrayContaining([...newest.values()]));
    expect(left.length).toBeLessThan(60);
    expect(await journal.storage.describeShard(shard)).toMatchObject({ logStart: 0, end: 200 });
    journal = await world.killAndStart();
    expect(await readAll(journal, shard)).toEqual(left);
    await journal.close();
  });

  it('of a deleted shard go, and a new shard of the same name begins at 0', async () => {
    const world = new SimulatedJournal();
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a'));
    await journal.checkpoint();
    await journal.storage.deleteShard(shard);
    await expect(journal.storage.append(shard, texts('b'))).rejects.toMatchObject({ code: 'SHARD_NOT_FOUND' });
    expect(await world.files('log')).toEqual([]);
    await journal.storage.createShard('s', { cleanup: 'compact' });
    await journal.storage.append(shard, texts('c'));
    journal = await world.killAndStart();
    expect(await readAll(journal, shard)).toEqual(['0:c']);
    await journal.close();
  });
});

describe('producers', () => {
  it('are remembered over a roll, a crash and a clean stop', async () => {
    const world = new SimulatedJournal(SMALL);
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const send = (sequence: number, epoch = 1) =>
      journal.storage.append(shard, texts('x'.repeat(200)), { producer: { id: 'p', epoch, sequence } });
    for (let i = 0; i < 20; i++) expect((await send(i)).firstOffset).toBe(i);
    expect((await send(19)).firstOffset).toBe(19);
    journal = await world.killAndStart();
    expect((await send(19)).firstOffset).toBe(19);
    expect((await send(20)).firstOffset).toBe(20);
    await journal.close();
    for (let restarts = 0; restarts < 3; restarts++) {
      journal = await world.start();
      expect((await send(20)).firstOffset).toBe(20);
      await expect(send(22)).rejects.toMatchObject({ code: 'SEQUENCE_GAP' });
      await journal.close();
    }
    journal = await world.start();
    expect((await send(0, 2)).firstOffset).toBe(21);
    await expect(send(21)).rejects.toMatchObject({ code: 'PRODUCER_FENCED' });
    // Two at once: the repetition waits for the first and gets its offset.
    const [first, again] = await Promise.all([send(1, 2), send(1, 2)]);
    expect(again).toEqual(first);
    await journal.close();
  });
});

describe('meta', () => {
  it('is not needed to append, and a segment that cannot be rolled goes on', async () => {
    const world = new SimulatedJournal(SMALL);
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    world.meta.setReachability('unreachable');
    for (let i = 0; i < 30; i++) await journal.storage.append(shard, texts('x'.repeat(100)));
    await expect(journal.storage.createShard('other', { cleanup: 'keep' })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    await expect(journal.storage.commitOffsets('g', [{ shard, offset: offset(1) }])).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    world.meta.setReachability('reachable');
    await world.clock.advanceAndSettle(10_000);
    for (let i = 0; i < 30; i++) await journal.storage.append(shard, texts('x'.repeat(100)));
    await journal.checkpoint();
    expect((await world.files('log')).length).toBeGreaterThan(1);
    expect(await readAll(journal, shard)).toHaveLength(60);
    await journal.close();
  });

  it('keeps the offsets of groups, at most one transaction per interval', async () => {
    const world = new SimulatedJournal({ offsetCommitIntervalMs: 100 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.commitOffsets('a group/of many', [{ shard, offset: offset(1) }]);
    const before = world.meta.revision;
    const commits = Array.from({ length: 50 }, (_, i) =>
      journal.storage.commitOffsets('a group/of many', [{ shard, offset: offset(i) }]),
    );
    await world.clock.advanceAndSettle(100);
    await Promise.all(commits);
    expect(world.meta.revision).toBe(before + 1);
    await journal.close();
    journal = await world.start();
    expect(await journal.storage.committedOffsets('a group/of many')).toEqual([{ shard, offset: 49 }]);
    await journal.storage.deleteGroup('a group/of many');
    expect(await journal.storage.committedOffsets('a group/of many')).toEqual([]);
    await journal.close();
  });

  it('that is away does not keep a journal from closing, and what it was not told it learns at the next start', async () => {
    const world = new SimulatedJournal({ segmentAgeMs: 1000 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a'));
    world.meta.setReachability('unreachable');
    world.clock.advance(2000);
    const keeping = journal.houseKeep();
    await journal.storage.append(shard, texts('b'));
    await journal.close();
    await keeping;
    world.meta.setReachability('reachable');
    journal = await world.start();
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b']);
    await journal.close();
  });

  it('fences a journal whose shard was taken over', async () => {
    const world = new SimulatedJournal(SMALL);
    const journal = await world.start();
    const shard = (await journal.storage.createShard('s', { cleanup: 'keep' })) as ShardId;
    const record = await world.meta.get('journal/shards/s');
    await world.meta.put(
      'journal/shards/s',
      Buffer.from(JSON.stringify({ ...JSON.parse(String(record?.value)), epoch: 9 })),
    );
    const fenced = async () => {
      for (let i = 0; i < 100; i++) await journal.storage.append(shard, texts('x'.repeat(100)));
    };
    await expect(fenced()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await journal.close();
  });
});

describe('tail readers', () => {
  it('are told of every durable end, in order', async () => {
    const world = new SimulatedJournal();
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const ends: number[] = [];
    const stop = journal.storage.onEnd(shard, (end) => ends.push(end));
    await Promise.all([1, 2, 3].map((i) => journal.storage.append(shard, texts(`${i}`, 'more'))));
    await journal.storage.append(shard, texts('last'));
    expect(ends).toEqual([6, 7]);
    stop();
    await journal.storage.append(shard, texts('unheard'));
    expect(ends).toEqual([6, 7]);
    await journal.close();
  });
});
