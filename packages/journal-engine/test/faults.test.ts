import { describe, expect, it, jest } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { createPrng } from '@robustmq/stdx/prng';
import type { Offset } from '@robustmq/storage-adapter';
import { SimDisk } from '@robustmq/wal/testing';
import { startJournal } from '../src/start-journal.js';
import { readAll, SimulatedJournal, texts } from './simulated-journal.js';

jest.setTimeout(60_000); // a busy machine

const SMALL = { segmentBytes: 2048, tailCacheBytes: 0, indexIntervalBytes: 256, flushBytes: 1 };

describe('a full disk', () => {
  it('refuses appends, serves reads, loses nothing, and goes on when there is space', async () => {
    const world = new SimulatedJournal({ diskCheckIntervalMs: 1000, walFileBytes: 16 * 1024 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const acknowledged: string[] = [];
    const append = async (text: string) => {
      const { firstOffset } = await journal.storage.append(shard, texts(text));
      acknowledged.push(`${firstOffset}:${text}`);
    };
    for (let i = 0; i < 10; i++) await append(`before ${i}`);
    world.disk.capacityBytes = world.disk.usedBytes + 600;
    const refusals: unknown[] = [];
    for (let i = 0; i < 200; i++) {
      const tries = await Promise.allSettled([append(`a${i}-${'x'.repeat(100)}`), append(`b${i}`)]);
      for (const outcome of tries) if (outcome.status === 'rejected') refusals.push(outcome.reason);
    }
    expect(refusals.length).toBeGreaterThan(0);
    for (const refusal of refusals) expect(refusal).toMatchObject({ code: 'DISK_FULL', next: 'later' });
    expect(journal.status.kind).toBe('read-only');
    expect(await readAll(journal, shard)).toEqual(acknowledged);
    world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5 && journal.status.kind !== 'writable'; i++) await world.clock.advanceAndSettle(1000);
    // The WAL looks for space on its own and refuses until it has looked.
    for (let i = 0; i < 5; i++) {
      await append(`after ${i}`).catch(() => {});
      await world.clock.advanceAndSettle(2000);
    }
    await append('last');
    expect(await readAll(journal, shard)).toEqual(acknowledged);
    expect(acknowledged.map((line) => Number(line.split(':')[0]))).toEqual(acknowledged.map((_, i) => i));
    journal = await world.killAndStart();
    expect(await readAll(journal, shard)).toEqual(acknowledged);
    await journal.close();
  });

  it('is not waited for: below the reserve appends are refused already', async () => {
    const world = new SimulatedJournal({ diskReserveBytes: 1 << 20, diskCheckIntervalMs: 1000 });
    world.disk.capacityBytes = 4 << 20;
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a'));
    world.disk.capacityBytes = world.disk.usedBytes + (1 << 19);
    await world.clock.advanceAndSettle(1000);
    await expect(journal.storage.append(shard, texts('b'))).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(await readAll(journal, shard)).toEqual(['0:a']);
    world.disk.capacityBytes = 8 << 20;
    await world.clock.advanceAndSettle(1000);
    await journal.storage.append(shard, texts('b'));
    await journal.close();
  });

  it('keeps durable records in memory and in the WAL while their segment file has no room', async () => {
    const world = new SimulatedJournal({ flushBytes: 1 << 20 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a', 'b'));
    world.disk.failNext('write', { code: 'ENOSPC', writtenBytes: 20 });
    await journal.checkpoint();
    expect(journal.status.kind).toBe('read-only');
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b']);
    await world.clock.advanceAndSettle(2000);
    await journal.storage.append(shard, texts('c'));
    await journal.checkpoint();
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b', '2:c']);
    journal = await world.killAndStart();
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b', '2:c']);
    await journal.close();
  });
});

describe('a failed sync', () => {
  it('of the WAL is final: nothing is acknowledged after it, and the next start has what was', async () => {
    const world = new SimulatedJournal();
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('safe'));
    world.disk.failNext('datasync', { code: 'EIO', pages: 'dropped' });
    await expect(journal.storage.append(shard, texts('lost'))).rejects.toMatchObject({ code: 'FAILED' });
    await expect(journal.storage.append(shard, texts('refused'))).rejects.toMatchObject({ code: 'FAILED' });
    expect(journal.status.kind).toBe('failed');
    expect(await readAll(journal, shard)).toEqual(['0:safe']);
    world.disk.crash();
    journal = await world.start();
    expect((await readAll(journal, shard))[0]).toBe('0:safe');
    await journal.close();
  });

  it('of a segment file releases no WAL', async () => {
    const world = new SimulatedJournal({ flushBytes: 1 << 20 });
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a', 'b'));
    world.disk.failNext('datasync', { code: 'EIO', pages: 'dropped' });
    await journal.checkpoint();
    expect(journal.status.kind).toBe('failed');
    await expect(journal.storage.append(shard, texts('c'))).rejects.toMatchObject({ code: 'FAILED' });
    world.disk.crash();
    journal = await world.start();
    expect(await readAll(journal, shard)).toEqual(['0:a', '1:b']);
    await journal.close();
  });
});

describe('a flipped bit', () => {
  /** A closed shard of some segments, its records, and one bit of one file turned. */
  async function damaged(kind: 'log' | 'idx', seed: number) {
    const world = new SimulatedJournal(SMALL);
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const records: string[] = [];
    for (let i = 0; i < 60; i++) {
      const { firstOffset } = await journal.storage.append(shard, texts(`${i}-${'x'.repeat(60)}`));
      records.push(`${firstOffset}:${i}-${'x'.repeat(60)}`);
    }
    await journal.close();
    const prng = createPrng(`flip ${seed}`);
    const name = `/data/segments/${prng.pick(await world.files(kind))}`;
    world.disk.flipBit(name, prng.between(0, (world.disk.contentOf(name)?.length ?? 1) - 1), prng.between(0, 7));
    return { world, shard, records, journal: await world.start() };
  }

  it('in a segment is found, the range is named, the rest stays readable and the end stays', async () => {
    let refused = 0;
    for (let seed = 0; seed < 60; seed++) {
      const { journal, shard, records } = await damaged('log', seed);
      expect(await journal.storage.describeShard(shard)).toMatchObject({ logStart: 0, end: 60 });
      for (let at = 0; at < 60; at++) {
        try {
          const page = await journal.storage.read(shard, { from: at as Offset, maxRecords: 1, maxBytes: 1 });
          expect(page.records.map(({ offset, payload }) => `${offset}:${payload}`)).toEqual([records[at]]);
        } catch (error) {
          expect(error).toMatchObject({ code: 'FAILED', message: expect.stringContaining('.log is damaged') });
          refused++;
        }
      }
      await journal.close();
    }
    expect(refused).toBeGreaterThan(30);
    expect(refused).toBeLessThan(60 * 2); // one batch of one record, or the sidecar's end
  });

  it('in a sidecar costs a scan and nothing else', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { journal, shard, records } = await damaged('idx', seed);
      expect(await readAll(journal, shard)).toEqual(records);
      await journal.close();
    }
  });

  it('in the open segment below what a checkpoint made durable is no torn tail', async () => {
    const world = new SimulatedJournal();
    let journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    for (let i = 0; i < 10; i++) await journal.storage.append(shard, texts(`${i}`));
    await journal.checkpoint();
    await journal.storage.append(shard, texts('10'));
    const [name] = await world.files('log');
    const bytes = world.disk.contentOf(`/data/segments/${name}`) as Buffer;
    world.disk.flipBit(`/data/segments/${name}`, bytes.length - 1, 0);
    journal = await world.killAndStart();
    expect(await journal.storage.describeShard(shard)).toMatchObject({ end: 11 });
    expect(await readAll(journal, shard, 10)).toEqual(['10:10']);
    const read = (from: number) => journal.storage.read(shard, { from: from as Offset, maxRecords: 1, maxBytes: 1 });
    await expect(read(9)).rejects.toMatchObject({ code: 'FAILED' });
    expect((await read(8)).records).toHaveLength(1);
    await journal.storage.append(shard, texts('11'));
    journal = await world.killAndStart();
    await expect(read(9)).rejects.toMatchObject({ code: 'FAILED' });
    expect(await readAll(journal, shard, 10)).toEqual(['10:10', '11:11']);
    await journal.close();
  });
});

describe('a directory', () => {
  const deps = (world: SimulatedJournal) => ({ disk: world.disk, clock: world.clock, meta: world.meta.connect() });

  it('of another cluster, node or format is refused, and left as it was', async () => {
    const world = new SimulatedJournal();
    await (await world.start()).close();
    const other = (options: object) => startJournal({ ...world.options, ...options }, deps(world));
    await expect(other({ clusterName: 'other' })).rejects.toMatchObject({ code: 'DIRECTORY_FOREIGN' });
    await expect(other({ nodeId: 7 })).rejects.toMatchObject({ code: 'DIRECTORY_FOREIGN' });
    await (await world.start()).close();
    const file = await world.disk.open('/data/journal.json', 'read-write');
    await file.write([Buffer.from('{"format":2,"incarnation":"x"}')], 0);
    await file.truncate(30);
    await file.close();
    await expect(world.start()).rejects.toMatchObject({ code: 'FORMAT_UNSUPPORTED' });
  });

  it('in use is refused', async () => {
    const world = new SimulatedJournal();
    const journal = await world.start();
    await expect(world.start()).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' });
    await journal.close();
    await (await world.start()).close();
  });

  it('that is empty does not pass for the one meta knows, nor meta that is empty for the one that knew it', async () => {
    const world = new SimulatedJournal();
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    await journal.storage.append(shard, texts('a'));
    await journal.close();
    const emptied = { ...deps(world), disk: new SimDisk(createPrng('empty')) };
    await expect(startJournal(world.options, emptied)).rejects.toMatchObject({ code: 'DISK_REPLACED' });
    // Nor when somebody only removed the node: offsets of the lost disk must not be given again.
    const { kvs } = await world.meta.range({ prefix: 'journal/nodes/' });
    await world.meta.delete({ prefix: 'journal/nodes/' });
    await expect(startJournal(world.options, emptied)).rejects.toMatchObject({ code: 'DISK_REPLACED' });
    expect((await world.meta.range({ prefix: 'journal/nodes/' })).count).toBe(0);
    for (const { key, value } of kvs) await world.meta.put(key, value);
    const forgetful = { ...deps(world), meta: createMemoryMeta() };
    await expect(startJournal(world.options, forgetful)).rejects.toMatchObject({ code: 'DISK_UNREGISTERED' });
    await (await world.start()).close();
  });
});

describe('limits', () => {
  it('refuse more than the budget, aloud, and recover', async () => {
    const world = new SimulatedJournal({ inflightBytesMax: 4096 });
    const journal = await world.start();
    const shard = await journal.storage.createShard('s', { cleanup: 'keep' });
    const many = Array.from({ length: 10 }, () => journal.storage.append(shard, texts('x'.repeat(1000))));
    const outcomes = await Promise.allSettled(many);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'OVERLOADED', next: 'later' });
    await journal.storage.append(shard, texts('x'.repeat(8000)));
    expect(await readAll(journal, shard)).toHaveLength(5);
    await journal.close();
  });
});
