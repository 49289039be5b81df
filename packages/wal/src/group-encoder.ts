import { crc32 } from '@robustmq/stdx/crc32';
import { FRAME_HEADER_BYTES, frameBytes, frameSeed, writeFrameHeader } from './frame.js';

export interface FrameToWrite {
  readonly sequence: number;
  readonly kind: number;
  readonly parts: readonly Uint8Array[];
  readonly length: number;
}

/** Payloads from here on are written from where they are; smaller ones are copied, which is cheaper than a vector. */
const BY_REFERENCE_FROM_BYTES = 64 * 1024;
const KEPT_SCRATCH_BYTES = 8 * 1024 * 1024;

/**
 * Lays the frames of one group out for one write. The scratch memory is reused by the next group: only one
 * write is in flight at any time.
 */
export class GroupEncoder {
  #scratch = Buffer.allocUnsafe(64 * 1024);

  /** The bytes of all frames, as they stand from `position` of file `generation` on, in one or more parts. */
  encode(frames: readonly FrameToWrite[], place: { generation: number; position: number }): Uint8Array[] {
    const { generation } = place;
    const scratch = this.#reserve(frames);
    const parts: Uint8Array[] = [];
    let position = place.position;
    let used = 0;
    let handedOut = 0;
    for (let groupPlace = 0; groupPlace < frames.length; groupPlace++) {
      const frame = frames[groupPlace] as FrameToWrite; // within the bounds
      const { kind, sequence, length } = frame;
      const at = used;
      writeFrameHeader(scratch, at, { length, generation, groupPlace, kind, sequence });
      used += FRAME_HEADER_BYTES;
      const seed = frameSeed({ generation, position });
      const end = frameBytes(length);
      const padding = end - FRAME_HEADER_BYTES - length;
      if (length >= BY_REFERENCE_FROM_BYTES) {
        let crc = crc32(scratch.subarray(at + 4, used), seed);
        for (const part of frame.parts) crc = crc32(part, crc);
        scratch.writeUInt32BE(crc, at);
        parts.push(scratch.subarray(handedOut, used), ...frame.parts.filter((part) => part.length > 0));
        handedOut = used;
      } else {
        for (const part of frame.parts) {
          scratch.set(part, used);
          used += part.length;
        }
        scratch.writeUInt32BE(crc32(scratch.subarray(at + 4, used), seed), at);
      }
      scratch.fill(0, used, used + padding);
      used += padding;
      position += end;
    }
    if (used > handedOut) parts.push(scratch.subarray(handedOut, used));
    return parts;
  }

  #reserve(frames: readonly FrameToWrite[]): Buffer {
    let bytes = 0;
    for (const { length } of frames) {
      bytes += length >= BY_REFERENCE_FROM_BYTES ? FRAME_HEADER_BYTES + 8 : frameBytes(length);
    }
    if (bytes <= this.#scratch.length) return this.#scratch;
    const larger = Buffer.allocUnsafe(Math.max(bytes, this.#scratch.length * 2));
    if (larger.length <= KEPT_SCRATCH_BYTES) this.#scratch = larger;
    return larger;
  }
}
