import type { Prng } from '@robustmq/stdx/prng';

export const SECTOR_BYTES = 512;

/**
 * The content of one simulated file twice: as the page cache shows it, and as the medium holds it. They differ in the
 * sectors written since the last sync; a sector is written whole or not at all.
 */
export class SimContent {
  #cached: Buffer = Buffer.alloc(0);
  #cachedBytes = 0;
  #stored: Buffer = Buffer.alloc(0);
  #storedBytes = 0;
  readonly #dirty = new Set<number>();

  get bytes(): number {
    return this.#cachedBytes;
  }

  get dirtySectors(): number {
    return this.#dirty.size;
  }

  read(into: Uint8Array, position: number): number {
    const end = Math.min(this.#cachedBytes, position + into.length);
    if (end <= position) return 0;
    into.set(this.#cached.subarray(position, end));
    return end - position;
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    const end = position + bytes.length;
    this.#cached = grown(this.#cached, end);
    this.#cached.set(bytes, position);
    this.#cachedBytes = Math.max(this.#cachedBytes, end);
    this.#markDirty(position, end);
  }

  truncate(bytes: number): void {
    this.#cached = grown(this.#cached, bytes);
    if (bytes < this.#cachedBytes) {
      this.#cached.fill(0, bytes, this.#cachedBytes);
      this.#markDirty(bytes, this.#cachedBytes);
    }
    this.#cachedBytes = bytes;
  }

  /** What the cache shows reaches the medium. */
  sync(): void {
    this.#stored = grown(this.#stored, this.#cachedBytes);
    for (const sector of this.#dirty) this.#store(sector);
    this.#storedBytes = this.#cachedBytes;
    this.#dirty.clear();
  }

  /** A sync that failed the way Linux fails: the pages count as clean from now on, the medium has nothing of them. */
  dropDirty(): void {
    this.#dirty.clear();
  }

  /** Power is lost: each dirty sector reached the medium with the given probability, the new size as well. */
  crash(prng: Prng, keep: number): void {
    const kept = [...this.#dirty].filter(() => prng.chance(keep));
    const sizes = [this.#storedBytes, this.#cachedBytes];
    const bytes = prng.chance(keep) ? this.#cachedBytes : prng.between(Math.min(...sizes), Math.max(...sizes));
    this.#stored = grown(this.#stored, Math.max(bytes, this.#cachedBytes));
    for (const sector of kept) this.#store(sector);
    this.#storedBytes = bytes;
    this.#stored.fill(0, bytes);
    this.#cached = Buffer.from(this.#stored.subarray(0, bytes));
    this.#cachedBytes = bytes;
    this.#dirty.clear();
  }

  /** Damage of the medium, seen by every later read. */
  flipBit(position: number, bit: number): void {
    for (const side of [this.#cached, this.#stored]) {
      if (position < side.length) side[position] = (side[position] ?? 0) ^ (1 << bit);
    }
  }

  #store(sector: number): void {
    const from = sector * SECTOR_BYTES;
    const to = Math.min(from + SECTOR_BYTES, this.#cached.length);
    if (from >= to) return;
    this.#stored = grown(this.#stored, to);
    this.#cached.copy(this.#stored, from, from, to);
  }

  #markDirty(from: number, to: number): void {
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < to; sector++) this.#dirty.add(sector);
  }
}

function grown(buffer: Buffer, bytes: number): Buffer {
  if (bytes <= buffer.length) return buffer;
  const larger = Buffer.alloc(Math.max(bytes, buffer.length * 2));
  buffer.copy(larger);
  return larger;
}
