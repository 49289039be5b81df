// Reads records of a shard: the newest from memory, the others from their segment files.
//
// Invariants:
//   D1. Nothing at or beyond the committedEnd of the moment of the call is returned. [I7]
//   D2. Bytes from a file are checked before anything in them is returned; a damaged range is an error that
//       names it, never a gap. [I1]
//   D3. Gaps left by compaction are passed over; `next` tells where to go on.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Offset, ReadOptions, ReadResult, StoredRecord } from '@robustmq/storage-adapter';
import { StorageError } from '@robustmq/storage-adapter';
import { BatchCursor } from '../batch/batch-decoder.js';
import { JournalError } from '../errors.js';
import type { Segment } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import type { SegmentIndexes } from '../segment/segment-indexes.js';
import { scanSegment } from '../segment/segment-scan.js';
import type { ShardLog } from './shard-log.js';

const CHUNK_BYTES_MIN = 64 * 1024;
const CHUNK_BYTES_MAX = 1024 * 1024;
const STALLS_MAX = 8;

export type RecordFilter = (record: StoredRecord) => boolean;

export class ShardReader {
  readonly #files: SegmentFiles;
  readonly #indexes: SegmentIndexes;

  constructor(files: SegmentFiles, indexes: SegmentIndexes) {
    this.#files = files;
    this.#indexes = indexes;
  }

  async read(log: ShardLog, options: ReadOptions, wanted?: RecordFilter): Promise<ReadResult> {
    const end = log.committedEnd; // D1
    assertInRange(log, options.from, end);
    const page = new Page(options, end, wanted);
    let stalls = 0;
    while (!page.full && page.next < end) {
      const tailStart = log.tail.start;
      if (tailStart !== undefined && page.next >= tailStart) {
        for (const { buffer } of log.tail.from(page.next)) if (page.add(buffer) === 'full') break;
        if (!page.full) page.skipTo(end);
      } else {
        const before = page.next;
        await this.#readFile(log, page, options.maxBytes);
        stalls = page.next > before ? 0 : stalls + 1;
        // Once is a race with the flusher or with compaction; more means that the bytes are not there.
        if (stalls > STALLS_MAX) throw corrupt(log, segmentOf(log, page.next), page.next);
      }
    }
    return page.result();
  }

  /** The first offset appended at or after a time; the end when there is none. */
  async offsetAtTime(log: ShardLog, timestampMs: number): Promise<number> {
    const end = log.committedEnd;
    const segment = log.segments.find((candidate) => !candidate.isEmpty && candidate.lastTimestampMs >= timestampMs);
    if (!segment || segment.baseOffset >= end) return end;
    const cached = log.tail.start;
    if (cached !== undefined && cached <= segment.baseOffset)
      return this.#clamp(log, timeInTail(log, timestampMs, end));
    const index = await this.#indexes.of(segment);
    const from = index.offsetBefore(timestampMs) ?? segment.baseOffset;
    const range = { from: index.positionOf(from), to: segment.writtenBytes };
    for await (const step of scanSegment(this.#files, segment, range)) {
      if (step.kind === 'damage') continue; // the reader of those records is told
      const { recordCount, timestampMs: appendedMs, baseOffset } = step.header;
      if (recordCount > 0 && appendedMs >= timestampMs)
        return this.#clamp(log, Math.min(end, firstOffset(step.batch, baseOffset)));
    }
    return this.#clamp(log, timeInTail(log, timestampMs, end));
  }

  #clamp(log: ShardLog, offset: number): number {
    return Math.max(offset, log.logStart);
  }

  /** Adds what one segment file has from page.next on, up to the page's bounds or the file's end. */
  async #readFile(log: ShardLog, page: Page, maxBytes: number): Promise<void> {
    const segment = segmentOf(log, page.next);
    if (segment.corrupt.some(({ from, to }) => page.next >= from && page.next < to))
      return page.stopAt(() => corrupt(log, segment, page.next));
    const to = segment.writtenBytes;
    try {
      const outcome = await this.#addBatches(page, segment, { to, maxBytes });
      if (outcome === 'damage') page.stopAt(() => corrupt(log, segment, page.next));
      if (page.full) return;
    } catch (error) {
      // Retention or compaction may have taken the file away meanwhile.
      assertInRange(log, page.next, page.end);
      if (segmentOf(log, page.next) !== segment) return;
      throw error instanceof StorageError ? error : unreadable(log, segment, error);
    }
    // The file is read to its end: go on in the next segment, or in memory.
    const complete = segment.state === 'closed' || segment.sealEnd === segment.endOffset;
    if (complete && to === segment.bytes) page.skipTo(Math.min(segment.endOffset, page.end)); // D3
  }

  /** Damage before the page is nobody's business; damage that holds what the page wants next stops it (D2). */
  async #addBatches(
    page: Page,
    segment: Segment,
    { to, maxBytes }: { readonly to: number; readonly maxBytes: number },
  ): Promise<'read' | 'damage'> {
    const index = await this.#indexes.of(segment);
    const entry = index.entryFor(page.next);
    const chunkBytes = Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, maxBytes));
    let intactTo = entry?.offset ?? segment.baseOffset;
    let damaged = false;
    for await (const step of scanSegment(this.#files, segment, { from: entry?.position ?? 0, to, chunkBytes })) {
      if (step.kind === 'damage') {
        damaged = true;
        continue;
      }
      const { baseOffset, offsetSpan } = step.header;
      if (damaged && baseOffset > page.next) return noteDamage(segment, intactTo, baseOffset);
      damaged = false;
      intactTo = baseOffset + offsetSpan;
      if (page.add(step.batch) === 'full') return 'read';
    }
    return damaged ? noteDamage(segment, intactTo, segment.endOffset) : 'read';
  }
}

/** Collects records within the bounds of one read. */
class Page {
  readonly end: number;
  readonly #options: ReadOptions;
  readonly #wanted: RecordFilter | undefined;
  readonly #records: StoredRecord[] = [];
  #bytes = 0;
  #next: number;
  #full = false;

  constructor(options: ReadOptions, end: number, wanted: RecordFilter | undefined) {
    this.#options = options;
    this.#wanted = wanted;
    this.#next = options.from;
    this.end = end;
  }

  get next(): number {
    return this.#next;
  }

  get full(): boolean {
    return this.#full;
  }

  /** What is intact is returned first; only a page that has nothing yet throws. The next read meets the damage. */
  stopAt(damage: () => StorageError): void {
    if (this.#records.length === 0) throw damage();
    this.#full = true;
  }

  /** Takes the records of one batch from `next` on. */
  add(batch: Buffer): 'full' | 'more' {
    const { maxRecords, maxBytes } = this.#options;
    const cursor = new BatchCursor(batch);
    cursor.skipTo(this.#next);
    while (!cursor.done) {
      if (cursor.offset >= this.end || this.#records.length >= maxRecords || this.#bytes >= maxBytes) {
        this.#next = Math.min(this.end, cursor.offset);
        this.#full = true;
        return 'full';
      }
      const record = cursor.next();
      this.#next = record.offset + 1;
      if (this.#wanted && !this.#wanted(record)) continue;
      this.#records.push(record);
      this.#bytes += record.payload.length;
    }
    return 'more';
  }

  /** Nothing more lies before this offset. */
  skipTo(offset: number): void {
    this.#next = Math.max(this.#next, offset);
  }

  result(): ReadResult {
    return { records: this.#records, next: this.#next as Offset, end: this.end as Offset }; // both were offsets before
  }
}

function segmentOf(log: ShardLog, offset: number): Segment {
  const { segments } = log;
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((segments[middle] as Segment).baseOffset <= offset)
      low = middle + 1; // middle is within
    else high = middle;
  }
  // An empty segment has the base of the one behind it, so the last one that begins at or before has the offset.
  const found = segments[low - 1];
  if (!found) throw new StorageError('OFFSET_OUT_OF_RANGE', `offset ${offset} of shard ${log.id} is gone`);
  return found;
}

function assertInRange(log: ShardLog, offset: number, end: number): void {
  if (offset < log.logStart || offset > end)
    throw new StorageError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${offset} of shard ${log.id}, which holds ${log.logStart} to ${end}`,
    );
}

function timeInTail(log: ShardLog, timestampMs: number, end: number): number {
  const batch = log.tail.firstAtTime(timestampMs);
  return Math.min(end, batch?.baseOffset ?? end);
}

function firstOffset(batch: Buffer, baseOffset: number): number {
  const cursor = new BatchCursor(batch);
  return cursor.done ? baseOffset : cursor.offset;
}

function noteDamage(segment: Segment, from: number, to: number): 'damage' {
  segment.corrupt = [...segment.corrupt, { from, to }];
  return 'damage';
}

function unreadable(log: ShardLog, segment: Segment, cause: unknown): StorageError {
  return new StorageError('FAILED', `shard ${log.id}: ${segment.fileName} cannot be read: ${errorMessage(cause)}`, {
    cause,
  });
}

function corrupt(log: ShardLog, segment: Segment, offset: number): StorageError {
  const known = segment.corrupt.find(({ from, to }) => offset >= from && offset < to);
  const range = known ? `offsets ${known.from} to ${known.to - 1}` : `offset ${offset} on`;
  const advice = known ? `restore the file, or go on reading at ${known.to}` : 'restore the file';
  const message = `shard ${log.id}: ${range} cannot be read, ${segment.fileName} is damaged; ${advice}`;
  return new StorageError('FAILED', message, { cause: new JournalError('CORRUPT', message) });
}
