import { describe, expect, it } from '@jest/globals';
import type { KeyValue, WatchBatch } from '../client/meta-client.js';
import { History, type RegisterHistory, recordOperation } from './history.js';
import { checkLinearizability } from './linearizability.js';
import { createMemoryMeta } from './memory-meta.js';
import { type RegisterInput, type RegisterOutput, registerModel } from './register-model.js';
import { judgeWatches, type ObservedWatch, sightingsOf } from './watch-validators.js';
import { acknowledgedPuts, judgeWrites } from './write-oracle.js';

const kv = (key: string, value: string, modRevision: number, version = 1): KeyValue => ({
  key,
  value: Buffer.from(value),
  createRevision: modRevision - version + 1,
  modRevision,
  version,
  lease: undefined,
});

describe('what may be true of writes', () => {
  const put = (history: RegisterHistory, value: string, revision: number | 'failed' | 'unknown') => {
    const end = history.begin('c', 'k', { op: 'put', value });
    if (typeof revision === 'number') end({ end: 'returned', output: { op: 'put', revision } });
    else end({ end: revision });
  };
  const judge = (
    tell: (history: RegisterHistory) => void,
    { atTheEnd = [], sightings = [] }: Partial<Parameters<typeof judgeWrites>[0]>,
  ) => {
    const history = new History<RegisterInput, RegisterOutput>();
    tell(history);
    return judgeWrites({ records: history.records, atTheEnd, sightings }).map((fault) => fault.slice(0, 2));
  };
  const seen = (value: string, modRevision: number) => [{ key: 'k', value, modRevision }];

  it('finds nothing where nothing is', () => {
    const tell = (history: RegisterHistory) => {
      put(history, 'a', 1);
      put(history, 'b', 'unknown');
      put(history, 'c', 'failed');
    };
    expect(judge(tell, { atTheEnd: [kv('k', 'b', 2)], sightings: seen('a', 1) })).toEqual([]);
    expect(judge(tell, { atTheEnd: [kv('k', 'a', 1)] })).toEqual([]);
  });

  it('finds phantoms (W1)', () => {
    expect(judge((history) => put(history, 'a', 1), { atTheEnd: [kv('k', 'z', 2)] })).toEqual(['W1']);
    expect(judge((history) => put(history, 'a', 'failed'), { sightings: seen('a', 1) })).toEqual(['W1']);
    const early = (history: RegisterHistory) => {
      const output = { op: 'get', revision: 1, seen: { value: 'a', modRevision: 1, version: 1 } } as const;
      history.begin('d', 'k', { op: 'get' })({ end: 'returned', output });
      put(history, 'a', 'unknown');
    };
    expect(judge(early, {})).toEqual(['W1']);
  });

  it('finds what was applied twice (W2)', () => {
    const twice = [...seen('a', 4), ...seen('a', 5)];
    expect(judge((history) => put(history, 'a', 'unknown'), { sightings: twice })).toEqual(['W2']);
    expect(judge((history) => put(history, 'a', 4), { atTheEnd: [kv('k', 'a', 5)] })).toEqual(['W2']);
  });

  it('finds what was lost (W3)', () => {
    expect(judge((history) => put(history, 'a', 4), {})).toEqual(['W3']);
    const two = (history: RegisterHistory) => {
      put(history, 'a', 4);
      put(history, 'b', 5);
    };
    expect(judge(two, { atTheEnd: [kv('k', 'a', 4)] })).toEqual(['W3']);
    const deleted = (history: RegisterHistory) => {
      put(history, 'a', 4);
      history.begin('c', 'k', { op: 'delete' })({ end: 'unknown' });
    };
    expect(judge(deleted, {})).toEqual([]);
  });

  it('finds revisions that go back, and ones told twice (W4, W5)', () => {
    const back = (history: RegisterHistory) => {
      put(history, 'a', 4);
      put(history, 'b', 3);
    };
    expect(judge(back, { atTheEnd: [kv('k', 'a', 4)] })).toEqual(['W4']);
    const same = (history: RegisterHistory) => {
      const first = history.begin('c', 'k', { op: 'put', value: 'a' });
      const second = history.begin('d', 'l', { op: 'put', value: 'b' });
      first({ end: 'returned', output: { op: 'put', revision: 4 } });
      second({ end: 'returned', output: { op: 'put', revision: 4 } });
    };
    expect(judge(same, { atTheEnd: [kv('k', 'a', 4), kv('l', 'b', 4)] })).toEqual(['W5']);
  });
});

describe('what may be true of watches', () => {
  const batch = (...events: readonly (readonly [key: string, revision: number])[]): WatchBatch => ({
    revision: events.at(-1)?.[1] ?? 0,
    events: events.map(([key, revision]) => ({ type: 'put', kv: kv(key, `v${revision}`, revision) })),
  });
  const watch = (batches: readonly WatchBatch[], more: Partial<ObservedWatch> = {}): ObservedWatch => ({
    name: 'w',
    fromRevision: 1,
    selects: () => true,
    batches,
    ...more,
  });
  const faults = (...watches: readonly ObservedWatch[]) => judgeWatches(watches).map((fault) => fault.slice(0, 2));
  const all = [batch(['a', 1]), batch(['a', 2], ['b', 2]), batch(['c', 4])];

  it('finds nothing where nothing is', () => {
    expect(faults(watch(all), watch(all.slice(1), { fromRevision: 2 }), watch(all.slice(0, 1)))).toEqual([]);
    expect(faults(watch(all), watch([batch(['b', 2])], { selects: (key) => key === 'b' }))).toEqual([]);
  });

  it('finds what is out of order, repeated, split, missing, or from before the beginning', () => {
    expect(faults(watch([batch(['a', 2]), batch(['b', 1])]))).toEqual(['V1']);
    expect(faults(watch([batch(['a', 1]), batch(['a', 1])]))).toContain('V2');
    expect(faults(watch([batch(['a', 2]), batch(['b', 2])]))).toEqual(['V3']);
    expect(faults(watch(all), watch([all[0], all[2]] as WatchBatch[]))).toEqual(['V4', 'V4']);
    expect(faults(watch(all), watch(all.slice(1)))).toEqual(['V4']);
    expect(faults(watch(all), watch(all.slice(0, 2), { completeTo: 4 }))).toEqual(['V4']);
    expect(faults(watch(all, { fromRevision: 2 }))).toEqual(['V5']);
    expect(faults(watch([{ ...batch(['a', 1]), revision: 7 }]))).toEqual(['V6']);
  });

  it('misses what was acknowledged to its writer', () => {
    const acknowledged = [{ key: 'x', value: 'v', modRevision: 3 }];
    expect(judgeWatches([watch(all)], acknowledged)).toEqual(['V4: w: x@3 is missing']);
  });
});

it('judges what really happened on a store in memory', async () => {
  const meta = createMemoryMeta();
  const history: RegisterHistory = new History();
  const watching = meta.watch({ prefix: '' }, { fromRevision: 1 });
  const inputs: readonly RegisterInput[] = [
    { op: 'put', value: 'a' },
    { op: 'get' },
    { op: 'cas', expected: 'a', value: 'b' },
    { op: 'cas', expected: 'a', value: 'c' },
    { op: 'delete' },
    { op: 'cas', expected: undefined, value: 'd' },
    { op: 'get' },
  ];
  for (const input of inputs) {
    await recordOperation(history, { name: 'c', client: meta }, { key: 'k', input });
  }
  meta.setReachability('unreachable');
  const refused = await recordOperation(history, { name: 'c', client: meta }, { key: 'k', input: { op: 'get' } });
  meta.setReachability('reachable');
  const batches: WatchBatch[] = [];
  for await (const batch of watching) {
    batches.push(batch);
    if (batch.revision === meta.revision) break;
  }
  const { kvs } = await meta.range({ prefix: '' });
  await meta.close();

  expect(refused).toEqual({ end: 'failed' });
  expect(history.count('returned')).toBe(inputs.length);
  expect(checkLinearizability(registerModel, history.operations)).toMatchObject({ verdict: 'linearizable' });
  expect(judgeWrites({ records: history.records, atTheEnd: kvs, sightings: sightingsOf(batches) })).toEqual([]);
  const watch = { name: 'w', fromRevision: 1, selects: () => true, batches, completeTo: meta.revision };
  expect(judgeWatches([watch], acknowledgedPuts(history.records))).toEqual([]);
});
