import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '@robustmq/stdx/clock';
import { nodeDisk, Wal, type WalFrame, type WalOptions } from '../src/index.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'wal-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function open(options: Partial<WalOptions> = {}): Promise<{ wal: Wal; frames: WalFrame[] }> {
  const frames: WalFrame[] = [];
  const deps = { disk: nodeDisk(), clock: systemClock };
  const wal = await Wal.open({ directory: path.join(directory, 'a/b'), ...options }, deps, (frame) =>
    frames.push(frame),
  );
  return { wal, frames };
}

describe('a log in a real directory', () => {
  it('gives back what was appended, in order, after it was closed', async () => {
    const { wal } = await open();
    const sequences = await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        wal.appendDurably(i % 256, [Buffer.from(`frame `), Buffer.from(String(i))]),
      ),
    );
    expect(sequences).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(wal.durableSequence).toBe(1000);
    await wal.close();

    const { wal: again, frames } = await open();
    expect(frames.map((frame) => frame.payload.toString())).toEqual(
      Array.from({ length: 1000 }, (_, i) => `frame ${i}`),
    );
    expect(frames.map((frame) => frame.kind)).toEqual(Array.from({ length: 1000 }, (_, i) => i % 256));
    expect(again.nextSequence).toBe(1000);
    await again.close();
  });

  it('takes a payload of 64 MiB, larger than its file', async () => {
    const { wal } = await open();
    const large = Buffer.alloc(64 * 1024 * 1024, 'large');
    await wal.appendDurably(1, [Buffer.from('before')]);
    await wal.appendDurably(2, [large.subarray(0, 1000), large.subarray(1000)]);
    await wal.appendDurably(3, [Buffer.from('after')]);
    await wal.close();
    const { wal: again, frames } = await open();
    expect(frames.map(({ payload }) => payload.length)).toEqual([6, large.length, 5]);
    expect(frames[1]?.payload.equals(large)).toBe(true);
    await again.close();
  }, 60_000);

  it('rolls, checkpoints and uses files again', async () => {
    const { wal } = await open({ fileBytes: 4096, growBytes: 512, groupBytesMax: 1024 });
    for (let i = 0; i < 300; i++) {
      await wal.appendDurably(0, [Buffer.alloc(100, i)]);
      if (i % 50 === 49) await wal.checkpoint(i - 10);
    }
    await wal.close();
    const { wal: again, frames } = await open({ fileBytes: 4096 });
    expect(frames.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 11 }, (_, i) => 289 + i));
    expect(frames.every(({ payload, sequence }) => payload.equals(Buffer.alloc(100, sequence)))).toBe(true);
    const names = await nodeDisk().list(path.join(directory, 'a/b'));
    expect(names.filter((name) => name.endsWith('.wal')).length).toBeLessThanOrEqual(4);
    await again.close();
  });
});
