import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { Level } from 'level';
import { parseOffset } from '../shard-storage.js';
import { codeOf, record, texts } from '../suite/suite-context.js';
import { LevelShardStorage } from './level-shard-storage.js';

/** What the next calls to LevelDB meet; taken from the front. */
let faults: { call: 'batch' | 'open' | 'clear'; message: string; written?: 'whole'; skip?: number }[] = [];
/** Awaited by each batch after LevelDB has taken it. */
let hold: Promise<void> | undefined;

function fault(call: 'batch' | 'open' | 'clear') {
  const at = faults.findIndex((one) => one.call === call);
  const found = faults[at];
  if (found?.skip) {
    found.skip--;
    return undefined;
  }
  return at < 0 ? undefined : faults.splice(at, 1)[0];
}

interface LooseLevel {
  batch(...args: unknown[]): Promise<void>;
  open(...args: unknown[]): Promise<void>;
  clear(...args: unknown[]): Promise<void>;
}

// The real class with fewer types: its overloads cannot be overridden one by one.
const LooseLevel = Level as unknown as new (...args: unknown[]) => LooseLevel;

/** LevelDB that fails when told to. */
class FailingLevel extends LooseLevel {
  override async batch(...args: unknown[]): Promise<void> {
    const met = fault('batch');
    if (!met || met.written === 'whole') await super.batch(...args);
    await hold;
    if (met) throw levelError(met.message);
  }

  override async open(...args: unknown[]): Promise<void> {
    const met = fault('open');
    if (met) throw levelError(met.message);
    await super.open(...args);
  }

  override async clear(...args: unknown[]): Promise<void> {
    const met = fault('clear');
    if (met) throw levelError(met.message);
    await super.clear(...args);
  }
}

function levelError(message: string): Error {
  return Object.assign(new Error(message), { code: 'LEVEL_IO_ERROR' });
}

const FULL = 'IO error: 000005.log: No space left on device';
let directory: string;
let clock: ManualClock;
let storage: LevelShardStorage;

const open = async () => {
  // The real class, all its types back.
  storage = await LevelShardStorage.open({ directory }, { clock, level: FailingLevel as unknown as typeof Level });
};

/** The kinds of all keys in the database, in order. */
async function keysLeft(): Promise<string> {
  await storage.close();
  const level = new Level<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  const keys = await level.keys().all();
  await level.close();
  await open();
  return keys.map((key) => key.toString('latin1', 0, 1)).join('');
}

/** Lets time pass and looks at the keys until they are these: sweeping goes on in the background, over lives. */
async function expectKeysInTime(expected: string): Promise<void> {
  let found = '';
  for (let round = 0; round < 50 && found !== expected; round++) {
    for (let i = 0; i < 40; i++) await clock.advanceAndSettle(1000);
    found = await keysLeft();
  }
  expect(found).toBe(expected);
}

const everything = { from: parseOffset(0), maxRecords: 100, maxBytes: 10_000 };

beforeEach(async () => {
  faults = [];
  hold = undefined;
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'level-'));
  clock = new ManualClock();
  await open();
});
afterEach(async () => {
  await storage.close();
  await fs.rm(directory, { recursive: true, force: true });
});

describe('LevelDB that fails', () => {
  it('costs the appends of one batch when nothing of it was written', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    await storage.append(shard, [record('a')]);
    faults.push({ call: 'batch', message: FULL });
    const producer = { id: 'p', epoch: 1, sequence: 0 };
    const lost = [
      codeOf(storage.append(shard, [record('b')], { producer })),
      codeOf(storage.append(shard, [record('c')])),
    ];
    expect(await Promise.all(lost)).toEqual(['DISK_FULL', 'DISK_FULL']);
    expect(await storage.append(shard, [record('b')], { producer })).toEqual({ firstOffset: 1, lastOffset: 1 });
    await storage.close();
    await open();
    expect(texts((await storage.read(shard, everything)).records)).toEqual(['a', 'b']);
  });

  it('costs nothing when the batch is found to be there', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    faults.push({ call: 'batch', message: 'IO error: sync failed', written: 'whole' });
    expect(await storage.append(shard, [record('a')])).toEqual({ firstOffset: 0, lastOffset: 0 });
    expect(await storage.append(shard, [record('b')])).toEqual({ firstOffset: 1, lastOffset: 1 });
    expect(texts((await storage.read(shard, everything)).records)).toEqual(['a', 'b']);
  });

  it('is told from a full disk', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    faults.push({ call: 'batch', message: 'IO error: input/output error' });
    expect(await codeOf(storage.append(shard, [record('a')]))).toBe('UNAVAILABLE');
    faults.push({ call: 'batch', message: FULL });
    expect(await codeOf(storage.commitOffsets('g', [{ shard, offset: parseOffset(1) }]))).toBe('DISK_FULL');
    expect(await storage.committedOffsets('g')).toEqual([]);
  });

  it('refuses appends while there is no space to open it again, then goes on without a gap', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    await storage.append(shard, [record('a')]);
    faults.push({ call: 'batch', message: FULL, written: 'whole' }, { call: 'open', message: FULL });
    expect(await codeOf(storage.append(shard, [record('b')]))).toBe('DISK_FULL');
    expect(await codeOf(storage.append(shard, [record('c')]))).toBe('DISK_FULL');
    clock.advance(1000);
    // What was refused turns out to be there: its offset is not given out twice.
    expect(await storage.append(shard, [record('d')])).toEqual({ firstOffset: 2, lastOffset: 2 });
    expect(texts((await storage.read(shard, everything)).records)).toEqual(['a', 'b', 'd']);
  });

  it('takes nothing more when it cannot be opened again, or is damaged', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    faults.push({ call: 'batch', message: FULL }, { call: 'open', message: 'IO error: gone' });
    expect(await codeOf(storage.append(shard, [record('a')]))).toBe('FAILED');
    clock.advance(10_000);
    expect(await codeOf(storage.append(shard, [record('a')]))).toBe('FAILED');
    await storage.close();
    await open();
    faults.push({ call: 'batch', message: 'Corruption: bad block' });
    expect(await codeOf(storage.append(shard, [record('a')]))).toBe('FAILED');
    expect(await codeOf(storage.append(shard, [record('a')]))).toBe('FAILED');
  });

  it('finishes the deletion of a shard when it is opened again', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    await storage.append(shard, [record('a', { key: 'k', tags: ['t'] })]);
    faults.push({ call: 'clear', message: 'IO error: interrupted' });
    expect(await codeOf(storage.deleteShard(shard))).toBe('UNAVAILABLE');
    const again = await storage.createShard('s', { cleanup: 'keep' });
    expect(await storage.read(again, everything)).toMatchObject({ records: [], end: 0 });
    await storage.deleteShard(again);
    await storage.close();
    await open();
    expect(await storage.listShards()).toEqual([]);
    expect(await keysLeft()).toBe('NV');
  });

  it('leaves nothing to be read below logStart, and sweeps it later', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    await storage.append(shard, [record('a', { key: 'k', tags: ['t'] }), record('b')]);
    faults.push({ call: 'batch', message: 'IO error: interrupted', skip: 1 }); // the sweep, after logStart moved
    await storage.trim(shard, parseOffset(1));
    expect(await storage.describeShard(shard)).toMatchObject({ logStart: 1, end: 2 });
    expect(await storage.readByKey(shard, { key: 'k' })).toBeUndefined();
    expect(await codeOf(storage.read(shard, everything))).toBe('OFFSET_OUT_OF_RANGE');
    expect(await keysLeft()).toBe('HKNRRSTV');
    await expectKeysInTime('HNRSV');
  });

  it('shows nothing before it is durable (S3)', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    await storage.append(shard, [record('a')]);
    let release: () => void = () => {};
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const ends: number[] = [];
    storage.onEnd(shard, (end) => ends.push(end));
    const appended = storage.append(shard, [record('b')]);
    for (let i = 0; i < 20; i++) await clock.advanceAndSettle(1);
    expect(await storage.describeShard(shard)).toMatchObject({ end: 1 });
    expect(texts((await storage.read(shard, everything)).records)).toEqual(['a']);
    expect(ends).toEqual([]);
    release();
    await appended;
    expect(ends).toEqual([2]);
    expect(texts((await storage.read(shard, everything)).records)).toEqual(['a', 'b']);
  });
});

describe('the directory', () => {
  it('belongs to one process', async () => {
    await expect(LevelShardStorage.open({ directory }, { clock })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/another process/),
    });
  });

  it('is left clean by trimming', async () => {
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    for (let i = 0; i < 600; i++) void storage.append(shard, [record(`${i}`, { key: `k${i % 10}`, tags: ['t'] })]);
    await storage.append(shard, [record('last')]);
    await storage.trim(shard, parseOffset(601));
    await expectKeysInTime('HNSV');
  });

  it('is left clean by compaction', async () => {
    const shard = await storage.createShard('s', { cleanup: 'compact' });
    for (let i = 0; i < 100; i++) void storage.append(shard, [record(`${i}`, { key: 'k', tags: [`t${i % 7}`] })]);
    await storage.append(shard, [record('last', { key: 'k', tags: ['u', 'v'] })]);
    expect(await keysLeft()).toBe('HKNRSTTV');
  });

  it('is refused when it is of another format', async () => {
    await storage.close();
    const level = new Level<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
    await level.put(Buffer.from('V'), Buffer.from([0, 0, 0, 9]));
    await level.close();
    await expect(open()).rejects.toMatchObject({ code: 'FAILED', message: expect.stringMatching(/version 9/) });
  });

  it('refuses more than the pending bound', async () => {
    await storage.close();
    storage = await LevelShardStorage.open({ directory, pendingBytesMax: 4096 }, { clock });
    const shard = await storage.createShard('s', { cleanup: 'keep' });
    const first = storage.append(shard, [{ payload: Buffer.alloc(10_000) }]);
    expect(await codeOf(storage.append(shard, [record('b')]))).toBe('OVERLOADED');
    await first;
    expect(await codeOf(storage.append(shard, [record('b')]))).toBe('resolved');
  });
});
