// One process per directory, by a file in it whose name says who holds it:
//
//   LOCK-<pid>-<start>-<boot>-<count>
//
//   pid    of the holder
//   start  when it was started, in clock ticks since boot (field 22 of /proc/<pid>/stat); 0 where there is no /proc
//   boot   the first part of the kernel's boot id; 0 where there is none
//   count  makes the name unique within the process
//
// Node has no flock(), so nothing releases the directory when its holder is killed. Instead the next one looks
// whether the holder lives: pid, start and boot together name one process, so that one which was given the same
// pid later is not mistaken for it.
//
// Invariants:
//   K1. Who wants the directory first makes its own file, then looks for those of others; when a living one has a
//       file, it removes its own and is refused. Of two that both made theirs, the one that looks last sees the
//       other. So there is never more than one holder; two that come at the same moment may both be refused.
//   K2. A name is never used twice, so that removing the file of a dead process cannot hit a living one.
//
// Not covered: two machines, or two containers with pid namespaces of their own, on one shared directory.

import fs from 'node:fs';
import path from 'node:path';
import { WalError } from '../errors.js';
import type { DiskLock } from './disk.js';

interface Holder {
  readonly pid: number;
  readonly start: string;
  readonly boot: string;
}

const NAME = /^LOCK-(\d+)-(\d+)-([0-9a-f]+)-\d+$/;
/** Two that come at the same moment rarely meet again at the next. */
const ATTEMPTS = 3;
let count = 0;
let turn: Promise<unknown> = Promise.resolve();

/** Within one process they take turns, so that one of them wins. */
export function takeDirectoryLock(directory: string): Promise<DiskLock> {
  const mine = turn.then(() => attemptSeveralTimes(directory));
  turn = mine.catch(() => {});
  return mine;
}

async function attemptSeveralTimes(directory: string): Promise<DiskLock> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await contendForDirectory(directory);
    } catch (error) {
      const taken = error instanceof WalError && error.code === 'DIRECTORY_IN_USE';
      if (!taken || attempt === ATTEMPTS) throw error;
    }
  }
}

/** One attempt; exported for the test of K1. */
export async function contendForDirectory(directory: string): Promise<DiskLock> {
  const start = await startOf(process.pid);
  const name = `LOCK-${process.pid}-${start === 'gone' ? 0 : start}-${await bootId()}-${count++}`; // K2
  const own = path.join(directory, name);
  await fs.promises.writeFile(own, '', { flag: 'wx', mode: 0o640 });
  const dead: string[] = [];
  try {
    for (const other of await fs.promises.readdir(directory)) {
      const holder = other === name ? undefined : parseHolder(other);
      if (!holder) continue;
      if (await lives(holder)) throw inUse(directory, holder.pid); // K1
      dead.push(other);
    }
  } catch (error) {
    await fs.promises.rm(own, { force: true });
    throw error;
  }
  for (const other of dead) await fs.promises.rm(path.join(directory, other), { force: true });
  return { release: () => fs.promises.rm(own, { force: true }) };
}

/** The pid of the live process that holds the directory; undefined when nobody does, or it does not exist. */
export async function directoryHolder(directory: string): Promise<number | undefined> {
  const names = fs.existsSync(directory) ? await fs.promises.readdir(directory) : [];
  for (const name of names) {
    const holder = parseHolder(name);
    if (holder && (await lives(holder))) return holder.pid;
  }
  return undefined;
}

function parseHolder(name: string): Holder | undefined {
  const [, pid = '', start = '', boot = ''] = NAME.exec(name) ?? [];
  return pid === '' ? undefined : { pid: Number(pid), start, boot };
}

async function lives(holder: Holder): Promise<boolean> {
  if (holder.boot !== (await bootId())) return false;
  if (!answersSignals(holder.pid)) return false;
  const start = await startOf(holder.pid);
  return start !== 'gone' && start === holder.start;
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM'; // Node's errors carry a code; this one is somebody else's process
  }
}

/** When the process was started; `0` where the system cannot tell; `gone` when it is dead or a zombie. */
async function startOf(pid: number): Promise<string> {
  let stat: string;
  try {
    stat = await fs.promises.readFile(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return fs.existsSync('/proc/self/stat') ? 'gone' : '0';
  }
  // The second field is the name in parentheses and may hold anything; what follows the last one is numbers.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  return state === 'Z' || state === 'X' ? 'gone' : (fields[19] ?? '0'); // the third field is first here, so 22 is at 19
}

async function bootId(): Promise<string> {
  try {
    return (await fs.promises.readFile('/proc/sys/kernel/random/boot_id', 'latin1')).slice(0, 8);
  } catch {
    return '0';
  }
}

function inUse(directory: string, pid: number): WalError {
  const holder = pid === process.pid ? 'this process' : 'process';
  return new WalError(
    'DIRECTORY_IN_USE',
    `${directory} is in use by ${holder} ${pid}. Stop that process or choose another directory`,
  );
}
