// One frame on disk. All numbers are big-endian; a frame starts at a multiple of 8 in its file.
//
//   byte  width  field
//      0      4  CRC-32 of bytes 4 to the end of the payload, begun with the frame's seed (below)
//      4      4  payload length in bytes
//      8      4  generation: the number in the name of the file it was written to, from 1 on
//     12      4  group place: how many frames of the same write precede this one
//     16      1  kind, the owner's
//     17      7  sequence
//     24      n  payload
//   24+n   0..7  zero bytes up to the next multiple of 8
//
// A frame of kind 3, sequence 5, payload "ab", alone in its group, at position 0 of file 1:
//   ba d8 ea 52 | 00 00 00 02 | 00 00 00 01 | 00 00 00 00 | 03 | 00 00 00 00 00 00 05 | 61 62 | six zeros
//
// Invariants:
//   F1. The seed is (generation x an odd constant) xor position. For the same bytes, two different seeds give
//       two different sums, always: each step of the CRC is a bijection of its state. So a frame left over from
//       an earlier life of a recycled file, or written to the wrong place, never validates.
//   F2. sequence - group place is the first sequence of the write the frame belongs to. When that write was
//       issued, everything below was durable. This tells a torn write from a corrupt file (replay.ts).

import { crc32 } from '@robustmq/stdx/crc32';

export const FRAME_HEADER_BYTES = 24;
export const FRAME_ALIGNMENT = 8;

/** Where a frame lies: the number of the file and the byte in it. */
export interface FramePlace {
  readonly generation: number;
  readonly position: number;
}

export interface FrameHeader {
  readonly length: number;
  readonly groupPlace: number;
  readonly kind: number;
  readonly sequence: number;
}

/** What a payload of this many bytes takes in the file. */
export function frameBytes(payloadBytes: number): number {
  return Math.ceil((FRAME_HEADER_BYTES + payloadBytes) / FRAME_ALIGNMENT) * FRAME_ALIGNMENT;
}

export function frameSeed({ generation, position }: FramePlace): number {
  return (Math.imul(generation, 0x9e3779b1) ^ position) >>> 0; // F1
}

/** Writes all of the header but the CRC. */
export function writeFrameHeader(
  into: Buffer,
  at: number,
  header: FrameHeader & { readonly generation: number },
): void {
  into.writeUInt32BE(header.length, at + 4);
  into.writeUInt32BE(header.generation, at + 8);
  into.writeUInt32BE(header.groupPlace, at + 12);
  into.writeUInt8(header.kind, at + 16);
  into.writeUIntBE(Math.floor(header.sequence / 2 ** 32), at + 17, 3);
  into.writeUInt32BE(header.sequence >>> 0, at + 20);
}

/** The header at `at`, or undefined when it is of another generation. Its CRC is not looked at. */
export function readFrameHeader(from: Buffer, at: number, generation: number): FrameHeader | undefined {
  if (from.readUInt32BE(at + 8) !== generation) return undefined;
  return {
    length: from.readUInt32BE(at + 4),
    groupPlace: from.readUInt32BE(at + 12),
    kind: from.readUInt8(at + 16),
    sequence: from.readUIntBE(at + 17, 3) * 2 ** 32 + from.readUInt32BE(at + 20),
  };
}

/** Whether the whole frame at `at`, of `length` payload bytes, is what was written for this place. */
export function frameIsIntact(from: Buffer, at: number, frame: { length: number; place: FramePlace }): boolean {
  const covered = from.subarray(at + 4, at + FRAME_HEADER_BYTES + frame.length);
  return crc32(covered, frameSeed(frame.place)) === from.readUInt32BE(at);
}
