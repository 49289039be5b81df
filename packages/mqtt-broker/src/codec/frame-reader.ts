// Cuts a stream of bytes into packets.
//
//   byte 1        packet type 0xF0, flags 0x0F
//   bytes 2 to 5  remaining length, a variable byte integer
//   then          that many bytes
//
// Invariants:
//   F1. A packet that lies within one chunk is decoded where it lies. Only a packet that spans chunks is
//       copied, and each of its bytes a bounded number of times: time is linear in the bytes, however
//       they are cut.
//   F2. Memory follows what was received, not what was declared: the buffer of a spanning packet doubles
//       as bytes arrive and never exceeds the packet.
//   F3. The first byte is judged when it arrives, the size when the fixed header is complete: nobody
//       waits for the end of a packet that will be refused.
//   F4. After an error nothing is decoded any more.
//   F5. The buffer of a spanning packet is given away with the packet and never written again, so views
//       of it stay true.

import { MqttError } from '../errors.js';
import { malformed } from './malformed.js';
import { PacketReader } from './packet-reader.js';
import { variableByteIntegerBytes } from './packet-writer.js';

/** idle: all whole packets are decoded; paused: bytes wait for resume(); failed: an error was thrown. */
export type FrameReaderState = 'idle' | 'paused' | 'failed';

export interface FrameLimits {
  /** A whole packet, fixed header included, in bytes. */
  readonly packetBytesMax: number;
  /** What may arrive while paused before the connection is given up, in bytes. */
  readonly pausedBytesMax: number;
}

const SMALLEST_SPAN_BYTES = 64;
const FIXED_HEADER_BYTES_MAX = 5;

// Decoding is synchronous and hands a packet on only when all of it is read, so one cursor serves all
// connections, also when a handler feeds another decoder.
const cursor = new PacketReader();

export abstract class FrameReader {
  protected limits: FrameLimits;
  #state: FrameReaderState = 'idle';
  /** The beginning of a packet that spans chunks, `#spanLength` bytes long so far. */
  #span: Buffer | undefined;
  #spanLength = 0;
  /** The whole length of the spanning packet; 0 while its fixed header is incomplete. */
  #spanTotal = 0;
  /** Chunks that wait while paused, the first of them from `#waitingAt` on. */
  #waiting: Buffer[] | undefined;
  #waitingAt = 0;
  #waitingBytes = 0;

  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  /** Judges a packet by its first byte; throws MqttError. */
  protected abstract acceptFirstByte(first: number): void;

  /** Decodes one packet, of which the reader holds the part after the fixed header; throws MqttError. */
  protected abstract decodePacket(first: number, reader: PacketReader): void;

  get state(): FrameReaderState {
    return this.#state;
  }

  /** Bytes held back: an incomplete packet and what waits while paused. */
  get heldBytes(): number {
    return this.#spanLength + this.#waitingBytes;
  }

  /** Takes the next bytes of the stream. Throws MqttError when the peer breaks the protocol; then it is over (F4). */
  protected pushChunk(chunk: Buffer): FrameReaderState {
    if (this.#state === 'failed' || chunk.length === 0) return this.#state;
    if (this.#state === 'paused') this.#wait(chunk, 0);
    else this.#consume(chunk, 0);
    return this.#state;
  }

  /** Stops after the packet that is being handled; bytes that follow are kept. */
  pause(): void {
    if (this.#state === 'idle') this.#state = 'paused';
  }

  /** Goes on with what waited; it may be paused again on the way. */
  protected resumeChunks(): FrameReaderState {
    if (this.#state !== 'paused') return this.#state;
    this.#state = 'idle';
    const waiting = this.#waiting;
    if (waiting === undefined) return this.#state;
    let at = this.#waitingAt;
    this.#waiting = undefined;
    this.#waitingAt = 0;
    this.#waitingBytes = 0;
    for (const chunk of waiting) {
      if (this.state === 'idle') this.#consume(chunk, at);
      else this.#wait(chunk, at);
      at = 0;
    }
    return this.#state;
  }

  #consume(chunk: Buffer, from: number): void {
    try {
      const at = this.#span === undefined ? from : this.#completeSpan(chunk, from);
      if (at < chunk.length) this.#decodeInPlace(chunk, at);
    } catch (error) {
      this.#state = 'failed';
      this.#span = undefined;
      this.#waiting = undefined;
      throw error;
    }
  }

  /** The hot loop (F1): packets that lie whole in the chunk. */
  #decodeInPlace(chunk: Buffer, from: number): void {
    const length = chunk.length;
    let at = from;
    while (at < length) {
      if (this.#state === 'paused') {
        this.#wait(chunk, at);
        return;
      }
      const first = chunk[at] as number; // at < length
      this.acceptFirstByte(first); // F3
      let remaining = at + 1 < length ? (chunk[at + 1] as number) : -1; // inside the chunk
      let body = at + 2;
      if (remaining >= 0x80) {
        const header = readRemainingLength(chunk, at + 1, length);
        remaining = header;
        body = at + 1 + variableByteIntegerBytes(header);
      }
      if (remaining < 0) {
        this.#beginSpan(chunk, at, 0);
        return;
      }
      const end = body + remaining;
      if (end - at > this.limits.packetBytesMax) throw this.#tooLarge(end - at);
      if (end > length) {
        this.#beginSpan(chunk, at, end - at);
        return;
      }
      cursor.buffer = chunk;
      cursor.at = body;
      cursor.end = end;
      this.decodePacket(first, cursor);
      at = end;
    }
  }

  #beginSpan(chunk: Buffer, at: number, total: number): void {
    const have = chunk.length - at;
    const size = total === 0 ? FIXED_HEADER_BYTES_MAX : Math.min(total, Math.max(SMALLEST_SPAN_BYTES, have * 2)); // F2
    this.#span = Buffer.allocUnsafeSlow(size);
    chunk.copy(this.#span, 0, at);
    this.#spanLength = have;
    this.#spanTotal = total;
  }

  /** Fills up the spanning packet; returns where in the chunk the next one begins. */
  #completeSpan(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#spanTotal === 0 && at < chunk.length) at = this.#growHeader(chunk, at);
    if (this.#spanTotal === 0) return at;
    const take = Math.min(this.#spanTotal - this.#spanLength, chunk.length - at);
    const span = this.#roomFor(this.#spanLength + take);
    chunk.copy(span, this.#spanLength, at, at + take);
    this.#spanLength += take;
    if (this.#spanLength === this.#spanTotal) this.#decodeSpan(span);
    return at + take;
  }

  /** Adds one byte to an incomplete fixed header. */
  #growHeader(chunk: Buffer, at: number): number {
    const span = this.#span as Buffer; // only called while there is one
    span[this.#spanLength++] = chunk[at] as number; // at < chunk.length
    const remaining = readRemainingLength(span, 1, this.#spanLength);
    if (remaining >= 0) {
      this.#spanTotal = this.#spanLength + remaining;
      if (this.#spanTotal > this.limits.packetBytesMax) throw this.#tooLarge(this.#spanTotal); // F3
    }
    return at + 1;
  }

  #roomFor(bytes: number): Buffer {
    const span = this.#span as Buffer; // only called while there is one
    if (bytes <= span.length) return span;
    const size = Math.min(this.#spanTotal, Math.max(bytes, span.length * 2, SMALLEST_SPAN_BYTES)); // F2
    const larger = Buffer.allocUnsafeSlow(size);
    span.copy(larger, 0, 0, this.#spanLength);
    this.#span = larger;
    return larger;
  }

  #decodeSpan(span: Buffer): void {
    const end = this.#spanLength;
    this.#span = undefined; // F5
    this.#spanLength = 0;
    this.#spanTotal = 0;
    const remaining = readRemainingLength(span, 1, end);
    cursor.buffer = span;
    cursor.at = 1 + variableByteIntegerBytes(remaining);
    cursor.end = end;
    this.decodePacket(span[0] as number, cursor); // a packet has a first byte
  }

  #wait(chunk: Buffer, from: number): void {
    const bytes = chunk.length - from;
    if (this.#waitingBytes + bytes > this.limits.pausedBytesMax) {
      this.#state = 'failed';
      this.#waiting = undefined;
      throw new MqttError(
        'RECEIVE_BUFFER_FULL',
        `more than ${this.limits.pausedBytesMax} bytes arrived while reading was paused`,
      );
    }
    this.#waitingBytes += bytes;
    if (this.#waiting === undefined) {
      this.#waiting = [chunk];
      this.#waitingAt = from;
    } else this.#waiting.push(chunk);
  }

  #tooLarge(bytes: number): MqttError {
    return new MqttError(
      'PACKET_TOO_LARGE',
      `a packet of ${bytes} bytes, above the limit of ${this.limits.packetBytesMax}`,
      {
        clause: 'MQTT5 §3.2.2.3.6',
      },
    );
  }
}

/** The variable byte integer at `at`; -1 while bytes are missing. */
function readRemainingLength(bytes: Buffer, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + i >= end) return -1;
    const byte = bytes[at + i] as number; // at + i < end
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (byte === 0 && i > 0) throw malformed('the remaining length has more bytes than it needs', 'MQTT-1.5.5-1');
      return value;
    }
  }
  throw malformed('the remaining length has more than four bytes', 'MQTT5 §1.5.5');
}
