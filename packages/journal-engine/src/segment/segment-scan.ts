// Reads the batches of a segment file one after the other and checks each.

import { BATCH_HEADER_BYTES, type BatchHeader, bodyIsIntact, readHeader } from '../batch/batch-format.js';
import type { Segment } from './segment.js';
import type { SegmentFiles } from './segment-files.js';

const CHUNK_BYTES = 256 * 1024;

export type ScanStep =
  | { readonly kind: 'batch'; readonly header: BatchHeader; readonly batch: Buffer; readonly position: number }
  /** From here on the bytes are not what was written. */
  | { readonly kind: 'damage'; readonly position: number };

export interface ScanRange {
  readonly from: number;
  /** Bytes at and beyond are not looked at. */
  readonly to: number;
  readonly chunkBytes?: number;
}

/**
 * Yields every batch in [from, to). At damage it says so once and goes on behind it: at the next place
 * whose header is valid for exactly that position of this segment.
 */
export async function* scanSegment(
  files: SegmentFiles,
  segment: Segment,
  { from, to, chunkBytes = CHUNK_BYTES }: ScanRange,
): AsyncGenerator<ScanStep> {
  const window = new FileWindow(files, segment.fileName, { to, chunkBytes });
  let position = from;
  while (position < to) {
    const batch = await batchAt(window, segment, position);
    if (batch) {
      yield { kind: 'batch', position, ...batch };
      position += batch.batch.length;
      continue;
    }
    yield { kind: 'damage', position };
    position = await findBatch(window, segment, position + 1);
  }
}

async function batchAt(window: FileWindow, segment: Segment, position: number) {
  const head = await window.bytes(position, BATCH_HEADER_BYTES);
  const header = head && headerOf(head, segment, position);
  if (!header) return undefined;
  const batch = await window.bytes(position, BATCH_HEADER_BYTES + header.bodyBytes);
  return batch && bodyIsIntact(batch) ? { header, batch } : undefined;
}

/** The header, if it is one of this very place (B1). */
function headerOf(bytes: Buffer, segment: Segment, position: number): BatchHeader | undefined {
  const header = readHeader(bytes);
  const here =
    header &&
    header.shardUid === segment.shardUid &&
    header.epoch === segment.epoch &&
    header.generation === segment.generation &&
    header.position === position;
  return here ? header : undefined;
}

/** The next position at or behind `start` where a whole valid batch begins; the end when there is none. */
async function findBatch(window: FileWindow, segment: Segment, start: number): Promise<number> {
  for (let position = start; position < window.to; position++) {
    if (await batchAt(window, segment, position)) return position;
  }
  return window.to;
}

/** A chunk of the file in memory; what lies in it is handed out without another read. */
class FileWindow {
  readonly to: number;
  readonly #files: SegmentFiles;
  readonly #name: string;
  readonly #chunkBytes: number;
  #start = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #fileEnd = Number.POSITIVE_INFINITY;

  constructor(files: SegmentFiles, name: string, range: { readonly to: number; readonly chunkBytes: number }) {
    this.#files = files;
    this.#name = name;
    this.to = range.to;
    this.#chunkBytes = range.chunkBytes;
  }

  /** A view of the file; undefined when it would reach beyond `to` or beyond the file. */
  async bytes(position: number, length: number): Promise<Buffer | undefined> {
    if (position + length > Math.min(this.to, this.#fileEnd)) return undefined;
    const at = position - this.#start;
    if (at < 0 || at + length > this.#chunk.length) await this.#load(position, Math.max(length, this.#chunkBytes));
    const start = position - this.#start;
    return start + length <= this.#chunk.length ? this.#chunk.subarray(start, start + length) : undefined;
  }

  /** A new buffer every time: batches already handed out stay what they are. */
  async #load(position: number, wanted: number): Promise<void> {
    const chunk = Buffer.allocUnsafe(Math.min(wanted, this.to - position));
    const read = await this.#files.read(this.#name, chunk, position);
    if (read < chunk.length) this.#fileEnd = position + read;
    this.#start = position;
    this.#chunk = chunk.subarray(0, read);
  }
}
