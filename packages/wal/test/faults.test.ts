import { beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import { Wal, WalError, type WalFrame, type WalOptions } from '../src/index.js';
import { SimDisk } from '../src/testing/index.js';
import { LogUnderFaults, SMALL } from './log-under-faults.js';

let disk: SimDisk;
let clock: ManualClock;
beforeEach(() => {
  disk = new SimDisk(createPrng('faults'));
  clock = new ManualClock();
});

async function open(options: Partial<WalOptions> = {}): Promise<{ wal: Wal; frames: WalFrame[] }> {
  const frames: WalFrame[] = [];
  const wal = await Wal.open({ ...SMALL, ...options }, { disk, clock }, (frame) => frames.push(frame));
  return { wal, frames };
}

/** `count` groups of one frame that fills a sector. */
async function appendGroups(wal: Wal, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await wal.appendDurably(1, [Buffer.alloc(488, `${wal.nextSequence} `)]);
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    (error: WalError) => error.code,
  );

function snapshot(): Map<string, string> {
  return new Map(
    ['checkpoint', '0000000001.wal', '0000000002.wal', '0000000003.wal'].map((name) => [
      name,
      disk.contentOf(`/log/${name}`)?.toString('hex') ?? 'missing',
    ]),
  );
}

describe('damage', () => {
  it('refuses a log with a bad frame before a good one of a later write, and names the place', async () => {
    const { wal } = await open();
    await appendGroups(wal, 5);
    disk.kill();
    disk.flipBit('/log/0000000001.wal', 2 * 512 + 100, 3);
    const before = snapshot();
    const error = await open().catch((thrown: WalError) => thrown);
    expect(error).toMatchObject({ code: 'CORRUPT' });
    expect((error as WalError).message).toMatch(/0000000001\.wal is damaged at byte 1024: frame 2 .* frame 3/);
    expect(snapshot()).toEqual(before);
  });

  it('refuses a log whose last write is damaged after it was closed', async () => {
    const { wal } = await open();
    await appendGroups(wal, 3);
    await wal.close();
    disk.flipBit('/log/0000000001.wal', 2 * 512 + 100, 3);
    expect(await codeOf(open())).toBe('CORRUPT');
  });

  it('finds every flipped bit: wrong bytes are never replayed, and nothing before the last write is cut', async () => {
    const prng = createPrng('flips');
    for (let flip = 0; flip < 2000; flip++) {
      disk = new SimDisk(createPrng(flip));
      const { wal } = await open();
      await appendGroups(wal, 12);
      await Promise.all([1, 2, 3].map(() => wal.appendDurably(1, [Buffer.alloc(488, 'last')])));
      disk.kill();
      const name = prng.pick(['0000000001.wal', '0000000002.wal']);
      const used = name === '0000000001.wal' ? 4096 : 7 * 512;
      disk.flipBit(`/log/${name}`, prng.between(0, used - 1), prng.between(0, 7));
      const frames: WalFrame[] = [];
      const opened = await Wal.open(SMALL, { disk, clock }, (frame) => frames.push(frame)).catch((error) => error);
      if (opened instanceof Wal) expect(opened.nextSequence).toBeGreaterThanOrEqual(12);
      else expect(opened).toMatchObject({ code: 'CORRUPT' });
      for (const { sequence, payload } of frames)
        expect(payload.equals(Buffer.alloc(488, sequence < 12 ? `${sequence} ` : 'last'))).toBe(true);
    }
  }, 60_000);

  it('refuses a damaged, a missing and a foreign checkpoint, and a missing file', async () => {
    const { wal } = await open();
    await appendGroups(wal, 20);
    await wal.close();
    disk.flipBit('/log/checkpoint', 20, 0);
    expect(await codeOf(open())).toBe('CORRUPT');
    disk.flipBit('/log/checkpoint', 20, 0);
    await disk.rename('/log/0000000002.wal', '/log/aside');
    expect(await codeOf(open())).toBe('CORRUPT');
    await disk.rename('/log/aside', '/log/0000000002.wal');
    await disk.rename('/log/checkpoint', '/log/aside');
    expect(await codeOf(open())).toBe('CORRUPT');
    await disk.rename('/log/aside', '/log/checkpoint');
    const { wal: again, frames } = await open();
    expect(frames).toHaveLength(20);
    await again.close();
  });

  it('removes what a torn write left in a file that was begun', async () => {
    const { wal } = await open();
    await appendGroups(wal, 8); // fills the first file
    const third = [1, 2, 3].map(() => codeOf(wal.appendDurably(1, [Buffer.alloc(488, 'torn')])));
    disk.before = ({ kind, path }) => {
      if (kind === 'datasync' && path.endsWith('2.wal')) disk.haltAfter(0);
    };
    expect(await Promise.all(third)).toEqual(['FAILED', 'FAILED', 'FAILED']);
    disk.before = undefined;
    disk.kill();
    disk.flipBit('/log/0000000002.wal', 100, 0); // the first of three frames did not arrive
    const { wal: again } = await open();
    expect(again.nextSequence).toBe(8);
    await appendGroups(again, 1);
    disk.kill();
    const { frames } = await open();
    expect(frames.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(frames.at(-1)?.payload.toString()).toMatch(/^8 8 /);
  });
});

describe('a disk that refuses', () => {
  it('never acknowledges anything after a failed sync, and makes the last write durable when opened anew', async () => {
    const log = new LogUnderFaults(disk, createPrng('sync'));
    await log.open();
    await log.append(3);
    disk.failNext('datasync', { code: 'EIO', pages: 'dropped' });
    const { wal } = log;
    const failed = Promise.all([log.append(2), log.append(2)]);
    await failed;
    await log.append(1);
    expect(log.refusals.map(({ code }) => code)).toEqual(Array(5).fill('FAILED'));
    expect(log.refusals[0]?.message).toMatch(/restart this process/);
    expect(wal?.durableSequence).toBe(3);
    expect(await codeOf(wal?.checkpoint(3) ?? Promise.resolve())).toBe('FAILED');
    await wal?.close();
    disk.kill();
    // The page cache shows the bytes of the failed sync. Once replayed they are promised, so they must be on the medium.
    await log.open();
    expect(log.wal?.nextSequence).toBe(7);
    disk.crash();
    await log.open();
    expect(log.wal?.nextSequence).toBe(7);
  });

  it('treats a failed sync as final also when it says that the disk is full', async () => {
    const { wal } = await open();
    disk.failNext('datasync', { code: 'ENOSPC', pages: 'dropped' });
    expect(await codeOf(wal.appendDurably(1, [Buffer.from('a')]))).toBe('FAILED');
    const other = new SimDisk(createPrng('directory'));
    disk = other;
    const { wal: second } = await open();
    other.failNext('syncDirectory', { code: 'ENOSPC' });
    expect(await codeOf(second.appendDurably(1, [Buffer.from('a')]))).toBe('FAILED');
  });

  it('refuses appends on a full disk, cuts what was begun, and goes on with the same sequence', async () => {
    const { wal } = await open();
    await appendGroups(wal, 2);
    disk.capacityBytes = disk.usedBytes + 700; // the next growth of the file does not fit
    const refused = [1, 2, 3].map(() => codeOf(wal.appendDurably(1, [Buffer.alloc(488, 'x')])));
    expect(await Promise.all(refused)).toEqual(['DISK_FULL', 'DISK_FULL', 'DISK_FULL']);
    expect(wal.nextSequence).toBe(2);
    expect(() => wal.append(1, [Buffer.from('y')], () => {})).toThrow(expect.objectContaining({ code: 'DISK_FULL' }));

    disk.capacityBytes = 1_000_000;
    clock.advance(1000);
    expect(() => wal.append(1, [], () => {})).toThrow(WalError); // looks for space
    await clock.advanceAndSettle(0);
    expect(await wal.appendDurably(1, [Buffer.from('after')])).toBe(2);
    disk.crash();
    const { frames } = await open();
    expect(frames.map(({ payload }) => payload.toString('latin1', 0, 5))).toEqual(['0 0 0', '1 1 1', 'after']);
  });

  it('keeps its promises while the disk fills at random places', async () => {
    for (let seed = 0; seed < 300; seed++) {
      disk = new SimDisk(createPrng(seed));
      const log = new LogUnderFaults(disk, createPrng(seed));
      await log.open();
      disk.capacityBytes = seed * 40;
      for (let i = 0; i < 8; i++) await log.append(2);
      await log.checkpoint();
      expect(log.refusals.every(({ code }) => code === 'DISK_FULL')).toBe(true);
      disk.capacityBytes = 1_000_000;
      log.clock.advance(2000);
      await log.append(1);
      await log.append(3);
      if (seed % 3 > 0) await log.close();
      if (seed % 2 > 0) disk.crash();
      else disk.kill();
      await log.open();
      await log.close();
    }
  }, 60_000);

  it('fails when the write that did not fit cannot be cut off', async () => {
    const { wal } = await open();
    await appendGroups(wal, 2);
    disk.failNext('write', { code: 'ENOSPC', writtenBytes: 600 });
    disk.failNext('truncate', { code: 'EIO' });
    expect(await codeOf(wal.appendDurably(1, [Buffer.alloc(1000)]))).toBe('FAILED');
    disk.kill();
    const { wal: again } = await open();
    expect(again.nextSequence).toBe(2);
  });

  it('fails after a write that arrived in part for any other reason', async () => {
    const { wal } = await open();
    await appendGroups(wal, 2);
    disk.failNext('write', { code: 'EIO', writtenBytes: 600 });
    expect(await codeOf(wal.appendDurably(1, [Buffer.alloc(1000)]))).toBe('FAILED');
    expect(await codeOf(wal.appendDurably(1, [Buffer.alloc(1000)]))).toBe('FAILED');
  });

  it('goes on when there is no space for a checkpoint', async () => {
    const { wal } = await open();
    await appendGroups(wal, 6);
    disk.failNext('write', { code: 'ENOSPC', writtenBytes: 10 });
    expect(await codeOf(wal.checkpoint(4))).toBe('DISK_FULL');
    await appendGroups(wal, 1);
    await wal.checkpoint(5);
    await wal.close();
    const { frames } = await open();
    expect(frames.map(({ sequence }) => sequence)).toEqual([5, 6]);
  });
});

describe('the contract of append', () => {
  it('has one write in flight, and what gathers meanwhile is one group', async () => {
    const { wal } = await open();
    const operations: string[] = [];
    let releaseSync: () => void = () => {};
    let syncing: () => void = () => {};
    const inSync = new Promise<void>((resolve) => {
      syncing = resolve;
    });
    disk.before = async ({ kind }) => {
      operations.push(kind);
      if (kind !== 'datasync') return;
      disk.before = ({ kind: later }) => void operations.push(later);
      syncing();
      await new Promise<void>((resolve) => {
        releaseSync = resolve;
      });
    };
    const first = wal.appendDurably(1, [Buffer.from('a')]);
    await inSync;
    const others = Array.from({ length: 20 }, () => wal.appendDurably(1, [Buffer.from('b')]));
    await clock.advanceAndSettle(10);
    expect(operations).toEqual(['open', 'syncDirectory', 'write', 'datasync']);
    expect(wal.durableSequence).toBe(0);
    releaseSync();
    await Promise.all([first, ...others]);
    expect(operations).toEqual(['open', 'syncDirectory', 'write', 'datasync', 'write', 'datasync']);
  });

  it('calls back in order, later, each once, whatever a callback does', async () => {
    const { wal } = await open();
    const calls: number[] = [];
    await new Promise<void>((resolve) => {
      for (let i = 0; i < 5; i++) {
        wal.append(1, [Buffer.from('x')], () => {
          calls.push(i);
          if (i === 2) wal.append(1, [Buffer.from('y')], () => resolve());
        });
      }
      expect(calls).toEqual([]);
    });
    expect(calls).toEqual([0, 1, 2, 3, 4]);
    expect(wal.durableSequence).toBe(6);
  });

  it('refuses more than the pending bound, but takes one frame of any legal size', async () => {
    const { wal } = await open({ pendingBytesMax: 4096 });
    const large = wal.appendDurably(1, [Buffer.alloc(16_384)]);
    expect(() => wal.append(1, [Buffer.alloc(8)], () => {})).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    await large;
    expect(await wal.appendDurably(1, [Buffer.alloc(8)])).toBe(1);
    expect(await codeOf(wal.appendDurably(1, [Buffer.alloc(16_385)]))).toBe('PAYLOAD_TOO_LARGE');
  });

  it('makes durable at close what it accepted, and refuses afterwards', async () => {
    const { wal } = await open();
    const accepted = [1, 2, 3].map(() => wal.appendDurably(1, [Buffer.from('z')]));
    const closed = wal.close();
    expect(await codeOf(wal.appendDurably(1, []))).toBe('CLOSED');
    expect(await codeOf(wal.checkpoint(0))).toBe('CLOSED');
    await closed;
    expect(await Promise.all(accepted)).toEqual([0, 1, 2]);
    await wal.close();
    const { frames } = await open();
    expect(frames).toHaveLength(3);
  });

  it('refuses a checkpoint beyond what is durable, and options out of range', async () => {
    const { wal } = await open();
    await appendGroups(wal, 2);
    expect(await codeOf(wal.checkpoint(3))).toBe('INVALID_ARGUMENT');
    await wal.checkpoint(2);
    expect(await codeOf(wal.checkpoint(1))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(open({ fileBytes: 100 }))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(open({ name: 'Two Words' }))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(open())).toBe('DIRECTORY_IN_USE');
  });

  it('rejects with what replay threw, and can be opened again', async () => {
    const { wal } = await open();
    await appendGroups(wal, 1);
    await wal.close();
    const owner = new Error('the owner cannot use this frame');
    const failing = Wal.open(SMALL, { disk, clock }, () => {
      throw owner;
    });
    await expect(failing).rejects.toBe(owner);
    const { wal: again } = await open();
    expect(again.nextSequence).toBe(1);
  });
});
