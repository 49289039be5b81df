// Bytes that many clients get alike, gathered once for all of them.
//
// A message of QoS 0 to two hundred subscribers is two hundred times the same frame. A SharedBatch holds
// the frames of one turn for one fixed set of outboxes: a frame is copied once, and each outbox writes a
// view of the same memory. An outbox that gets bytes of its own in between leaves the batch at that point
// and rejoins with the next frame, so that the order within each connection holds (O1 of outbox.ts).
//
//   B1. Every member is in exactly one of: joined (its newest segment is open on this batch) or in #apart.
//   B2. Memory that a view was given of is not written again: after a turn the batch goes on behind it.

import type { WriteTurn } from './write-turn.js';

const FIRST_BYTES = 4 * 1024;
/** A view of more is handed out before the batch goes on in new memory: bounds what one slow socket pins. */
const BYTES_MAX = 256 * 1024;

/** An outbox, as a batch sees it. */
export interface BatchMember {
  readonly closed: boolean;
  readonly congested: boolean;
  /** Bytes of the batch from `from` on are the member's too, until it calls left(). */
  joinShared(batch: SharedBatch, from: number): void;
}

export class SharedBatch {
  readonly #turn: WriteTurn;
  readonly #onDropped: ((members: number) => void) | undefined;
  #buffer: Buffer = Buffer.alloc(0);
  #length = 0;
  #apart: BatchMember[];
  #skipped: BatchMember[] = [];
  #view: { readonly from: number; readonly to: number; readonly buffer: Buffer; readonly bytes: Buffer } | undefined;
  #joined = 0;

  /**
   * `members` get every frame, until the batch is abandoned for another set. `onDropped` hears how many
   * members were passed over with a frame because their sockets are congested.
   */
  constructor(
    turn: WriteTurn,
    options: { readonly members: readonly BatchMember[]; readonly onDropped?: (members: number) => void },
  ) {
    this.#turn = turn;
    this.#apart = [...options.members];
    this.#onDropped = options.onDropped;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies source[start, end) for every member that is not congested. */
  append(source: Buffer, start: number, end: number): void {
    const length = end - start;
    this.#makeRoom(length);
    if (this.#apart.length > 0) this.#rejoin();
    if (this.#skipped.length > 0) this.#onDropped?.(this.#skipped.length);
    if (this.#joined === 0) return;
    source.copy(this.#buffer, this.#length, start, end);
    this.#length += length;
  }

  /** The bytes [from, to); the same object for everybody who asks for the same range. */
  view(from: number, to: number): Buffer {
    const cached = this.#view;
    if (cached && cached.from === from && cached.to === to && cached.buffer === this.#buffer) return cached.bytes;
    const bytes = this.#buffer.subarray(from, to);
    this.#view = { from, to, buffer: this.#buffer, bytes };
    return bytes;
  }

  /** Called by a member that closes its segment: own bytes follow, or it is flushed or closed. */
  left(outbox: BatchMember): void {
    this.#apart.push(outbox); // B1
    this.#joined--;
  }

  #rejoin(): void {
    const apart = this.#apart;
    this.#apart = [];
    for (const outbox of apart) {
      if (outbox.closed) continue; // gone for good
      if (outbox.congested) this.#skipped.push(outbox);
      else {
        this.#joined++;
        outbox.joinShared(this, this.#length); // B1
      }
    }
  }

  #makeRoom(length: number): void {
    // Nobody is joined at the start of a turn: everybody was flushed. Those passed over are asked again.
    if (this.#joined === 0 && this.#skipped.length > 0) {
      this.#apart.push(...this.#skipped);
      this.#skipped = [];
    }
    if (this.#buffer.length - this.#length >= length) return;
    if (this.#joined === 0) {
      this.#buffer = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, length, Math.min(BYTES_MAX, this.#buffer.length)));
      this.#length = 0;
      return;
    }
    if (this.#length + length > BYTES_MAX) {
      this.#turn.flushAll(); // everybody joined has been scheduled, and leaves
      this.#makeRoom(length);
      return;
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger; // positions stay valid; views given before keep the smaller buffer
  }
}
