/** The bytes end before the value does. What that means is the caller's to say: torn, corrupt or malformed. */
export class UnexpectedEnd extends Error {
  override readonly name = 'UnexpectedEnd';
  constructor(wanted: number, left: number) {
    super(`${wanted} bytes wanted, ${left} left`);
  }
}

/** Reads explicit-width, big-endian values; the mirror of ByteWriter. Throws UnexpectedEnd past the end. */
export class ByteReader {
  readonly #buffer: Buffer;
  #at: number;

  constructor(bytes: Uint8Array, start = 0) {
    this.#buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  get position(): number {
    return this.#at;
  }

  get left(): number {
    return this.#buffer.length - this.#at;
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#buffer.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  /** A whole number in eight bytes; beyond 2^53 - 1 it is refused, because no field of ours holds more. */
  u64(): number {
    const at = this.#take(8);
    const value = this.#buffer.readUInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw new RangeError(`a 64-bit field beyond 2^53 at byte ${at}`);
    return value;
  }

  /** A view, not a copy. */
  bytes(): Buffer {
    return this.raw(this.u32());
  }

  string(): string {
    const size = this.u32();
    const at = this.#take(size);
    return this.#buffer.toString('utf8', at, at + size);
  }

  /** A view, not a copy. */
  raw(length: number): Buffer {
    const at = this.#take(length);
    return this.#buffer.subarray(at, at + length);
  }

  #take(bytes: number): number {
    if (bytes > this.left) throw new UnexpectedEnd(bytes, this.left);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }
}
