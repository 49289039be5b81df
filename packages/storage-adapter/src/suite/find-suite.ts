import { describe, expect, it } from '@jest/globals';
import type { ShardConfig } from '../index.js';
import { codeOf, offset, record, type SuiteContext, texts } from './suite-context.js';

/** Finding records by time, key and tag, and shards that keep the newest record of a key. */
export function findSuite(context: SuiteContext): void {
  describe('by time', () => {
    it('finds the first record at or after a time', async () => {
      const shard = await context.shard();
      expect(await context.storage.offsetAtTime(shard, 0)).toBe(0);
      for (let i = 0; i < 20; i++) {
        await context.append(shard, `${i}a`, `${i}b`);
        context.clock.advance(i % 3 === 0 ? 0 : 10);
      }
      const stored = await context.readAll(shard);
      const times = stored.map(({ timestampMs }) => timestampMs);
      for (const time of new Set(times.flatMap((t) => [t - 1, t, t + 1]))) {
        const expected = stored.find(({ timestampMs }) => timestampMs >= time)?.offset ?? 40;
        expect(await context.storage.offsetAtTime(shard, time)).toBe(expected);
      }
      await context.storage.trim(shard, offset(7));
      expect(await context.storage.offsetAtTime(shard, 0)).toBe(7);
      await context.storage.trim(shard, offset(40));
      expect(await context.storage.offsetAtTime(shard, 0)).toBe(40);
    });

    if (context.options.clock === 'given') {
      it('takes the time from the clock it was given', async () => {
        const shard = await context.shard();
        const before = context.clock.wallTime();
        await context.append(shard, 'a');
        context.clock.advance(5000);
        await context.append(shard, 'b');
        expect((await context.readAll(shard)).map(({ timestampMs }) => timestampMs)).toEqual([before, before + 5000]);
        expect(await context.storage.offsetAtTime(shard, before + 1)).toBe(1);
      });
    }
  });

  describe('by key', () => {
    it('finds the newest record of a key, or says that it cannot', async () => {
      const shard = await context.shard();
      const { storage } = context;
      if (!storage.capabilities.readByKey) {
        expect(await codeOf(storage.readByKey(shard, { key: 'a' }))).toBe('NOT_SUPPORTED');
        return;
      }
      await storage.append(shard, [record('1', { key: 'a' }), record('2', { key: 'b' }), record('3', { key: 'a' })]);
      await storage.append(shard, [record('4', { key: '' }), record('5')]);
      const find = async (key: string) => (await storage.readByKey(shard, { key }))?.payload.toString();
      expect([await find('a'), await find('b'), await find(''), await find('c')]).toEqual(['3', '2', '4', undefined]);
      await storage.append(shard, [record('6', { key: 'b' })]);
      expect(await storage.readByKey(shard, { key: 'b' })).toMatchObject({ offset: 5, key: 'b' });
      await storage.trim(shard, offset(3));
      expect([await find('a'), await find('b'), await find('')]).toEqual([undefined, '6', '4']);
      await storage.append(shard, [record('7', { key: 'a' })]);
      expect(await find('a')).toBe('7');
    });
  });

  describe('by tag', () => {
    it('finds the records that carry a tag, page by page, or says that it cannot', async () => {
      const shard = await context.shard();
      const { storage } = context;
      const query = { tag: 'even', from: offset(0), maxRecords: 100, maxBytes: 1000 };
      if (!storage.capabilities.readByTag) {
        expect(await codeOf(storage.readByTag(shard, query))).toBe('NOT_SUPPORTED');
        return;
      }
      const tagsOf = (i: number) => [...(i % 2 === 0 ? ['even'] : []), ...(i % 3 === 0 ? ['three', 'th'] : [])];
      for (let i = 0; i < 200; i += 10) {
        await storage.append(
          shard,
          Array.from({ length: 10 }, (_, k) => record(String(i + k), { tags: tagsOf(i + k) })),
        );
      }
      const all = await storage.readByTag(shard, { ...query, tag: 'three', maxBytes: 10_000 });
      expect(texts(all.records)).toEqual(Array.from({ length: 67 }, (_, i) => String(i * 3)));
      expect(all).toMatchObject({ next: 200, end: 200 });
      const page = await storage.readByTag(shard, { ...query, from: offset(11), maxRecords: 3 });
      expect(texts(page.records)).toEqual(['12', '14', '16']);
      expect(page.next).toBeGreaterThan(16);
      expect(page.next).toBeLessThanOrEqual(18);
      const bytes = await storage.readByTag(shard, { ...query, maxBytes: 3 });
      expect(texts(bytes.records)).toEqual(['0', '2', '4']);
      expect(await storage.readByTag(shard, { ...query, tag: 'none' })).toMatchObject({ records: [], next: 200 });
      await storage.trim(shard, offset(195));
      expect(texts((await storage.readByTag(shard, { ...query, from: offset(195) })).records)).toEqual(['196', '198']);
      expect(await codeOf(storage.readByTag(shard, query))).toBe('OFFSET_OUT_OF_RANGE');
    });
  });

  describe('compaction', () => {
    const compact: ShardConfig = { cleanup: 'compact' };

    it('keeps the newest record of every key, and gaps are no end, or says that it cannot', async () => {
      const { storage } = context;
      if (!storage.capabilities.compaction) {
        expect(await codeOf(context.shard('compacted', compact))).toBe('NOT_SUPPORTED');
        return;
      }
      const shard = await context.shard('compacted', compact);
      await storage.append(shard, [record('a1', { key: 'a', tags: ['t'] }), record('no key')]);
      await storage.append(shard, [record('b1', { key: 'b' }), record('b2', { key: 'b' }), record('c1', { key: 'c' })]);
      await storage.append(shard, [record('a2', { key: 'a' }), record('c2', { key: 'c', tags: ['t'] })]);
      await context.eventually(async () => (await context.readAll(shard)).length === 4);
      for (const maxRecords of [1, 2, 100]) {
        const left = await context.readAll(shard, { maxRecords });
        expect(texts(left)).toEqual(['no key', 'b2', 'a2', 'c2']);
        expect(left.map((found) => found.offset)).toEqual([1, 3, 5, 6]);
      }
      expect(await storage.describeShard(shard)).toMatchObject({ end: 7 });
      expect(texts((await storage.read(shard, { from: offset(4), maxRecords: 9, maxBytes: 99 })).records)).toEqual([
        'a2',
        'c2',
      ]);
      if (storage.capabilities.readByTag) {
        const tagged = await storage.readByTag(shard, { tag: 't', from: offset(0), maxRecords: 9, maxBytes: 99 });
        expect(texts(tagged.records)).toEqual(['c2']);
      }
      expect(await storage.offsetAtTime(shard, 0)).toBe(1);
    });

    it('lets an empty payload delete its key: readable for a time, then gone', async () => {
      const { storage } = context;
      if (!storage.capabilities.compaction) return;
      const shard = await context.shard('compacted', { ...compact, tombstoneMs: 600_000 });
      await storage.append(shard, [record('a1', { key: 'a' }), record('b1', { key: 'b' }), record('c1', { key: 'c' })]);
      await storage.append(shard, [record('', { key: 'a', tags: ['t'] }), record('', { key: 'b' }), record('')]);
      await storage.append(shard, [record('b2', { key: 'b' })]);
      const keys = async () => (await context.readAll(shard)).map(({ key, payload }) => `${key}=${payload}`);
      await context.eventually(async () => (await keys()).length === 4);
      expect(await keys()).toEqual(['c=c1', 'a=', 'undefined=', 'b=b2']);
      if (storage.capabilities.readByKey) {
        expect(await storage.readByKey(shard, { key: 'a' })).toBeUndefined();
        expect(await storage.readByKey(shard, { key: 'b' })).toMatchObject({ offset: 6 });
      }
      if (context.options.clock !== 'given') return;
      if (context.options.persistent) await context.reopen();
      context.clock.advance(700_000);
      await context.eventually(async () => (await keys()).length === 3);
      expect(await keys()).toEqual(['c=c1', 'undefined=', 'b=b2']);
      if (storage.capabilities.readByTag) {
        const query = { tag: 't', from: offset(0), maxRecords: 9, maxBytes: 99 };
        expect((await context.storage.readByTag(shard, query)).records).toEqual([]);
      }
      await context.storage.append(shard, [record('a3', { key: 'a' })]);
      expect(await keys()).toEqual(['c=c1', 'undefined=', 'b=b2', 'a=a3']);
    });

    it('keeps one record per key over many rounds', async () => {
      const { storage } = context;
      if (!storage.capabilities.compaction) return;
      const shard = await context.shard('compacted', compact);
      for (let round = 0; round < 30; round++) {
        await Promise.all(
          Array.from({ length: 10 }, (_, key) =>
            storage.append(shard, [record(`${key}/${round}`, { key: String(key) })]),
          ),
        );
      }
      await context.eventually(async () => (await context.readAll(shard)).length === 10);
      if (context.options.persistent) await context.reopen();
      expect(texts(await context.readAll(shard)).sort()).toEqual(Array.from({ length: 10 }, (_, key) => `${key}/29`));
      expect((await context.storage.describeShard(shard)).end).toBe(300);
    });
  });
}
