import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import type { ShardConfig } from '../index.js';
import { codeOf, offset, record, type SuiteContext, texts } from './suite-context.js';

/** Shards, trimming, group offsets, retention, closing, and opening again: S1, S5. */
export function lifecycleSuite(context: SuiteContext): void {
  describe('shards', () => {
    it('are created once, described, listed by prefix and deleted', async () => {
      const config: ShardConfig = { cleanup: 'delete', retentionMs: 1000, retentionBytes: 5000 };
      const shard = await context.shard('a/one', config);
      expect(await context.shard('a/one', { ...config })).toBe(shard);
      for (const cleanup of ['keep', 'compact'] as const)
        expect(['SHARD_EXISTS', 'NOT_SUPPORTED']).toContain(await codeOf(context.shard('a/one', { cleanup })));
      for (const bad of [{ retentionMs: -1 }, { retentionBytes: 0.5 }, { tombstoneMs: Number.NaN }])
        expect(await codeOf(context.shard('bad', { cleanup: 'delete', ...bad }))).toBe('INVALID_ARGUMENT');
      expect(await context.storage.describeShard(shard)).toEqual({ shard, config, logStart: 0, end: 0 });
      await context.shard('b');
      await context.shard('a/three');
      expect(await context.storage.listShards()).toEqual(['a/one', 'a/three', 'b']);
      expect(await context.storage.listShards('a/')).toEqual(['a/one', 'a/three']);
      expect(await context.storage.listShards('a/x')).toEqual([]);
      await context.storage.deleteShard(shard);
      expect(await context.storage.listShards()).toEqual(['a/three', 'b']);
      expect(await codeOf(context.storage.deleteShard(shard))).toBe('SHARD_NOT_FOUND');
      expect(await codeOf(context.storage.append(shard, [record('x')]))).toBe('SHARD_NOT_FOUND');
    });

    it('take over another retention, and keep it', async () => {
      const before: ShardConfig = { cleanup: 'delete', retentionMs: 1_000_000 };
      const after: ShardConfig = { cleanup: 'delete', retentionBytes: 5_000_000 };
      const shard = await context.shard('changed', before);
      await context.append(shard, 'a');
      expect(await context.shard('changed', after)).toBe(shard);
      expect(await context.storage.describeShard(shard)).toEqual({ shard, config: after, logStart: 0, end: 1 });
      if (context.options.persistent) await context.reopen();
      expect(await context.storage.describeShard(shard)).toEqual({ shard, config: after, logStart: 0, end: 1 });
      expect(texts(await context.readAll(shard))).toEqual(['a']);
    });

    it('begin empty when they are created again', async () => {
      const shard = await context.shard();
      await context.storage.append(shard, [record('old', { key: 'k', tags: ['t'] })], {
        producer: { id: 'p', epoch: 5, sequence: 9 },
      });
      await context.storage.deleteShard(shard);
      await context.shard();
      expect(await context.storage.describeShard(shard)).toMatchObject({ logStart: 0, end: 0 });
      const again = await context.storage.append(shard, [record('new', { tags: ['t'] })]);
      expect(again).toEqual({ firstOffset: 0, lastOffset: 0 });
      expect(texts(await context.readAll(shard))).toEqual(['new']);
      if (context.storage.capabilities.readByKey)
        expect(await context.storage.readByKey(shard, { key: 'k' })).toBeUndefined();
      if (context.storage.capabilities.idempotentAppend) {
        const producer = { id: 'p', epoch: 0, sequence: 0 };
        expect(await context.storage.append(shard, [record('first')], { producer })).toMatchObject({ firstOffset: 1 });
      }
    });

    it('refuse names that are none', async () => {
      for (const name of ['', '/a', 'a/', 'a b', 'ü', 'a\n', 'x'.repeat(256)])
        expect(await codeOf(context.shard(name))).toBe('INVALID_ARGUMENT');
      expect(await codeOf(context.shard('x'.repeat(255)))).toBe('resolved');
    });
  });

  describe('trim', () => {
    it('moves logStart, never back, and offsets go on', async () => {
      const shard = await context.shard();
      await context.append(shard, 'a', 'b', 'c');
      await context.storage.trim(shard, offset(2));
      expect(await context.storage.describeShard(shard)).toMatchObject({ logStart: 2, end: 3 });
      expect(texts(await context.readAll(shard))).toEqual(['c']);
      expect(await codeOf(context.storage.read(shard, { from: offset(1), maxRecords: 1, maxBytes: 1 }))).toBe(
        'OFFSET_OUT_OF_RANGE',
      );
      await context.storage.trim(shard, offset(1));
      expect(await context.storage.describeShard(shard)).toMatchObject({ logStart: 2 }); // S5
      await context.storage.trim(shard, offset(3));
      expect(await context.readAll(shard)).toEqual([]);
      expect(await codeOf(context.storage.trim(shard, offset(4)))).toBe('OFFSET_OUT_OF_RANGE');
      expect(await context.storage.append(shard, [record('d')])).toEqual({ firstOffset: 3, lastOffset: 3 });
    });
  });

  describe('group offsets', () => {
    it('are what was committed last, per group and shard', async () => {
      const [one, two] = [await context.shard('one'), await context.shard('two')];
      const { storage } = context;
      expect(await storage.committedOffsets('nobody')).toEqual([]);
      await storage.commitOffsets('g', [
        { shard: one, offset: offset(5) },
        { shard: two, offset: offset(7) },
      ]);
      await storage.commitOffsets('g/h', [{ shard: one, offset: offset(1) }]);
      await storage.commitOffsets('g', [{ shard: one, offset: offset(3) }]);
      await storage.commitOffsets('g', []);
      const sorted = [...(await storage.committedOffsets('g'))].sort((a, b) => a.shard.localeCompare(b.shard));
      expect(sorted).toEqual([
        { shard: one, offset: 3 },
        { shard: two, offset: 7 },
      ]);
      await storage.deleteGroup('g');
      await storage.deleteGroup('g');
      expect(await storage.committedOffsets('g')).toEqual([]);
      expect(await storage.committedOffsets('g/h')).toEqual([{ shard: one, offset: 1 }]);
    });
  });

  describe('close', () => {
    it('finishes what was accepted and refuses what comes after', async () => {
      const shard = await context.shard();
      const accepted = Promise.all(['a', 'b', 'c'].map((text) => context.append(shard, text)));
      const closing = context.storage.close();
      const { storage } = context;
      expect(await codeOf(storage.append(shard, [record('d')]))).toBe('CLOSED');
      await Promise.all([closing, storage.close(), accepted]);
      expect(storage.state).toBe('closed');
      expect(await codeOf(storage.listShards())).toBe('CLOSED');
      expect(() => storage.onEnd(shard, () => {})).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    });
  });

  const persistent = context.options.persistent ? describe : describe.skip;
  persistent('opening again', () => {
    it('finds records, shards, groups and producers as they were (S1)', async () => {
      const config: ShardConfig = { cleanup: 'delete', retentionBytes: 1_000_000 };
      const shard = await context.shard('kept', config);
      const empty = await context.shard('trimmed');
      const gone = await context.shard('gone');
      await context.storage.append(shard, [record('a', { key: 'k', tags: ['t'] }), record('b')]);
      await context.append(empty, 'x', 'y');
      await context.storage.trim(empty, offset(2));
      await context.storage.deleteShard(gone);
      await context.storage.commitOffsets('g', [{ shard, offset: offset(1) }]);
      const producer = { id: 'p', epoch: 3, sequence: 0 };
      if (context.storage.capabilities.idempotentAppend)
        await context.storage.append(shard, [record('c')], { producer });
      else await context.append(shard, 'c');
      const before = await context.readAll(shard);

      const storage = await context.reopen();
      expect(await storage.listShards()).toEqual(['kept', 'trimmed']);
      expect(await storage.describeShard(shard)).toEqual({ shard, config, logStart: 0, end: 3 });
      expect(await storage.describeShard(empty)).toMatchObject({ logStart: 2, end: 2 });
      expect(await context.readAll(shard)).toEqual(before);
      expect(await storage.committedOffsets('g')).toEqual([{ shard, offset: 1 }]);
      if (storage.capabilities.readByKey) expect(await storage.readByKey(shard, { key: 'k' })).toEqual(before[0]);
      if (storage.capabilities.idempotentAppend) {
        expect(await storage.append(shard, [record('c')], { producer })).toEqual({ firstOffset: 2, lastOffset: 2 });
        const older = { ...producer, epoch: 2 };
        expect(await codeOf(storage.append(shard, [record('z')], { producer: older }))).toBe('PRODUCER_FENCED');
      }
      expect(await storage.append(empty, [record('z')])).toEqual({ firstOffset: 2, lastOffset: 2 });
      expect(await storage.append(shard, [record('d')])).toEqual({ firstOffset: 3, lastOffset: 3 });
    });

    it('goes on after several lives', async () => {
      const shard = await context.shard();
      for (let life = 0; life < 4; life++) {
        await context.append(shard, `${life}a`, `${life}b`);
        await context.reopen();
      }
      expect(texts(await context.readAll(shard))).toEqual(['0a', '0b', '1a', '1b', '2a', '2b', '3a', '3b']);
    });
  });

  const persistentAndTimed = context.options.persistent && context.options.clock === 'given' ? it : it.skip;
  persistentAndTimed('keeps times from falling when the clock was set back meanwhile', async () => {
    const shard = await context.shard();
    context.clock.advance(60_000);
    await context.append(shard, 'late');
    const earlier = new ManualClock({ wallTimeMs: context.clock.wallTime() - 30_000 });
    await context.reopen(earlier);
    await context.append(shard, 'earlier by the clock');
    const [first, second] = await context.readAll(shard);
    expect(second?.timestampMs).toBe(first?.timestampMs);
    expect(await context.storage.offsetAtTime(shard, first?.timestampMs ?? 0)).toBe(0);
  });

  const timed = context.options.clock === 'given' ? describe : describe.skip;
  timed('retention', () => {
    it('drops the oldest records by age', async () => {
      const shard = await context.shard('aged', { cleanup: 'delete', retentionMs: 600_000 });
      const kept = await context.shard('kept', { cleanup: 'keep' });
      for (const target of [shard, kept]) await context.append(target, 'old', 'older than its neighbour');
      context.clock.advance(700_000);
      for (const target of [shard, kept]) await context.append(target, 'young');
      await context.eventually(async () => (await context.storage.describeShard(shard)).logStart > 0);
      expect(texts(await context.readAll(shard))).toEqual(['young']);
      expect((await context.readAll(kept)).length).toBe(3);
    });

    it('applies a retention that was changed to what is there', async () => {
      const shard = await context.shard('changed', { cleanup: 'delete' });
      await context.append(shard, 'old', 'older than its neighbour');
      context.clock.advance(700_000);
      await context.append(shard, 'young');
      await context.shard('changed', { cleanup: 'delete', retentionMs: 600_000 });
      await context.eventually(async () => (await context.storage.describeShard(shard)).logStart === 2);
      expect(texts(await context.readAll(shard))).toEqual(['young']);
    });

    it('drops the oldest records by size', async () => {
      const shard = await context.shard('sized', { cleanup: 'delete', retentionBytes: 1000 });
      for (let i = 0; i < 30; i++) await context.append(shard, `${i}`.padEnd(100, '.'));
      await context.eventually(async () => (await context.readAll(shard)).length <= 10);
      const left = texts(await context.readAll(shard)).map((text) => Number.parseInt(text, 10));
      expect(left.at(-1)).toBe(29);
      expect(left).toEqual(left.map((_, i) => 30 - left.length + i));
      expect(left.length).toBeGreaterThanOrEqual(1);
      expect((await context.storage.describeShard(shard)).logStart).toBe(30 - left.length);
    });
  });
}
