import type { DiskFile } from './disk/disk.js';
import {
  FRAME_ALIGNMENT,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  frameBytes,
  frameIsIntact,
  readFrameHeader,
} from './frame.js';

/** Memory of one read. Payloads handed out are views of such a window, so one that is kept keeps no more. */
const WINDOW_BYTES = 1024 * 1024;

export interface ScanTarget {
  readonly file: DiskFile;
  readonly generation: number;
  readonly bytes: number;
}

export interface ScanResult {
  /** Where the first frame would stand that is not there. */
  readonly end: number;
  /** The sequence of that frame. */
  readonly nextSequence: number;
  /** Where the last group begins: the only one that may not be durable. Equal to `end` when there are no frames. */
  readonly lastGroupAt: number;
}

/** Calls `onFrame` for the frames that follow one another from the file's beginning, the first being `sequence`. */
export async function scanFrames(
  target: ScanTarget,
  sequence: number,
  onFrame: (header: FrameHeader, payload: Buffer) => void,
): Promise<ScanResult> {
  const { generation, bytes } = target;
  let position = 0;
  let nextSequence = sequence;
  let lastGroupAt = 0;
  let wanted = WINDOW_BYTES;
  while (position + FRAME_HEADER_BYTES <= bytes) {
    const window = await readWindow(target, position, wanted);
    wanted = WINDOW_BYTES;
    let at = 0;
    for (; at + FRAME_HEADER_BYTES <= window.length; ) {
      const header = readFrameHeader(window, at, generation);
      if (header?.sequence !== nextSequence) return { end: position + at, nextSequence, lastGroupAt };
      const size = frameBytes(header.length);
      if (position + at + size > bytes) return { end: position + at, nextSequence, lastGroupAt };
      if (at + size > window.length) {
        wanted = Math.max(WINDOW_BYTES, size);
        break;
      }
      const place = { generation, position: position + at };
      if (!frameIsIntact(window, at, { length: header.length, place }))
        return { end: position + at, nextSequence, lastGroupAt };
      if (header.groupPlace === 0) lastGroupAt = position + at;
      onFrame(header, window.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + header.length));
      nextSequence++;
      at += size;
    }
    position += at;
  }
  return { end: position, nextSequence, lastGroupAt };
}

/** What lies where no frame should be. */
export type Remains =
  | { readonly kind: 'none' }
  /** Intact frames of the write that was torn; the last of them ends before `end`. */
  | { readonly kind: 'torn'; readonly end: number }
  /** An intact frame of a later write: what should precede it was durable and is gone. */
  | { readonly kind: 'later'; readonly position: number; readonly sequence: number };

/** Looks for intact frames from `from` on, where `sequence` is the one that is missing. */
export async function findRemains(target: ScanTarget, from: number, sequence: number): Promise<Remains> {
  const { generation, bytes } = target;
  let torn: Remains = { kind: 'none' };
  let position = from;
  let wanted = WINDOW_BYTES;
  while (position + FRAME_HEADER_BYTES <= bytes) {
    const window = await readWindow(target, position, wanted);
    wanted = WINDOW_BYTES;
    let at = 0;
    while (at + FRAME_HEADER_BYTES <= window.length) {
      const header = readFrameHeader(window, at, generation);
      const size = header && plausibleSize(header, { sequence, left: bytes - position - at });
      if (!header || size === undefined) {
        at += FRAME_ALIGNMENT;
        continue;
      }
      if (at + size > window.length) {
        wanted = Math.max(WINDOW_BYTES, size);
        break;
      }
      const place = { generation, position: position + at };
      if (!frameIsIntact(window, at, { length: header.length, place })) {
        at += FRAME_ALIGNMENT;
        continue;
      }
      if (header.sequence - header.groupPlace > sequence)
        // F2
        return { kind: 'later', position: position + at, sequence: header.sequence };
      at += size;
      torn = { kind: 'torn', end: position + at };
    }
    position += at;
  }
  return torn;
}

/** The size of a frame that may stand there, or undefined: most bytes that look like a header are payload. */
function plausibleSize(header: FrameHeader, limits: { sequence: number; left: number }): number | undefined {
  const size = frameBytes(header.length);
  return size <= limits.left && header.groupPlace <= header.sequence ? size : undefined;
}

async function readWindow({ file, bytes }: ScanTarget, position: number, wanted: number): Promise<Buffer> {
  const window = Buffer.allocUnsafeSlow(Math.min(wanted, bytes - position));
  const read = await file.read(window, position);
  return window.subarray(0, read);
}
