import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { contendForDirectory, directoryHolder } from './directory-lock.js';
import { nodeDisk, writeFully } from './node-disk.js';

const disk = nodeDisk();
let directory: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'disk-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  fs.rmSync(directory, { recursive: true, force: true });
});

describe('files', () => {
  it('reads what was written in parts, and fewer bytes at the end', async () => {
    const file = await disk.open(path.join(directory, 'a'), 'read-write');
    const parts = Array.from({ length: 3000 }, (_, i) => Buffer.from([i & 0xff, i >> 8])); // more than one writev takes
    await file.write([Buffer.alloc(0), ...parts], 10);
    await file.datasync();
    expect(await file.size()).toBe(6010);
    const into = Buffer.alloc(7000);
    expect(await file.read(into, 10)).toBe(6000);
    expect(into.subarray(0, 6000).equals(Buffer.concat(parts))).toBe(true);
    await file.truncate(100);
    expect(await file.size()).toBe(100);
    await file.close();
  });

  it('writes everything, however little the system takes at a time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        async (parts, counts) => {
          const written = Buffer.alloc(1000);
          let calls = 0;
          await writeFully(parts, 5, async (some, at) => {
            const bytes = Buffer.concat(some);
            const count = Math.min(bytes.length, counts[calls++ % counts.length] ?? 1);
            written.set(bytes.subarray(0, count), at);
            return count;
          });
          const expected = Buffer.concat(parts);
          expect(written.subarray(5, 5 + expected.length).equals(expected)).toBe(true);
        },
      ),
    );
  });

  it('takes a write that does not advance for a full disk', async () => {
    await expect(writeFully([Buffer.from('a')], 0, async () => 0)).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  it('makes directories, lists, renames and removes', async () => {
    const deep = path.join(directory, 'x/y/z');
    expect(await disk.list(deep)).toEqual([]);
    await disk.makeDirectory(deep);
    await disk.makeDirectory(deep);
    await (await disk.open(path.join(deep, 'b'), 'read-write')).close();
    await (await disk.open(path.join(deep, 'a'), 'read-write')).close();
    await disk.rename(path.join(deep, 'b'), path.join(deep, 'c'));
    await disk.syncDirectory(deep);
    expect(await disk.list(deep)).toEqual(['a', 'c']);
    await disk.remove(path.join(deep, 'a'));
    expect(await disk.exists(path.join(deep, 'a'))).toBe(false);
    expect(await disk.exists(path.join(deep, 'c'))).toBe(true);
    expect(await disk.freeBytes(deep)).toBeGreaterThan(0);
    await expect(disk.open(path.join(deep, 'none'), 'read')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('the lock of a directory', () => {
  /** A process that holds the directory by its own file and lives on. */
  async function holder(told: { start?: string; boot?: string } = {}): Promise<ChildProcess> {
    const script = `
      const fs = require('node:fs');
      const read = (name, otherwise) => fs.existsSync(name) ? fs.readFileSync(name, 'latin1') : otherwise;
      const stat = read('/proc/self/stat', ') S' + ' 0'.repeat(30));
      const start = ${told.start ?? 'stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]'};
      const boot = ${told.boot ?? 'read("/proc/sys/kernel/random/boot_id", "0").slice(0, 8)'};
      fs.writeFileSync(process.argv[1] + '/LOCK-' + process.pid + '-' + start + '-' + boot + '-0', '');
      process.stdout.write('held');
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ['-e', script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    if (child.stdout) await once(child.stdout, 'data');
    return child;
  }

  it('is taken once, also within one process, and again after it was released', async () => {
    expect(await directoryHolder(directory)).toBeUndefined();
    const lock = await disk.lock(directory);
    expect(await directoryHolder(directory)).toBe(process.pid);
    await expect(disk.lock(directory)).rejects.toMatchObject({
      code: 'DIRECTORY_IN_USE',
      message: expect.stringContaining(`this process ${process.pid}`),
    });
    await lock.release();
    expect(await directoryHolder(directory)).toBeUndefined();
    await lock.release();
    const again = await disk.lock(directory);
    await lock.release(); // of the first life: must not free the second
    await expect(disk.lock(directory)).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' });
    await again.release();
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('names a holder that lives, and takes over after it was killed', async () => {
    const child = await holder();
    await expect(disk.lock(directory)).rejects.toMatchObject({
      code: 'DIRECTORY_IN_USE',
      message: expect.stringContaining(`process ${child.pid}`),
    });
    expect(fs.readdirSync(directory)).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const lock = await disk.lock(directory);
    expect(fs.readdirSync(directory)).toEqual([expect.stringMatching(`^LOCK-${process.pid}-`)]);
    await lock.release();
  });

  it('does not take another process with the pid of the holder for the holder', async () => {
    if (process.platform !== 'linux') return; // start times and boot ids come from /proc
    await holder({ start: '"1"' });
    await (await disk.lock(directory)).release();
    await holder({ boot: '"0badcafe"' });
    await (await disk.lock(directory)).release();
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('goes to one of those who want it after a holder died', async () => {
    const child = await holder();
    child.kill('SIGKILL');
    await once(child, 'exit');
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => disk.lock(directory)));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', ...Array(19).fill('rejected')]);
  });

  it('never has two holders, however those who want it meet', async () => {
    for (let round = 0; round < 50; round++) {
      const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => contendForDirectory(directory)));
      const winners = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      expect(winners.length).toBeLessThanOrEqual(1);
      for (const winner of winners) await winner.release();
    }
    expect(fs.readdirSync(directory)).toEqual([]);
  });
});
