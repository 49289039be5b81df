// The newest batches of all shards, in memory, within one bound, so that tail readers never touch the disk.
//
// Invariants:
//   T1. Batches leave in the order they came, over all shards: what a shard keeps is a suffix of it.
//   T2. A batch that is not in its segment file yet never leaves: a reader finds every committed batch here
//       or there.

import type { BatchTail, StoredBatch } from './stored-batch.js';

/** One shard's part of the cache. */
export class ShardTail implements BatchTail {
  /** Undefined before the head: what has left is not kept alive. */
  #batches: (StoredBatch | undefined)[] = [];
  #head = 0;

  /** Offsets from here on are in memory; undefined when none is. */
  get start(): number | undefined {
    return this.#batches[this.#head]?.baseOffset;
  }

  /** The batches from the one that holds `offset` on; `offset` is at or behind start. */
  *from(offset: number): Generator<StoredBatch> {
    for (let i = this.#find(offset); i < this.#batches.length; i++) yield this.#batches[i] as StoredBatch; // i is within
  }

  /** The first batch appended at or after a time. */
  firstAtTime(timestampMs: number): StoredBatch | undefined {
    let low = this.#head;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle] as StoredBatch).timestampMs < timestampMs)
        low = middle + 1; // middle is within
      else high = middle;
    }
    return this.#batches[low];
  }

  push(batch: StoredBatch): void {
    this.#batches.push(batch);
  }

  /** Lets the batches before an offset go: compaction made other ones of them. */
  dropBefore(offset: number): void {
    for (let oldest = this.#batches[this.#head]; oldest && oldest.endOffset <= offset; ) {
      this.shift(oldest);
      oldest = this.#batches[this.#head];
    }
  }

  /** Lets the oldest batch go; nothing when it went before. */
  shift(batch: StoredBatch): void {
    if (this.#batches[this.#head] !== batch) return; // T1: it was dropped
    this.#batches[this.#head++] = undefined;
    if (this.#head < 64 || this.#head * 2 < this.#batches.length) return;
    this.#batches = this.#batches.slice(this.#head);
    this.#head = 0;
  }

  /** The index of the last batch that begins at or before the offset. */
  #find(offset: number): number {
    let low = this.#head;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#batches[middle] as StoredBatch).endOffset <= offset)
        low = middle + 1; // middle is within
      else high = middle;
    }
    return low;
  }
}

export class TailCache {
  readonly #bytesMax: number;
  /** Undefined before the head, as above. */
  #fifo: (StoredBatch | undefined)[] = [];
  #head = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(batch: StoredBatch): void {
    batch.tail.push(batch);
    this.#fifo.push(batch);
    this.#bytes += batch.buffer.length;
    if (this.#bytes > this.#bytesMax) this.evict();
  }

  /** Lets the oldest written batches go until the bound holds. */
  evict(): void {
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#fifo[this.#head];
      if (!oldest?.written) break; // T2
      oldest.tail.shift(oldest);
      this.#bytes -= oldest.buffer.length;
      this.#fifo[this.#head++] = undefined;
    }
    if (this.#head < 1024 || this.#head * 2 < this.#fifo.length) return;
    this.#fifo = this.#fifo.slice(this.#head);
    this.#head = 0;
  }
}
