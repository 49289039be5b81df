// The open files of all segments, with a bound on their number.
//
// Invariants:
//   O1. A file that was written since its last sync is synced before it is closed: a later descriptor might not
//       be told of a failed write-back.
//   O2. A file in use (a read, write or sync under way) is not closed.
//   O3. syncAll() resolves when everything written before the call is durable, also when others sync meanwhile.

import { join } from 'node:path';
import type { Disk, DiskFile } from '@robustmq/wal';

interface OpenFile {
  readonly file: Promise<DiskFile>;
  users: number;
  dirty: boolean;
  syncing: Promise<void> | undefined;
  removed: boolean;
}

interface Use {
  readonly mode: 'read' | 'read-write';
  readonly effect: 'none' | 'dirties';
}

const READ: Use = { mode: 'read', effect: 'none' };
const WRITE: Use = { mode: 'read-write', effect: 'dirties' };

export class SegmentFiles {
  readonly directory: string;
  readonly #disk: Disk;
  readonly #openFilesMax: number;
  /** Least recently used first. */
  readonly #open = new Map<string, OpenFile>();
  #namesChanged = false;
  #syncingNames: Promise<void> | undefined;

  constructor(disk: Disk, directory: string, openFilesMax: number) {
    this.#disk = disk;
    this.directory = directory;
    this.#openFilesMax = openFilesMax;
  }

  get openCount(): number {
    return this.#open.size;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async read(name: string, into: Uint8Array, position: number): Promise<number> {
    return await this.#use(name, READ, (file) => file.read(into, position));
  }

  async size(name: string): Promise<number> {
    return await this.#use(name, READ, (file) => file.size());
  }

  /** Creates the file when it is missing. The write is durable after syncAll(). */
  async write(name: string, parts: readonly Uint8Array[], position: number): Promise<void> {
    await this.#use(name, WRITE, (file) => file.write(parts, position));
  }

  async truncate(name: string, bytes: number): Promise<void> {
    await this.#use(name, WRITE, (file) => file.truncate(bytes));
  }

  /** Makes every write before this call durable, names included. A rejection is final (Disk D3). */
  async syncAll(concurrency = 4): Promise<void> {
    const dirty = [...this.#open.values()].filter((open) => open.dirty || open.syncing);
    const worker = async () => {
      for (let next = dirty.pop(); next; next = dirty.pop()) await this.#sync(next);
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, dirty.length) }, worker));
    await this.#syncNames();
  }

  /**
   * Writes a small file that can be made again. A reader sees it or its predecessor, whole; after a crash it may be
   * neither, so what is written carries a checksum.
   */
  async replace(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.path(`${name}.tmp`);
    const file = await this.#disk.open(temporary, 'read-write');
    try {
      await file.truncate(0);
      await file.write([bytes], 0);
    } finally {
      await file.close();
    }
    await this.#disk.rename(temporary, this.path(name));
    this.#namesChanged = true;
  }

  /** The whole of a small file; undefined when it is missing. */
  async load(name: string): Promise<Buffer | undefined> {
    if (!(await this.#disk.exists(this.path(name)))) return undefined;
    const file = await this.#disk.open(this.path(name), 'read');
    try {
      const bytes = Buffer.alloc(await file.size());
      const read = await file.read(bytes, 0);
      return bytes.subarray(0, read);
    } finally {
      await file.close();
    }
  }

  async exists(name: string): Promise<boolean> {
    return this.#open.has(name) || (await this.#disk.exists(this.path(name)));
  }

  async list(): Promise<string[]> {
    return await this.#disk.list(this.directory);
  }

  /** Removes files; missing ones count as removed. Durable on return. */
  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const open = this.#open.get(name);
      this.#open.delete(name);
      if (open) open.removed = true;
      if (open && open.users === 0) await (await open.file).close();
      if (await this.#disk.exists(this.path(name))) await this.#disk.remove(this.path(name));
    }
    if (names.length > 0) await this.#disk.syncDirectory(this.directory);
  }

  async closeAll(): Promise<void> {
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const { file } of files) await (await file).close();
  }

  async #use<T>(name: string, { mode, effect }: Use, act: (file: DiskFile) => Promise<T>): Promise<T> {
    const open = this.#acquire(name, mode);
    open.users++; // O2
    try {
      const file = await open.file;
      if (effect === 'dirties') open.dirty = true; // O1
      return await act(file);
    } finally {
      open.users--;
      if (open.removed && open.users === 0) await open.file.then((file) => file.close()).catch(() => {});
      else await this.#closeIdle(effect);
    }
  }

  #acquire(name: string, mode: 'read' | 'read-write'): OpenFile {
    const known = this.#open.get(name);
    if (known) {
      this.#open.delete(name);
      this.#open.set(name, known);
      return known;
    }
    // Always opened for both: one descriptor per segment serves its readers and its writer.
    const file = this.#openFile(name, mode);
    const open: OpenFile = { file, users: 0, dirty: false, syncing: undefined, removed: false };
    this.#open.set(name, open);
    file.catch(() => {
      if (this.#open.get(name) === open) this.#open.delete(name);
    });
    return open;
  }

  async #openFile(name: string, mode: 'read' | 'read-write'): Promise<DiskFile> {
    if (!(await this.#disk.exists(this.path(name)))) {
      if (mode === 'read') return await this.#disk.open(this.path(name), 'read'); // rejects with its own reason
      this.#namesChanged = true;
    }
    return await this.#disk.open(this.path(name), 'read-write');
  }

  /** Keeps to the bound; only a writer pays for the sync of a file that was written (O1). */
  async #closeIdle(effect: 'none' | 'dirties'): Promise<void> {
    for (const [name, open] of this.#open) {
      if (this.#open.size <= this.#openFilesMax) return;
      if (open.users > 0 || (open.dirty && effect === 'none')) continue; // O2
      if (open.dirty) await this.#sync(open);
      if (open.users > 0 || open.dirty || this.#open.get(name) !== open) continue; // somebody came meanwhile
      this.#open.delete(name);
      await (await open.file).close();
    }
  }

  /** O3: whoever asks while a sync is under way waits for it, and for another one if the file was written since. */
  async #sync(open: OpenFile): Promise<void> {
    while (open.syncing) await open.syncing;
    if (!open.dirty || open.removed) return;
    open.dirty = false; // a write that comes during the sync sets it again
    open.users++;
    open.syncing = open.file.then((file) => file.datasync());
    try {
      await open.syncing;
    } catch (error) {
      open.dirty = true;
      throw error;
    } finally {
      open.syncing = undefined;
      open.users--;
    }
  }

  /** As #sync, for names. */
  async #syncNames(): Promise<void> {
    while (this.#syncingNames) await this.#syncingNames;
    if (!this.#namesChanged) return;
    this.#namesChanged = false;
    this.#syncingNames = this.#disk.syncDirectory(this.directory);
    try {
      await this.#syncingNames;
    } catch (error) {
      this.#namesChanged = true;
      throw error;
    } finally {
      this.#syncingNames = undefined;
    }
  }
}
