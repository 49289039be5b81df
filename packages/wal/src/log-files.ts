import { storeCheckpoint } from './checkpoint-file.js';
import type { Disk, DiskFile } from './disk/disk.js';
import { datasyncOnce, syncDirectoryOnce } from './disk/final-sync.js';
import type { ResolvedWalOptions } from './options.js';

/** A file that holds frames, oldest first in `LogFiles`. */
export interface LiveFile {
  readonly number: number;
  /** The sequence of its first frame, or the one its first frame will get. */
  readonly firstSequence: number;
}

/** The file that is written. */
interface TailFile extends LiveFile {
  readonly file: DiskFile;
  /** No frame may end beyond this. */
  readonly capacity: number;
  /** Bytes that exist in the file, zeros and old frames included. */
  allocated: number;
  /** Where the next frame goes. */
  position: number;
}

const FILE_NAME = /^(\d{10})\.wal$/;

export function logFileName(number: number): string {
  return `${String(number).padStart(10, '0')}.wal`;
}

/** The numbers of the log files among these names, rising. */
export function logFileNumbers(names: readonly string[]): number[] {
  return names.flatMap((name) => {
    const number = FILE_NAME.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
}

/**
 * The files of one log: the live ones, the one that is written, and those that wait to be used again.
 *
 * Invariants:
 *   L1. The numbers of live files follow one another; a number is the generation of the frames in its file and is
 *       never given to two files that hold frames of it.
 *   L2. A file is used again only after the checkpoint that no longer needs it is durable.
 *   L3. The name of the file that is written was made durable before its first frame.
 */
export class LogFiles {
  readonly #disk: Disk;
  readonly #options: ResolvedWalOptions;
  readonly #zeros: Buffer;
  #live: LiveFile[];
  #free: number[];
  #tail: TailFile | undefined;
  #lastNumber: number;

  constructor(
    disk: Disk,
    options: ResolvedWalOptions,
    found: { live: LiveFile[]; free: number[]; lastNumber: number },
  ) {
    this.#disk = disk;
    this.#options = options;
    this.#zeros = Buffer.alloc(options.growBytes);
    this.#live = found.live;
    this.#free = found.free;
    this.#lastNumber = found.lastNumber;
  }

  get live(): readonly LiveFile[] {
    return this.#live;
  }

  get freeCount(): number {
    return this.#free.length;
  }

  /** Bytes of frames the file that is written can still take; 0 when there is none. */
  get room(): number {
    return this.#tail ? this.#tail.capacity - this.#tail.position : 0;
  }

  /** Where the next frame goes. Only when `room` is not 0. */
  get place(): { generation: number; position: number } {
    return { generation: this.#tail?.number ?? 0, position: this.#tail?.position ?? 0 };
  }

  path(number: number): string {
    return `${this.#options.directory}/${logFileName(number)}`;
  }

  /** Goes on in the last live file, which replay found to end at `position`. */
  async resume(position: number): Promise<void> {
    const last = this.#live.at(-1);
    if (!last) return;
    const file = await this.#disk.open(this.path(last.number), 'read-write');
    const allocated = await file.size();
    this.#tail = { ...last, file, position, allocated, capacity: Math.max(this.#options.fileBytes, position) };
  }

  /** Begins the next file, for a first frame of `sequence` and `firstBytes`. */
  async roll(sequence: number, firstBytes: number): Promise<void> {
    const { directory, fileBytes } = this.#options;
    const number = this.#lastNumber + 1; // L1
    const path = this.path(number);
    const recycled = firstBytes <= fileBytes ? this.#free.shift() : undefined;
    if (recycled !== undefined) await this.#disk.rename(this.path(recycled), path);
    const file = await this.#disk.open(path, 'read-write');
    await syncDirectoryOnce(this.#disk, directory); // L3
    const allocated = await file.size();
    const previous = this.#tail;
    this.#lastNumber = number;
    this.#live.push({ number, firstSequence: sequence });
    const capacity = Math.max(fileBytes, firstBytes);
    this.#tail = { number, firstSequence: sequence, file, capacity, allocated, position: 0 };
    await previous?.file.close();
  }

  /** Writes at the tail and moves it; where the file is shorter, zeros follow in the same write. */
  async write(parts: Uint8Array[], bytes: number): Promise<void> {
    const tail = this.#openTail();
    const end = tail.position + bytes;
    if (end > tail.allocated) {
      const { growBytes } = this.#options;
      const grown = Math.min(Math.ceil(end / growBytes) * growBytes, Math.max(tail.capacity, end));
      await tail.file.write([...parts, this.#zeros.subarray(0, grown - end)], tail.position);
      tail.allocated = grown;
    } else {
      await tail.file.write(parts, tail.position);
    }
    tail.position = end;
  }

  async datasync(): Promise<void> {
    await datasyncOnce(this.#openTail().file);
  }

  /** After a write that did not succeed: removes what of it may be in the file, durably. */
  async cut(): Promise<void> {
    const tail = this.#tail;
    if (!tail) return;
    await tail.file.truncate(tail.position);
    await datasyncOnce(tail.file);
    tail.allocated = tail.position;
  }

  /** Makes durable that frames below `firstNeeded` may go; resolves with the number of the first file that stays. */
  async storeCheckpoint(firstNeeded: number, durable: number): Promise<number> {
    const oldest = this.#live.findLast((file) => file.firstSequence <= firstNeeded);
    const { number: firstFile, firstSequence } = oldest ?? { number: this.#lastNumber + 1, firstSequence: durable };
    const firstFileSequence = firstSequence;
    await storeCheckpoint(this.#disk, this.#options.directory, { firstFile, firstFileSequence, firstNeeded, durable });
    return firstFile;
  }

  /** Sets the files before `number` free (L2: the caller has made the checkpoint durable). */
  async release(number: number): Promise<void> {
    const released = this.#live.filter((file) => file.number < number);
    this.#live = this.#live.filter((file) => file.number >= number);
    for (const file of released) await this.#keepOrRemove(file.number);
  }

  async close(): Promise<void> {
    const tail = this.#tail;
    this.#tail = undefined;
    await tail?.file.close();
  }

  async #keepOrRemove(number: number): Promise<void> {
    if (this.#free.length < this.#options.recycledFilesMax && (await this.#isFullSize(number))) {
      this.#free.push(number);
    } else {
      await this.#disk.remove(this.path(number));
    }
  }

  /** A file made for one large frame is not kept: it would hold its size for ever. */
  async #isFullSize(number: number): Promise<boolean> {
    const file = await this.#disk.open(this.path(number), 'read');
    try {
      return (await file.size()) <= this.#options.fileBytes;
    } finally {
      await file.close();
    }
  }

  #openTail(): TailFile {
    if (!this.#tail) throw new TypeError('no file is open for writing'); // the caller rolls first
    return this.#tail;
  }
}
