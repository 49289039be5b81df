import { describe, expect, it } from '@jest/globals';
import { systemClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '@robustmq/wal/testing';
import fc from 'fast-check';
import type { Entry, HardState, LogPosition } from '../core/types.js';
import type { LogWrite } from '../driver/log-store.js';
import { decodeLogParts, encodeLogParts, type LogPart } from './log-frame.js';
import { RaftLogStore } from './raft-log-store.js';

const DIRECTORY = '/data/raft-log';

function open(disk: SimDisk): Promise<RaftLogStore> {
  return RaftLogStore.open({ directory: DIRECTORY, fileBytes: 4096 }, { disk, clock: systemClock });
}

function entry(index: number, term: number, bytes = 20): Entry {
  return { index, term, kind: 'command', payload: Buffer.alloc(bytes, `${index}/${term};`) };
}

function part(group: number, entries: readonly Entry[], more: Partial<LogWrite> = {}): LogWrite {
  return { group, reset: undefined, entries, hardState: undefined, ...more };
}

function written(store: RaftLogStore, parts: readonly LogWrite[]): Promise<void> {
  return new Promise((resolve, reject) => store.write(parts, (error) => (error ? reject(error) : resolve())));
}

interface ModelLog {
  readonly base: LogPosition;
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
}

const EMPTY: ModelLog = {
  base: { index: 0, term: 0 },
  entries: [],
  hardState: { term: 0, votedFor: undefined, commitIndex: 0 },
};

/** The rules of the seam once more, on plain arrays. */
function afterWrite(log: ModelLog, { reset, entries, hardState }: LogWrite): ModelLog {
  const base = reset ?? log.base;
  const before = reset ? [] : log.entries;
  const first = entries[0]?.index ?? Number.POSITIVE_INFINITY;
  return {
    base,
    entries: [...before.filter((one) => one.index < first), ...entries],
    hardState: hardState ?? log.hardState,
  };
}

/** A log that nothing was ever written to is no log. */
function text(logs: ReadonlyMap<number, ModelLog>): string {
  const known = [...logs].filter(([, log]) => JSON.stringify(log) !== JSON.stringify(EMPTY));
  const plain = known.map(([group, { base, hardState, entries }]) => [
    group,
    [base.index, base.term],
    [hardState.term, hardState.votedFor ?? 0, hardState.commitIndex],
    entries.map((one) => [one.index, one.term, one.kind, one.payload.toString()]),
  ]);
  return JSON.stringify(plain.sort());
}

function recovered(store: RaftLogStore): Map<number, ModelLog> {
  const logs = new Map<number, ModelLog>();
  for (const group of [1, 2, 3]) {
    const log = store.takeRecovered(group);
    if (log) logs.set(group, log);
  }
  return logs;
}

describe('log frames', () => {
  it('carry every part there and back, whatever the size of the payloads', () => {
    const position = fc.record({ index: fc.nat(), term: fc.nat() });
    const payloads = fc.array(fc.oneof(fc.nat(40), fc.constant(5000)), { maxLength: 6 });
    const partArbitrary = fc
      .tuple(
        fc.integer({ min: 1, max: 255 }),
        fc.nat(1000),
        payloads,
        fc.option(position, { nil: undefined }),
        fc.boolean(),
      )
      .map(
        ([group, first, sizes, reset, voted]): LogPart => ({
          group,
          reset,
          base: voted ? reset : undefined,
          entries: sizes.map((bytes, i) => entry(first + i, 3, bytes)),
          hardState: voted ? { term: 9, votedFor: group % 2 ? group : undefined, commitIndex: first } : undefined,
        }),
      );
    fc.assert(
      fc.property(fc.array(partArbitrary, { maxLength: 4 }), (parts) => {
        const bytes = Buffer.concat(encodeLogParts(parts));
        const back = decodeLogParts(bytes);
        expect(Buffer.concat(encodeLogParts(back)).equals(bytes)).toBe(true);
        expect(back.map((one) => one.entries.length)).toEqual(parts.map((one) => one.entries.length));
        for (let cut = 0; cut < Math.min(bytes.length, 200); cut += 7)
          expect(() => decodeLogParts(bytes.subarray(0, cut))).toThrow();
      }),
      { numRuns: 50 },
    );
  });
});

type Step =
  | {
      readonly do: 'append';
      readonly group: number;
      readonly count: number;
      readonly back: number;
      readonly bytes: number;
    }
  | { readonly do: 'vote'; readonly group: number }
  | { readonly do: 'reset'; readonly group: number; readonly ahead: number }
  | { readonly do: 'compact'; readonly group: number; readonly keep: number }
  | { readonly do: 'wait' };

const group = fc.integer({ min: 1, max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      group,
      count: fc.integer({ min: 1, max: 6 }),
      back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(4) }),
      bytes: fc.integer({ min: 0, max: 300 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('vote' as const), group }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const), group, ahead: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const), group, keep: fc.nat(4) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const) }) },
);

describe('RaftLogStore', () => {
  it('gives back, after any crash, what one prefix of the writes left, and at least everything durable', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(), async (steps, seed) => {
        const disk = new SimDisk(createPrng(seed));
        let store = await open(disk);
        const logs = new Map<number, ModelLog>();
        const states = [text(logs)];
        let durable = 0;
        let term = 1;
        for (const one of steps) {
          if (one.do === 'wait') {
            await written(store, [part(1, [])]);
            durable = states.length - 1;
            continue;
          }
          const log = logs.get(one.group) ?? EMPTY;
          const last = log.entries.at(-1)?.index ?? log.base.index;
          if (one.do === 'compact') {
            const at = log.entries[log.entries.length - 1 - one.keep];
            if (!at) continue;
            const through = { index: at.index, term: at.term };
            await store.compact(one.group, through);
            const entries = log.entries.filter((kept) => kept.index > at.index);
            logs.set(one.group, { ...log, base: through, entries });
            states.push(text(logs));
            durable = states.length - 1;
            continue;
          }
          term++;
          const back = one.do === 'append' ? Math.min(one.back, log.entries.length) : 0;
          const write: LogWrite =
            one.do === 'append'
              ? part(
                  one.group,
                  Array.from({ length: one.count }, (_, i) => entry(last - back + 1 + i, term, one.bytes)),
                )
              : one.do === 'reset'
                ? part(one.group, [], { reset: { index: last + one.ahead, term } })
                : part(one.group, [], {
                    hardState: { term, votedFor: term % 3 || undefined, commitIndex: log.base.index },
                  });
          store.write([write], () => {});
          logs.set(one.group, afterWrite(log, write));
          states.push(text(logs));
        }
        disk.crash();
        store = await open(disk);
        const found = text(recovered(store));
        expect(states.slice(durable)).toContain(found);
        await store.close();
        expect(text(recovered(await open(disk)))).toBe(found);
      }),
      { numRuns: 150 },
    );
  });

  it('does not grow for ever, whichever group is busy', async () => {
    const disk = new SimDisk(createPrng(7));
    const store = await open(disk);
    await written(store, [part(2, [entry(1, 1, 500)]), part(3, [entry(1, 1), entry(2, 1)])]);
    let files = 0;
    for (let round = 0; round < 30; round++) {
      const from = round * 20 + 1;
      const writes = Array.from({ length: 20 }, (_, i) => written(store, [part(1, [entry(from + i, 1, 200)])]));
      await Promise.all(writes);
      await store.compact(1, { index: from + 14, term: 1 });
      files = (await disk.list(DIRECTORY)).length;
    }
    expect(files).toBeLessThan(10);
    expect(store.bytesSinceCheckpoint).toBeLessThan(40_000);
    await store.close();
    const again = await open(disk);
    expect(again.takeRecovered(1)).toMatchObject({ base: { index: 595, term: 1 } });
    expect(again.takeRecovered(2)?.entries).toEqual([entry(1, 1, 500)]);
    expect(again.takeRecovered(3)?.entries).toHaveLength(2);
    expect(again.takeRecovered(3)).toBeUndefined();
  });

  it('tells every write of a failed disk, and refuses later ones', async () => {
    const disk = new SimDisk(createPrng(3));
    const store = await open(disk);
    await written(store, [part(1, [entry(1, 1)])]);
    disk.failNext('datasync', { code: 'EIO' });
    const outcomes = await Promise.allSettled([
      written(store, [part(1, [entry(2, 1)])]),
      written(store, [part(1, [entry(3, 1)])]),
    ]);
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'durable'))).toEqual([
      'FAILED',
      'FAILED',
    ]);
    expect(() => store.write([part(1, [entry(4, 1)])], () => {})).toThrow(expect.objectContaining({ code: 'FAILED' }));
  });

  it('waits for space on a full disk, loses nothing, and goes on', async () => {
    const disk = new SimDisk(createPrng(9));
    const store = await open(disk);
    await written(store, [part(1, [entry(1, 1)])]);
    disk.capacityBytes = disk.usedBytes;
    let durable = 0;
    const writes = Array.from({ length: 40 }, async (_, i) => {
      await written(store, [part(1, [entry(i + 2, 1, 500)])]);
      expect(durable++).toBe(i); // in order
    });
    while (!store.isFull) await new Promise(setImmediate);
    const late = written(store, [part(1, [entry(42, 1)])]);
    const before = durable;
    await new Promise(setImmediate);
    expect(durable).toBe(before);
    disk.capacityBytes = 100_000_000;
    await Promise.all([...writes, late]);
    expect(store.isFull).toBe(false);
    await store.close();
    expect((await open(disk)).takeRecovered(1)?.entries).toHaveLength(42);
  });

  it('says DAMAGED when a byte before the last write changed, instead of forgetting what follows', async () => {
    const disk = new SimDisk(createPrng(4));
    const store = await open(disk);
    for (let i = 1; i <= 5; i++) await written(store, [part(1, [entry(i, 1)])]);
    await store.close();
    for (const name of await disk.list(DIRECTORY)) {
      const path = `${DIRECTORY}/${name}`;
      const at = disk.contentOf(path)?.indexOf('2/1;') ?? -1;
      if (at >= 0) disk.flipBit(path, at, 3);
    }
    await expect(open(disk)).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});
