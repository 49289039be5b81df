import { describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { type Offset, type ShardId, STORAGE_LIMITS } from '../index.js';
import { codeOf, offset, record, type SuiteContext, texts } from './suite-context.js';

/** Append, read, tail: S1 to S4. */
export function appendSuite(context: SuiteContext): void {
  describe('append and read', () => {
    it('gives offsets from 0 on and returns what was appended', async () => {
      const shard = await context.shard();
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const first = await context.storage.append(shard, [
        { payload: all, key: 'a key ü', tags: ['red', 'two words', ''] },
        { payload: Buffer.alloc(0) },
      ]);
      expect(first).toEqual({ firstOffset: 0, lastOffset: 1 });
      expect(await context.storage.append(shard, [record('c')])).toEqual({ firstOffset: 2, lastOffset: 2 });
      const [a, b, c] = await context.readAll(shard);
      expect(a).toMatchObject({ offset: 0, key: 'a key ü', tags: ['red', 'two words', ''] });
      expect(a?.payload.equals(all)).toBe(true);
      expect(b).toMatchObject({ offset: 1, key: undefined, tags: [] });
      expect(b?.payload.length).toBe(0);
      expect(texts(c ? [c] : [])).toEqual(['c']);
    });

    it('keeps a record when the caller uses its buffer again', async () => {
      const shard = await context.shard();
      const payload = Buffer.from('before');
      await context.storage.append(shard, [{ payload }]);
      payload.write('after!');
      expect(texts(await context.readAll(shard))).toEqual(['before']);
    });

    it('stops at the number of records and of bytes asked for, and says where to go on', async () => {
      const shard = await context.shard();
      await context.append(shard, 'aaaa', 'bbbb', 'cccc', 'dddd');
      const read = (from: number, maxRecords: number, maxBytes: number) =>
        context.storage.read(shard, { from: offset(from), maxRecords, maxBytes });
      expect(await read(1, 2, 1000)).toMatchObject({ next: 3, end: 4 });
      expect(texts((await read(1, 2, 1000)).records)).toEqual(['bbbb', 'cccc']);
      expect(texts((await read(0, 10, 1)).records)).toEqual(['aaaa']);
      expect(texts((await read(0, 10, 4)).records)).toEqual(['aaaa']);
      expect(texts((await read(0, 10, 5)).records)).toEqual(['aaaa', 'bbbb']);
      expect((await read(0, 10, 5)).next).toBe(2);
      expect(await read(4, 10, 1000)).toEqual({ records: [], next: 4, end: 4 });
      expect(texts(await context.readAll(shard, { maxRecords: 1 }))).toEqual(['aaaa', 'bbbb', 'cccc', 'dddd']);
    });

    it('refuses offsets beyond the end, and reads that ask for nothing', async () => {
      const shard = await context.shard();
      await context.append(shard, 'a');
      const read = (from: number, maxRecords: number, maxBytes: number) =>
        codeOf(context.storage.read(shard, { from: from as Offset, maxRecords, maxBytes })); // some are none
      expect(await read(2, 1, 1)).toBe('OFFSET_OUT_OF_RANGE');
      for (const bad of [read(-1, 1, 1), read(0.5, 1, 1), read(0, 0, 1), read(0, 1, 0), read(Number.NaN, 1, 1)])
        expect(await bad).toBe('INVALID_ARGUMENT');
    });

    it('does not know shards nobody created', async () => {
      const unknown = 'unknown' as ShardId; // never created
      expect(await codeOf(context.storage.append(unknown, [record('a')]))).toBe('SHARD_NOT_FOUND');
      expect(await codeOf(context.storage.read(unknown, { from: offset(0), maxRecords: 1, maxBytes: 1 }))).toBe(
        'SHARD_NOT_FOUND',
      );
      expect(await codeOf(context.storage.describeShard(unknown))).toBe('SHARD_NOT_FOUND');
      expect(await codeOf(context.storage.trim(unknown, offset(0)))).toBe('SHARD_NOT_FOUND');
    });

    it('takes a large record and many records, and refuses more than the limits', async () => {
      const shard = await context.shard();
      const large = Buffer.alloc(5 * 1024 * 1024, 'large');
      await context.storage.append(shard, [{ payload: large }]);
      const [back] = await context.readAll(shard);
      expect(back?.payload.equals(large)).toBe(true);
      await context.storage.append(
        shard,
        Array.from({ length: 5000 }, (_, i) => record(String(i))),
      );
      const many = await context.readAll(shard, { from: offset(1), maxRecords: 10_000 });
      expect(texts(many)).toEqual(Array.from({ length: 5000 }, (_, i) => String(i)));

      const { batchRecordsMax, recordBytesMax, keyBytesMax, tagsMax } = STORAGE_LIMITS;
      const append = (...records: Parameters<typeof context.storage.append>[1][number][]) =>
        codeOf(context.storage.append(shard, records));
      expect(await append()).toBe('INVALID_ARGUMENT');
      expect(await append(...Array.from({ length: batchRecordsMax + 1 }, () => record('')))).toBe('RECORD_TOO_LARGE');
      expect(await append({ payload: Buffer.alloc(recordBytesMax + 1) })).toBe('RECORD_TOO_LARGE');
      expect(await append(record('', { key: 'k'.repeat(keyBytesMax + 1) }))).toBe('INVALID_ARGUMENT');
      expect(await append(record('', { tags: Array.from({ length: tagsMax + 1 }, String) }))).toBe('INVALID_ARGUMENT');
      expect((await context.storage.describeShard(shard)).end).toBe(5001);
    });
  });

  describe('concurrent appends', () => {
    it('keep batches whole and resolve in the order of offsets (S2, S4)', async () => {
      const shards = await Promise.all([0, 1, 2].map((i) => context.shard(`s${i}`)));
      const prng = createPrng('concurrent');
      const resolved = new Map<ShardId, number[]>(shards.map((shard) => [shard, []]));
      const appended = await Promise.all(
        Array.from({ length: 120 }, async (_, batch) => {
          const shard = prng.pick(shards);
          const size = prng.between(1, 7);
          const records = Array.from({ length: size }, (_r, i) => record(`${batch}/${i}`));
          const { firstOffset, lastOffset } = await context.storage.append(shard, records);
          resolved.get(shard)?.push(firstOffset);
          expect(lastOffset - firstOffset).toBe(size - 1);
          return { shard, firstOffset, records };
        }),
      );
      for (const shard of shards) {
        const offsets = resolved.get(shard) ?? [];
        expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
        const stored = await context.readAll(shard);
        expect(stored.map((found) => found.offset)).toEqual(stored.map((_found, i) => i));
        const mine = appended.filter((batch) => batch.shard === shard);
        expect(stored.length).toBe(mine.reduce((sum, { records }) => sum + records.length, 0));
        for (const { firstOffset, records } of mine) {
          const there = stored.slice(firstOffset, firstOffset + records.length);
          expect(texts(there)).toEqual(records.map(({ payload }) => payload.toString()));
        }
      }
    });

    it('shows readers nothing that is not durable yet, and times that never fall (S3)', async () => {
      const shard = await context.shard();
      let durable = 0;
      const listened: number[] = [];
      context.storage.onEnd(shard, (end) => listened.push(end));
      const appends = Promise.all(
        Array.from({ length: 40 }, async () => {
          const { lastOffset } = await context.storage.append(shard, [record('x'), record('y')]);
          durable = Math.max(durable, lastOffset + 1);
        }),
      );
      await appends;
      expect(listened).toEqual([...listened].sort((a, b) => a - b));
      expect(listened.at(-1)).toBe(80);
      const stored = await context.readAll(shard);
      expect(stored.length).toBe(durable);
      const times = stored.map(({ timestampMs }) => timestampMs);
      expect(times).toEqual([...times].sort((a, b) => a - b));
    });
  });

  describe('tail', () => {
    it('tells the new end when the records can be read, until it is told to stop', async () => {
      const shard = await context.shard();
      const other = await context.shard('other');
      const seen: Promise<string[]>[] = [];
      const stop = context.storage.onEnd(shard, (end) => {
        const read = context.storage.read(shard, { from: offset(end - 1), maxRecords: 9, maxBytes: 99 });
        seen.push(read.then(({ records }) => texts(records)));
      });
      await context.append(shard, 'a', 'b');
      await context.append(other, 'elsewhere');
      await context.append(shard, 'c');
      stop();
      stop();
      await context.append(shard, 'd');
      expect(await Promise.all(seen)).toEqual([['b'], ['c']]);
    });
  });
}
