// What each message carries, so that the receiver can judge it without any other channel. Little endian:
//
//   0   u32  mark: MARK plus the run, so that messages of another run or program are told apart
//   4   u32  publisher, from 0
//   8   f64  sequence of that publisher, from 0; exact up to 2^53
//   16  f64  when the message was due, in milliseconds of the machine's monotonic clock
//   24       filled with letters

export const PAYLOAD_HEADER_BYTES = 24;

const MARK = 0x52_42_4d_00; // "RBM"
const FIRST_LETTER = 0x61;
const LETTERS = 26;

/** Runs are told apart by 24 bits. */
export function markOf(run: number): number {
  return (MARK + (run % 0x100_0000)) >>> 0;
}

/** A payload whose sequence and time are still to be written. */
export function blankPayload(bytes: number, origin: { readonly mark: number; readonly publisher: number }): Buffer {
  const payload = Buffer.alloc(Math.max(bytes, PAYLOAD_HEADER_BYTES));
  for (let at = PAYLOAD_HEADER_BYTES; at < payload.length; at++) payload[at] = FIRST_LETTER + (at % LETTERS);
  payload.writeUInt32LE(origin.mark, 0);
  payload.writeUInt32LE(origin.publisher, 4);
  return payload;
}

/** Writes sequence and due time into the payload that begins at `at`. */
export function stampPayload(
  target: Buffer,
  at: number,
  stamp: { readonly sequence: number; readonly dueMs: number },
): void {
  target.writeDoubleLE(stamp.sequence, at + 8);
  target.writeDoubleLE(stamp.dueMs, at + 16);
}

/** Whether a payload at [at, end) is of the run with this mark; only then the others below may be asked. */
export function isMarked(source: Buffer, range: { readonly at: number; readonly end: number }, mark: number): boolean {
  return range.end - range.at >= PAYLOAD_HEADER_BYTES && source.readUInt32LE(range.at) === mark;
}

export function publisherOf(source: Buffer, at: number): number {
  return source.readUInt32LE(at + 4);
}

export function sequenceOf(source: Buffer, at: number): number {
  return source.readDoubleLE(at + 8);
}

export function dueMsOf(source: Buffer, at: number): number {
  return source.readDoubleLE(at + 16);
}
