// One write per socket and turn of the event loop (D10).
//
// Outboxes that got bytes in this turn are remembered and flushed together in its check phase, after every
// readable socket of the turn was read. This is the documented use of setImmediate through the clock.
//
// Memory for small frames comes from slabs shared by all outboxes: a connection that is idle holds none.
//
//   W1. A range taken from a slab is written by its taker only, and by nobody once it was flushed.
//   W2. A slab is never reused: sockets hold views of it until the kernel has taken their bytes.

import { assert } from '@robustmq/stdx/assert';
import type { Clock } from '@robustmq/stdx/clock';

export interface Flushable {
  /** Hands what was gathered to the transport. Must not throw. */
  flush(): void;
}

/** Large enough that a busy turn allocates a few, small enough that a slow socket pins little with its rest. */
const SLAB_BYTES = 64 * 1024;

export class WriteTurn {
  readonly #clock: Clock;
  #dirty: Flushable[] = [];
  /** An emptied list to use next, so that a turn allocates none. */
  #spare: Flushable[] | undefined;
  #scheduled: 'no' | 'yes' = 'no';
  readonly #flushAll = (): void => this.flushAll();
  slab: Buffer = Buffer.alloc(0);
  #taken = 0;
  /** Bytes handed to transports, of all outboxes. */
  bytesWritten = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called once per turn and outbox: it is flushed before the next turn reads. */
  schedule(flushable: Flushable): void {
    this.#dirty.push(flushable);
    if (this.#scheduled === 'yes') return;
    this.#scheduled = 'yes';
    this.#clock.setImmediate(this.#flushAll);
  }

  /** Everything gathered so far goes out now. Tests and shut-down call it; otherwise the turn does. */
  flushAll(): void {
    this.#scheduled = 'no';
    const flushing = this.#dirty;
    this.#dirty = this.#spare ?? []; // a flush may schedule again, and may call this again
    this.#spare = undefined;
    for (const flushable of flushing) flushable.flush();
    flushing.length = 0;
    this.#spare = flushing;
  }

  /** Reserves `length` bytes of `slab` and returns where they begin (W1). A new slab may be in place afterwards. */
  take(length: number): number {
    if (this.slab.length - this.#taken < length) {
      this.slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length)); // W2
      this.#taken = 0;
    }
    const start = this.#taken;
    this.#taken += length;
    return start;
  }

  /** Gives back the unused end of a range, where nothing was taken after it. */
  giveBack(slab: Buffer, range: { readonly usedTo: number; readonly end: number }): void {
    if (slab !== this.slab || range.end !== this.#taken) return;
    assert(range.usedTo <= range.end, 'a range is not used beyond its end'); // W1
    this.#taken = range.usedTo;
  }

  /** Lengthens a range in place where nothing was taken after it. */
  extend(slab: Buffer, range: { readonly end: number; readonly by: number }): 'extended' | 'full' {
    if (slab !== this.slab || range.end !== this.#taken || slab.length - range.end < range.by) return 'full';
    this.#taken += range.by;
    return 'extended';
  }
}
