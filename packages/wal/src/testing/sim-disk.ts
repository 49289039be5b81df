// A disk in memory that loses, tears and refuses what a real one may, and nothing else.
//
//   crash()  power is lost: any subset of the sectors written since the last sync of their file survives, and any
//            subset (or prefix) of the names changed since the last sync of their directory
//   kill()   the process is killed: everything that was written is there, synced or not
// After both, open files are dead, locks are free, and the disk serves the next life.

import type { Prng } from '@robustmq/stdx/prng';
import type { Disk, DiskFile, DiskLock } from '../disk/disk.js';
import { WalError } from '../errors.js';
import { SimContent } from './sim-content.js';

export type SimOperationKind =
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'syncDirectory'
  | 'makeDirectory';

export interface SimOperation {
  readonly kind: SimOperationKind;
  readonly path: string;
}

/** How a simulated disk refuses; `code` is what Node would say. */
export class SimDiskFault extends Error {
  override readonly name = 'SimDiskFault';
  readonly code: string;

  constructor(code: string, operation: SimOperation) {
    super(`${code}: simulated, ${operation.kind} ${operation.path}`);
    this.code = code;
  }
}

export interface SimFault {
  /** As in Node: `EIO`, `ENOSPC`… */
  readonly code: string;
  /** Of a write: this many bytes arrive before it fails. 0 unless given. */
  readonly writtenBytes?: number;
  /** Of a sync: the pages count as written although they are not (fsyncgate). They stay dirty unless given. */
  readonly pages?: 'dropped';
}

/** Which names one operation changes in a directory; undefined removes the name. */
type NameChange = readonly (readonly [name: string, content: SimContent | undefined])[];

interface SimDirectory {
  readonly names: Map<string, SimContent>;
  readonly storedNames: Map<string, SimContent>;
  readonly changes: NameChange[];
}

export class SimDisk implements Disk {
  readonly #prng: Prng;
  readonly #directories = new Map<string, SimDirectory>();
  readonly #locks = new Set<string>();
  readonly #faults: { kind: SimOperationKind; fault: SimFault }[] = [];
  #life = 0;
  #operations = 0;
  #haltsAfter = Number.POSITIVE_INFINITY;

  /** All files together may hold this many bytes; a write beyond it arrives in part and fails with ENOSPC. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Awaited before each operation takes place: a slow disk, or a place to stop the world. It may throw a fault. */
  before: ((operation: SimOperation) => void | Promise<void>) | undefined;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** How many operations have taken place, over all lives. */
  get operations(): number {
    return this.#operations;
  }

  get usedBytes(): number {
    const contents = [...this.#directories.values()].flatMap(({ names }) => [...names.values()]);
    return contents.reduce((used, { bytes }) => used + bytes, 0);
  }

  /** After this many more operations the disk answers nothing but errors, until crash() or kill(). */
  haltAfter(operations: number): void {
    this.#haltsAfter = this.#operations + operations;
  }

  get halted(): boolean {
    return this.#operations >= this.#haltsAfter;
  }

  /** The next operation of this kind fails. */
  failNext(kind: SimOperationKind, fault: SimFault): void {
    this.#faults.push({ kind, fault });
  }

  /** Damages one bit of a file. */
  flipBit(path: string, position: number, bit: number): void {
    this.#contentOf(path)?.flipBit(position, bit);
  }

  /** What a read of the whole file gives, for tests that look at bytes. */
  contentOf(path: string): Buffer | undefined {
    const content = this.#contentOf(path);
    if (!content) return undefined;
    const bytes = Buffer.alloc(content.bytes);
    content.read(bytes, 0);
    return bytes;
  }

  /** Power is lost and comes back. */
  crash(): void {
    const keep = this.#prng.pick([0, 0.1, 0.5, 0.9, 1]);
    const order = this.#prng.pick(['prefix', 'subset'] as const);
    for (const directory of this.#directories.values()) {
      const survivors = order === 'prefix' ? this.#prng.between(0, directory.changes.length) : directory.changes.length;
      for (const change of directory.changes.slice(0, survivors)) {
        if (order === 'prefix' || this.#prng.chance(keep)) applyChange(directory.storedNames, change);
      }
      directory.changes.length = 0;
      directory.names.clear();
      for (const [name, content] of directory.storedNames) directory.names.set(name, content);
      for (const content of new Set(directory.names.values())) content.crash(this.#prng, keep);
    }
    this.kill();
  }

  /** The process is gone; the page cache is not. */
  kill(): void {
    this.#life++;
    this.#locks.clear();
    this.#faults.length = 0;
    this.#haltsAfter = Number.POSITIVE_INFINITY;
  }

  async open(path: string, mode: 'read' | 'read-write'): Promise<DiskFile> {
    await this.#take({ kind: 'open', path });
    let content = this.#contentOf(path);
    if (!content) {
      if (mode === 'read') throw new SimDiskFault('ENOENT', { kind: 'open', path });
      content = new SimContent();
      this.#change(path, [[baseName(path), content]]);
    }
    return this.#fileOf(path, content, mode);
  }

  async exists(path: string): Promise<boolean> {
    return this.#directories.has(path) || this.#contentOf(path) !== undefined;
  }

  async list(directory: string): Promise<string[]> {
    return [...(this.#directories.get(directory)?.names.keys() ?? [])].sort();
  }

  async makeDirectory(directory: string): Promise<void> {
    await this.#take({ kind: 'makeDirectory', path: directory });
    if (!this.#directories.has(directory)) {
      this.#directories.set(directory, { names: new Map(), storedNames: new Map(), changes: [] });
    }
  }

  /** Within one directory; a move between two is nothing we do. */
  async rename(from: string, to: string): Promise<void> {
    await this.#take({ kind: 'rename', path: from });
    const content = this.#contentOf(from);
    if (!content || directoryName(from) !== directoryName(to))
      throw new SimDiskFault('ENOENT', { kind: 'rename', path: from });
    this.#change(from, [
      [baseName(from), undefined],
      [baseName(to), content],
    ]);
  }

  async remove(path: string): Promise<void> {
    await this.#take({ kind: 'remove', path });
    if (!this.#contentOf(path)) throw new SimDiskFault('ENOENT', { kind: 'remove', path });
    this.#change(path, [[baseName(path), undefined]]);
  }

  async syncDirectory(path: string): Promise<void> {
    const fault = await this.#take({ kind: 'syncDirectory', path });
    const directory = this.#directories.get(path);
    if (!directory) return;
    if (fault) throw new SimDiskFault(fault.code, { kind: 'syncDirectory', path });
    for (const change of directory.changes) applyChange(directory.storedNames, change);
    directory.changes.length = 0;
  }

  async freeBytes(): Promise<number> {
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }

  async lock(directory: string): Promise<DiskLock> {
    if (this.#locks.has(directory)) {
      throw new WalError('DIRECTORY_IN_USE', `${directory} is in use by process 0 (simulated)`);
    }
    this.#locks.add(directory);
    const life = this.#life;
    return {
      release: async () => {
        if (life === this.#life) this.#locks.delete(directory);
      },
    };
  }

  #fileOf(path: string, content: SimContent, mode: 'read' | 'read-write'): DiskFile {
    const life = this.#life;
    let open = true;
    const take = async (kind: SimOperationKind): Promise<SimFault | undefined> => {
      const operation = { kind, path };
      if (!open || life !== this.#life) throw new SimDiskFault('EBADF', operation);
      if (mode === 'read' && kind !== 'read') throw new SimDiskFault('EBADF', operation);
      const fault = await this.#take(operation);
      if (life !== this.#life) throw new SimDiskFault('EBADF', operation);
      return fault;
    };
    return {
      path,
      read: async (into, position) => {
        const fault = await take('read');
        if (fault) throw new SimDiskFault(fault.code, { kind: 'read', path });
        return content.read(into, position);
      },
      write: async (parts, position) => {
        const bytes = Buffer.concat(parts); // as they are when the operation begins
        const fault = await take('write');
        this.#write(content, { bytes, position, fault, path });
      },
      datasync: async () => {
        const fault = await take('datasync');
        if (fault?.pages === 'dropped') content.dropDirty();
        if (fault) throw new SimDiskFault(fault.code, { kind: 'datasync', path });
        content.sync();
      },
      truncate: async (bytes) => {
        const fault = await take('truncate');
        if (fault) throw new SimDiskFault(fault.code, { kind: 'truncate', path });
        content.truncate(bytes);
      },
      size: async () => content.bytes,
      close: async () => {
        open = false;
      },
    };
  }

  #write(
    content: SimContent,
    write: { bytes: Buffer; position: number; fault: SimFault | undefined; path: string },
  ): void {
    const { bytes, position, fault, path } = write;
    const room = Math.max(0, this.capacityBytes - this.usedBytes) + Math.max(0, content.bytes - position);
    const arriving = Math.min(bytes.length, room, fault ? (fault.writtenBytes ?? 0) : bytes.length);
    content.write(bytes.subarray(0, arriving), position);
    if (fault) throw new SimDiskFault(fault.code, { kind: 'write', path });
    if (arriving < bytes.length) throw new SimDiskFault('ENOSPC', { kind: 'write', path });
  }

  /** Counts the operation; gives the fault it is to meet. Faults that have no shades are thrown at once. */
  async #take(operation: SimOperation): Promise<SimFault | undefined> {
    await this.before?.(operation);
    if (this.halted) throw new SimDiskFault('EIO', operation);
    this.#operations++;
    const index = this.#faults.findIndex(({ kind }) => kind === operation.kind);
    if (index < 0) return undefined;
    const fault = this.#faults.splice(index, 1)[0]?.fault;
    const shaded = ['read', 'write', 'datasync', 'truncate', 'syncDirectory'].includes(operation.kind);
    if (fault && !shaded) throw new SimDiskFault(fault.code, operation);
    return fault;
  }

  #contentOf(path: string): SimContent | undefined {
    return this.#directories.get(directoryName(path))?.names.get(baseName(path));
  }

  #change(path: string, change: NameChange): void {
    const directory = this.#directories.get(directoryName(path));
    if (!directory) throw new SimDiskFault('ENOENT', { kind: 'open', path });
    applyChange(directory.names, change);
    directory.changes.push(change);
  }
}

function applyChange(names: Map<string, SimContent>, change: NameChange): void {
  for (const [name, content] of change) {
    if (content) names.set(name, content);
    else names.delete(name);
  }
}

function directoryName(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
