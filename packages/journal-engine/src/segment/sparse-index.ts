// Where in a segment an offset or a time may be found: one entry per so many bytes of log, in memory.
//
// Invariants:
//   X1. Entries rise strictly in offset and position, and never fall in time: storage gives monotonic times.
//   X2. Every entry is the beginning of a batch. A reader that starts there passes over one interval at most.

import { assert } from '@robustmq/stdx/assert';

const FIELDS = 3;

export interface IndexEntry {
  readonly offset: number;
  readonly position: number;
  readonly timestampMs: number;
}

export class SparseIndex {
  readonly #intervalBytes: number;
  /** offset, position, time; offset, position, time; ... Doubles hold every safe integer. */
  #entries: Float64Array;
  #count = 0;

  constructor(intervalBytes: number, initialEntries = 16) {
    this.#intervalBytes = intervalBytes;
    this.#entries = new Float64Array(initialEntries * FIELDS);
  }

  get count(): number {
    return this.#count;
  }

  at(index: number): IndexEntry {
    assert(index >= 0 && index < this.#count, 'an index entry exists');
    const base = index * FIELDS;
    const [offset, position, timestampMs] = this.#entries.subarray(base, base + FIELDS) as unknown as [
      number,
      number,
      number,
    ]; // FIELDS numbers per entry
    return { offset, position, timestampMs };
  }

  /** To be told of every batch in order; takes one per interval. */
  add(offset: number, position: number, timestampMs: number): void {
    if (this.#count > 0 && position - this.#field(this.#count - 1, 1) < this.#intervalBytes) return;
    this.put({ offset, position, timestampMs });
  }

  /** Takes the entry whatever the interval: for what was read back from a sidecar. */
  put({ offset, position, timestampMs }: IndexEntry): void {
    assert(this.#count === 0 || position > this.#field(this.#count - 1, 1), 'index positions rise'); // X1
    const base = this.#count * FIELDS;
    if (base === this.#entries.length) this.#grow();
    this.#entries[base] = offset;
    this.#entries[base + 1] = position;
    this.#entries[base + 2] = timestampMs;
    this.#count++;
  }

  /** The position of a batch that begins at or before the offset; 0 when none is indexed. */
  positionOf(offset: number): number {
    const found = this.#lastBelow(0, offset + 1);
    return found < 0 ? 0 : this.#field(found, 1);
  }

  /** The last batch indexed that begins at or before the offset. */
  entryFor(offset: number): IndexEntry | undefined {
    const found = this.#lastBelow(0, offset + 1);
    return found < 0 ? undefined : this.at(found);
  }

  /** An offset all records before which are older than the time; undefined when none is indexed. */
  offsetBefore(timestampMs: number): number | undefined {
    const found = this.#lastBelow(2, timestampMs);
    return found < 0 ? undefined : this.#field(found, 0);
  }

  /** The last entry whose field is below the bound, or -1. */
  #lastBelow(field: number, bound: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#field(middle, field) < bound) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #field(index: number, field: number): number {
    return this.#entries[index * FIELDS + field] as number; // index < count
  }

  #grow(): void {
    const larger = new Float64Array(this.#entries.length * 2);
    larger.set(this.#entries);
    this.#entries = larger;
  }
}
