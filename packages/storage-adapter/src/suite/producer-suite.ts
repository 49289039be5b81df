import { describe, expect, it } from '@jest/globals';
import type { ShardStorage } from '../shard-storage.js';
import { codeOf, record, type SuiteContext, texts } from './suite-context.js';

const WRITERS = 16;
const writers = Array.from({ length: WRITERS }, (_, writer) => writer);

/** Appends of a producer count once, however often they are repeated. */
export function producerSuite(context: SuiteContext): void {
  describe('producers', () => {
    const producer = (epoch: number, sequence: number, id = 'p') => ({ producer: { id, epoch, sequence } });
    const unlessSupported = () => !context.storage.capabilities.idempotentAppend;

    it('get the same offsets for a repeated batch, which is stored once', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      const { storage } = context;
      const first = await storage.append(shard, [record('a'), record('b')], producer(1, 0));
      const second = await storage.append(shard, [record('c')], producer(1, 2));
      await context.append(shard, 'somebody else');
      expect(await storage.append(shard, [record('a'), record('b')], producer(1, 0))).toEqual(first);
      expect(await storage.append(shard, [record('c')], producer(1, 2))).toEqual(second);
      expect(await storage.append(shard, [record('d')], producer(1, 3))).toEqual({ firstOffset: 4, lastOffset: 4 });
      expect(texts(await context.readAll(shard))).toEqual(['a', 'b', 'c', 'somebody else', 'd']);
    });

    it('may repeat a batch while the first try is under way', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      const tries = await Promise.all(
        Array.from({ length: 8 }, () => context.storage.append(shard, [record('once')], producer(1, 0))),
      );
      expect(new Set(tries.map(({ firstOffset }) => firstOffset))).toEqual(new Set([0]));
      expect(texts(await context.readAll(shard))).toEqual(['once']);
    });

    it('may have five batches to repeat', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      for (let i = 0; i < 9; i++) await context.storage.append(shard, [record(String(i))], producer(1, i));
      for (let i = 4; i < 9; i++) {
        const again = await context.storage.append(shard, [record(String(i))], producer(1, i));
        expect(again).toEqual({ firstOffset: i, lastOffset: i });
      }
      expect((await context.readAll(shard)).length).toBe(9);
    });

    it('are refused when they skip a sequence, or come with an epoch that was replaced', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      const append = (epoch: number, sequence: number) =>
        codeOf(context.storage.append(shard, [record(`${epoch}/${sequence}`)], producer(epoch, sequence)));
      expect(await append(1, 0)).toBe('resolved');
      expect(await append(1, 2)).toBe('SEQUENCE_GAP');
      expect(await append(1, 1)).toBe('resolved');
      expect(await append(2, 0)).toBe('resolved'); // a new epoch starts anew
      expect(await append(1, 2)).toBe('PRODUCER_FENCED');
      expect(await append(1, 0)).toBe('PRODUCER_FENCED');
      expect(await append(2, 1)).toBe('resolved');
      expect(texts(await context.readAll(shard))).toEqual(['1/0', '1/1', '2/0', '2/1']);
    });

    it('race for a shard, 16 at a time: one wins every round, and the others cannot write behind it', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      const storages = await context.openMany(WRITERS);
      const expected: string[] = [];
      const rounds = context.options.raceRounds ?? 200;
      for (let round = 0; round < rounds; round++) {
        const race = async (writer: number, sequence: number, text: string) => {
          const storage = storages[writer % storages.length] as ShardStorage; // at least one
          const options = producer(1 + round * WRITERS + writer, sequence);
          return await codeOf(storage.append(shard, [record(text)], options));
        };
        const before = (await context.storage.describeShard(shard)).end;
        const claims = await Promise.all(writers.map((writer) => race(writer, 0, `${round} claims`)));
        expect(claims.at(-1)).toBe('resolved'); // nobody has a higher epoch
        for (const claim of claims) expect(['resolved', 'PRODUCER_FENCED']).toContain(claim);
        const writes = await Promise.all(writers.map((writer) => race(writer, 1, `${round} by ${writer}`)));
        expect(writes.filter((code) => code === 'resolved').length).toBe(1);
        expect(writes.filter((code) => code === 'PRODUCER_FENCED').length).toBe(WRITERS - 1);
        const claimed = claims.filter((code) => code === 'resolved').map(() => `${round} claims`);
        expected.push(...claimed, `${round} by ${WRITERS - 1}`);
        expect((await context.storage.describeShard(shard)).end).toBe(before + claimed.length + 1);
      }
      expect(texts(await context.readAll(shard))).toEqual(expected);
    });

    it('race with the same batch, 16 at a time: it is stored once, and all are told where', async () => {
      if (unlessSupported()) return;
      const shard = await context.shard();
      const storages = await context.openMany(WRITERS);
      for (let sequence = 0; sequence < 20; sequence++) {
        const results = await Promise.all(
          writers.map((writer) => {
            const storage = storages[writer % storages.length] as ShardStorage; // at least one
            return storage.append(shard, [record(`${sequence} by ${writer}`)], producer(1, sequence));
          }),
        );
        expect(new Set(results.map(({ firstOffset }) => firstOffset))).toEqual(new Set([sequence]));
      }
      expect((await context.readAll(shard)).length).toBe(20);
    });

    it('do not know of each other, nor of other shards', async () => {
      if (unlessSupported()) return;
      const [one, two] = [await context.shard('one'), await context.shard('two')];
      const { storage } = context;
      await storage.append(one, [record('p')], producer(5, 0));
      expect(await codeOf(storage.append(one, [record('q')], producer(1, 0, 'q')))).toBe('resolved');
      expect(await codeOf(storage.append(two, [record('p')], producer(1, 0)))).toBe('resolved');
      expect(texts(await context.readAll(one))).toEqual(['p', 'q']);
    });
  });
}
