import fs from 'node:fs';
import path from 'node:path';
import { takeDirectoryLock } from './directory-lock.js';
import type { Disk, DiskFile, DiskLock } from './disk.js';

/** The file system of this machine. */
export function nodeDisk(): Disk {
  return new NodeDisk();
}

/** Linux takes at most this many parts in one writev. */
const PARTS_MAX = 1024;

class NodeDisk implements Disk {
  async open(name: string, mode: 'read' | 'read-write'): Promise<DiskFile> {
    const { O_RDONLY, O_RDWR, O_CREAT, O_CLOEXEC = 0 } = fs.constants as { O_CLOEXEC?: number } & typeof fs.constants; // absent on Windows
    const flags = mode === 'read' ? O_RDONLY : O_RDWR | O_CREAT;
    const fd = await call<number>((done) => fs.open(name, flags | O_CLOEXEC, 0o640, done));
    return new NodeDiskFile(name, fd);
  }

  async exists(name: string): Promise<boolean> {
    try {
      await fs.promises.stat(name);
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  async list(directory: string): Promise<string[]> {
    try {
      return (await fs.promises.readdir(directory)).sort();
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  async makeDirectory(directory: string): Promise<void> {
    const first = await fs.promises.mkdir(directory, { recursive: true, mode: 0o750 });
    if (first === undefined) return;
    // Every new name lies in a directory that must be synced (D2): from the parent of the first one down.
    const top = path.dirname(path.resolve(first));
    for (let parent = path.dirname(path.resolve(directory)); ; parent = path.dirname(parent)) {
      await this.syncDirectory(parent);
      if (parent === top || parent === path.dirname(parent)) return;
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await fs.promises.rename(from, to);
  }

  async remove(name: string): Promise<void> {
    await fs.promises.unlink(name);
  }

  async syncDirectory(directory: string): Promise<void> {
    // Windows has no handle of a directory to sync; NTFS journals names by itself.
    if (process.platform === 'win32') return;
    const file = await fs.promises.open(directory, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async freeBytes(name: string): Promise<number> {
    const { bavail, bsize } = await fs.promises.statfs(name);
    return bavail * bsize;
  }

  lock(directory: string): Promise<DiskLock> {
    return takeDirectoryLock(directory);
  }
}

/** On descriptors and callbacks: a FileHandle costs more promises, and one that is forgotten closes under our hands. */
class NodeDiskFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;

  constructor(name: string, fd: number) {
    this.path = name;
    this.#fd = fd;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      const at = filled;
      const count = await call<number>((done) =>
        fs.read(this.#fd, into, at, into.length - at, position + at, (error, bytes) => done(error, bytes)),
      );
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  write(parts: readonly Uint8Array[], position: number): Promise<void> {
    return writeFully(parts, position, (some, at) =>
      call<number>((done) => fs.writev(this.#fd, some, at, (error, count) => done(error, count))),
    );
  }

  datasync(): Promise<void> {
    return call<void>((done) => fs.fdatasync(this.#fd, (error) => done(error, undefined)));
  }

  truncate(bytes: number): Promise<void> {
    return call<void>((done) => fs.ftruncate(this.#fd, bytes, (error) => done(error, undefined)));
  }

  async size(): Promise<number> {
    return (await call<fs.Stats>((done) => fs.fstat(this.#fd, done))).size;
  }

  close(): Promise<void> {
    return call<void>((done) => fs.close(this.#fd, (error) => done(error ?? null, undefined)));
  }
}

/**
 * Writes everything, however little the system takes at a time: a short count is success to Node, and the reason
 * for it (no space, say) comes only with the next call (D4).
 */
export async function writeFully(
  parts: readonly Uint8Array[],
  position: number,
  writeSome: (parts: Uint8Array[], position: number) => Promise<number>,
): Promise<void> {
  let rest = parts.filter((part) => part.length > 0);
  let at = position;
  while (rest.length > 0) {
    const some = rest.slice(0, PARTS_MAX);
    let written = await writeSome(some, at);
    if (written === 0) throw Object.assign(new Error('the system wrote nothing'), { code: 'ENOSPC' }); // an errno, as fs throws
    at += written;
    let whole = 0;
    for (const part of some) {
      if (written < part.length) break;
      written -= part.length;
      whole++;
    }
    const begun = rest[whole];
    rest = written > 0 && begun ? [begun.subarray(written), ...rest.slice(whole + 1)] : rest.slice(whole);
  }
}

function call<T>(start: (done: (error: Error | null, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value)));
  });
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code; // Node's errors carry one
}
