// What waits to be written to one client.
//
// Encoded packets are gathered and handed to the transport once per turn of the event loop (write-turn.ts):
// small ones are copied side by side into one buffer, large ones are written from where they lie, and what
// many clients get alike is gathered once for all of them (shared-batch.ts).
//
//   O1. Bytes leave in the order they were written, also between own bytes and those of shared batches.
//   O2. A referenced buffer must not change after it was written: the socket may hold it for long.
//   O3. After close() nothing is gathered; a write is a no-op, so that senders need not ask.
//   O4. Gathered bytes are bounded: above FLUSH_EARLY_BYTES they go to the transport within the turn, and
//       above `bytesMax` waiting in the transport the connection is given up (onOverflow).

import type { PublishFrame } from '../codec/publish-frame.js';
import type { BatchMember, SharedBatch } from './shared-batch.js';
import type { ClientTransport } from './transport.js';
import type { Flushable, WriteTurn } from './write-turn.js';

export interface OutboxLimits {
  /** Above this many bytes that the kernel has not taken, the outbox is congested. */
  readonly highWaterBytes: number;
  /** Above this many, the client is given up as a consumer that does not read. */
  readonly bytesMax: number;
}

export interface OutboxOwner {
  /** The outbox was congested and everything has left. */
  onWritable(): void;
  /** Became congested. */
  onCongested(): void;
  /** O4: more than `bytesMax` wait. The owner closes the connection. */
  onOverflow(pendingBytes: number): void;
}

/** From this size on a copy costs more than one more buffer in the write. */
export const BY_REFERENCE_BYTES = 4096;

const FLUSH_EARLY_BYTES = 256 * 1024;
const FIRST_RANGE_BYTES = 256;
const LARGEST_RANGE_BYTES = 32 * 1024;

export class Outbox implements Flushable, BatchMember {
  readonly #transport: ClientTransport;
  /** What all outboxes of a broker are flushed by; shared batches need it too. */
  readonly turn: WriteTurn;
  readonly #limits: OutboxLimits;
  readonly #owner: OutboxOwner;

  #slab: Buffer | undefined;
  #start = 0;
  #position = 0;
  #end = 0;
  /** What is complete, in order; the open range or the open part of a shared batch follows it. Never both. */
  #segments: Buffer[] | undefined;
  #shared: SharedBatch | undefined;
  #sharedFrom = 0;
  /** Own bytes gathered in this turn. */
  #gathered = 0;
  /** What the last turn needed, so that the next begins with a range of that size. */
  #expected = FIRST_RANGE_BYTES;
  #state: 'idle' | 'scheduled' | 'closed' = 'idle';

  /** More than the high-water mark waits in the transport; false again when all of it has left. */
  congested = false;

  constructor(
    transport: ClientTransport,
    deps: { readonly turn: WriteTurn; readonly limits: OutboxLimits; readonly owner: OutboxOwner },
  ) {
    this.#transport = transport;
    this.turn = deps.turn;
    this.#limits = deps.limits;
    this.#owner = deps.owner;
  }

  /** Own bytes gathered in this turn and those the kernel has not taken. */
  get pendingBytes(): number {
    return this.#gathered + this.#transport.pendingBytes;
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** A whole encoded packet. Copied when small; otherwise kept by reference (O2). */
  write(packet: Buffer): void {
    if (packet.length < BY_REFERENCE_BYTES) this.writeRange(packet, 0, packet.length);
    else this.#appendReference(packet);
  }

  /** Copies source[start, end). */
  writeRange(source: Buffer, start: number, end: number): void {
    if (this.#state === 'closed') return; // O3
    const length = end - start;
    const at = this.#reserve(length);
    const slab = this.#slab as Buffer; // reserve() has just set it
    if (length < 48)
      for (let from = start, to = at; from < end; from++, to++) slab[to] = source[from] as number; // a call of copy() costs more
    else source.copy(slab, at, start, end);
    if (this.#gathered > FLUSH_EARLY_BYTES) this.flush(); // O4
  }

  /** An acknowledgement of four bytes: PUBACK, PUBREC, PUBREL or PUBCOMP with reason code 0. */
  writeAck(firstByte: number, packetId: number): void {
    if (this.#state === 'closed') return; // O3
    const at = this.#reserve(4);
    const slab = this.#slab as Buffer; // reserve() has just set it
    slab[at] = firstByte;
    slab[at + 1] = 2;
    slab[at + 2] = packetId >>> 8;
    slab[at + 3] = packetId & 0xff;
  }

  /**
   * A PUBLISH that was encoded once for many: its packet id, two bytes at `packetIdAt`, is this client's.
   * Only the part up to the packet id is copied when the frame is large; the rest goes by reference (O2).
   */
  writePatched(frame: Buffer, packetIdAt: number, packetId: number): void {
    if (this.#state === 'closed') return; // O3
    const large = frame.length >= BY_REFERENCE_BYTES;
    const copied = large ? packetIdAt + 2 : frame.length;
    const at = this.#reserve(copied);
    const slab = this.#slab as Buffer; // reserve() has just set it
    if (copied < 48)
      for (let i = 0; i < copied; i++) slab[at + i] = frame[i] as number; // a call of copy() costs more
    else frame.copy(slab, at, 0, copied);
    slab[at + packetIdAt] = packetId >>> 8;
    slab[at + packetIdAt + 1] = packetId & 0xff;
    if (large) this.#appendReference(frame.subarray(copied));
    else if (this.#gathered > FLUSH_EARLY_BYTES) this.flush(); // O4
  }

  /** A PUBLISH with its packet id, 0 at QoS 0; a payload that stays outside the frame goes by reference (O2). */
  writeFrame(frame: PublishFrame, packetId: number): void {
    if (frame.packetIdAt === 0) this.write(frame.head);
    else this.writePatched(frame.head, frame.packetIdAt, packetId);
    if (frame.payload !== undefined) this.#appendReference(frame.payload);
  }

  /** Called by a SharedBatch whose bytes from `from` on belong to this client too, until own bytes follow (O1). */
  joinShared(batch: SharedBatch, from: number): void {
    if (this.#state === 'closed') return; // O3
    this.#closeShared();
    this.#closeRange();
    this.#shared = batch;
    this.#sharedFrom = from;
    this.#schedule();
  }

  /** Hands everything gathered to the transport. */
  flush(): void {
    if (this.#state === 'closed') return;
    this.#state = 'idle';
    const segments = this.#segments;
    if (segments === undefined) {
      const only = this.#takeShared() ?? this.#takeRange();
      this.#endTurn();
      if (only === undefined || only.length === 0) return;
      this.turn.bytesWritten += only.length;
      this.#transport.write(only);
    } else {
      this.#closeShared();
      this.#closeRange();
      this.#segments = undefined;
      this.#endTurn();
      for (const segment of segments) this.turn.bytesWritten += segment.length;
      this.#transport.writeAll(segments);
    }
    this.#checkPending();
  }

  /** To be called by the owner when the transport has drained. */
  drained(): void {
    if (!this.congested || this.#state === 'closed') return;
    if (this.#transport.pendingBytes > 0) return;
    this.congested = false;
    this.#owner.onWritable();
  }

  /** What was gathered is dropped; nothing is gathered any more. Flush first what should still leave. */
  close(): void {
    this.#takeShared();
    this.#state = 'closed'; // O3
    this.#slab = undefined;
    this.#segments = undefined;
    this.#gathered = 0;
  }

  #reserve(length: number): number {
    if (this.#shared !== undefined) this.#closeShared(); // O1
    if (this.#slab === undefined || this.#end - this.#position < length) this.#openRange(length);
    if (this.#state === 'idle') this.#schedule();
    const at = this.#position;
    this.#position += length;
    this.#gathered += length;
    return at;
  }

  #schedule(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'scheduled';
    this.turn.schedule(this);
  }

  #openRange(length: number): void {
    const wanted = Math.max(length, this.#expected);
    if (this.#slab !== undefined && this.turn.extend(this.#slab, { end: this.#end, by: wanted }) === 'extended') {
      this.#end += wanted;
      return;
    }
    this.#closeRange();
    this.#start = this.turn.take(wanted);
    this.#slab = this.turn.slab;
    this.#position = this.#start;
    this.#end = this.#start + wanted;
    this.#expected = Math.min(LARGEST_RANGE_BYTES, this.#expected * 2);
  }

  #appendReference(bytes: Buffer): void {
    if (this.#state === 'closed') return; // O3
    this.#closeShared(); // O1
    this.#closeRange();
    this.#push(bytes);
    this.#schedule();
    this.#gathered += bytes.length;
    if (this.#gathered > FLUSH_EARLY_BYTES) this.flush(); // O4
  }

  #push(segment: Buffer): void {
    if (segment.length === 0) return;
    if (this.#segments === undefined) this.#segments = [segment];
    else this.#segments.push(segment);
  }

  /** What was copied so far, which ends the open range. */
  #takeRange(): Buffer | undefined {
    const slab = this.#slab;
    if (slab === undefined) return undefined;
    this.#slab = undefined;
    this.turn.giveBack(slab, { usedTo: this.#position, end: this.#end });
    return slab.subarray(this.#start, this.#position);
  }

  #closeRange(): void {
    const bytes = this.#takeRange();
    if (bytes !== undefined) this.#push(bytes);
  }

  /** What the shared batch holds for this client so far, which ends its part in it. */
  #takeShared(): Buffer | undefined {
    const batch = this.#shared;
    if (batch === undefined) return undefined;
    this.#shared = undefined;
    batch.left(this);
    return batch.view(this.#sharedFrom, batch.length);
  }

  #closeShared(): void {
    const bytes = this.#takeShared();
    if (bytes !== undefined) this.#push(bytes);
  }

  #endTurn(): void {
    // What this turn needed or half the last guess: rises at once, falls slowly, idles at the smallest.
    const wanted = Math.max(this.#gathered, this.#expected >>> 1);
    this.#expected = Math.min(LARGEST_RANGE_BYTES, Math.max(FIRST_RANGE_BYTES, wanted));
    this.#gathered = 0;
  }

  #checkPending(): void {
    const pending = this.#transport.pendingBytes;
    if (pending <= this.#limits.highWaterBytes) return;
    if (!this.congested) {
      this.congested = true;
      this.#owner.onCongested();
    }
    if (pending > this.#limits.bytesMax) this.#owner.onOverflow(pending); // O4
  }
}
