// One process per directory, by the file LOCK in it: "<pid> <start>\n", where <start> is the time the process was
// started in clock ticks since boot (field 22 of /proc/<pid>/stat), or "-" where there is no /proc.
//
// Node has no flock(), so nothing releases the file when its holder is killed. Instead the next one looks whether
// the holder lives: the pid and the start time together name one process for as long as the machine runs, so a
// pid that was given to somebody else is not mistaken for the holder.
//
// Invariants:
//   K1. The file appears with its content (link), so nobody reads half of it.
//   K2. A stale file is moved away under a name of our own and looked at once more before anything is made of it: of
//       two that take over at once, the slower one may have moved the file of the faster one, and puts it back.
//
// Not covered: two machines, or two containers with their own pid namespaces, on one shared directory.

import fs from 'node:fs';
import path from 'node:path';
import { WalError } from '../errors.js';
import type { DiskLock } from './disk.js';

const ATTEMPTS = 5;
let count = 0;

export async function takeDirectoryLock(directory: string): Promise<DiskLock> {
  const lockPath = path.join(directory, 'LOCK');
  const mine = `${process.pid} ${(await startOf(process.pid)) ?? '-'}\n`;
  const ownName = `${lockPath}.${process.pid}.${count++}`;
  await fs.promises.writeFile(ownName, mine, { flag: 'w', mode: 0o640 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (await tryLink(ownName, lockPath)) return releaseOnce(lockPath, mine);
      const held = await readIfThere(lockPath);
      if (held === undefined) continue;
      if (await holderLives(held)) throw inUse(directory, held);
      await moveStaleAway(lockPath, held);
    }
  } finally {
    await fs.promises.rm(ownName, { force: true });
  }
  throw new WalError('DIRECTORY_IN_USE', `${directory} is being taken by another process at this moment; try again`);
}

function releaseOnce(lockPath: string, mine: string): DiskLock {
  let released = false;
  return {
    release: async () => {
      if (released) return;
      released = true;
      if ((await readIfThere(lockPath)) === mine) await fs.promises.rm(lockPath, { force: true });
    },
  };
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await fs.promises.link(from, to); // K1
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function moveStaleAway(lockPath: string, stale: string): Promise<void> {
  const aside = `${lockPath}.stale.${process.pid}.${count++}`;
  try {
    await fs.promises.rename(lockPath, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return; // somebody else took it away
    throw error;
  }
  if ((await readIfThere(aside)) !== stale) await tryLink(aside, lockPath); // K2
  await fs.promises.rm(aside, { force: true });
}

async function holderLives(held: string): Promise<boolean> {
  const [pidText = '', start = '-'] = held.trim().split(' ');
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false; // nobody can have written that whole (K1)
  if (!answersSignals(pid)) return false;
  const startNow = await startOf(pid);
  if (startNow === 'gone') return false;
  return start === '-' || startNow === undefined || startNow === start;
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM'; // it lives, and is somebody else's
  }
}

/** When the process was started; `gone` when it is dead or a zombie; undefined where the system cannot tell. */
async function startOf(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await fs.promises.readFile(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return process.platform === 'linux' && fs.existsSync('/proc/self/stat') ? 'gone' : undefined;
  }
  // The second field is the name in parentheses and may hold anything; what follows the last one is numbers.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  return state === 'Z' || state === 'X' ? 'gone' : fields[19]; // the third field is first here, so 22 is at 19
}

async function readIfThere(name: string): Promise<string | undefined> {
  try {
    return await fs.promises.readFile(name, 'latin1');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function inUse(directory: string, held: string): WalError {
  const pid = held.split(' ')[0];
  const holder = Number(pid) === process.pid ? 'this process' : `process ${pid}`;
  return new WalError(
    'DIRECTORY_IN_USE',
    `${directory} is in use by ${holder} (pid ${pid}). Stop that process or choose another directory`,
  );
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code; // Node's errors carry one
}
