// Brings one segment back after a stop of whatever kind: its file, and what the WAL has beyond it.
//
// Invariants:
//   V1. The file must hold exactly the bytes before the first batch the WAL has, or all bytes of the newest
//       checkpoint when the WAL has none. Anything else there is damage: it becomes a corrupt range of that
//       size, the segment keeps its end. Nothing is ever cut because it does not validate.
//   V2. Bytes of the file behind that point were never synced for sure: they are written again from the WAL.
//   V3. A batch of the WAL goes exactly behind the one before it.

import { readProducer } from '../batch/batch-decoder.js';
import { extendDigest, readHeader } from '../batch/batch-format.js';
import { JournalError } from '../errors.js';
import type { Segment } from '../segment/segment.js';
import { sidecarFileName } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import { scanSegment } from '../segment/segment-scan.js';
import { decodeSidecar } from '../segment/sidecar.js';
import { SparseIndex } from '../segment/sparse-index.js';
import type { ProducerTable } from '../shard/producer-table.js';
import type { DurableSegment } from './checkpoint-state.js';

const WRITE_PARTS = 256;

export interface SegmentEvidence {
  /** In order; empty when the WAL has nothing of this segment. */
  readonly replayed: readonly Buffer[];
  readonly floor: DurableSegment | undefined;
  readonly indexIntervalBytes: number;
}

/** Fills in everything about the segment, and the producers as of its end. The file is written but not synced. */
export async function recoverSegment(
  files: SegmentFiles,
  segment: Segment,
  evidence: SegmentEvidence & { readonly producers: ProducerTable },
): Promise<void> {
  const { replayed, floor, producers } = evidence;
  const firstReplayed = replayed[0] && readHeader(replayed[0]);
  const mustHold = firstReplayed?.position ?? floor?.bytes ?? 0; // V1
  const mustReach = firstReplayed?.baseOffset ?? floor?.endOffset ?? segment.baseOffset;
  segment.index = new SparseIndex(evidence.indexIntervalBytes);
  if (mustHold > 0) await recoverFile(files, segment, { mustHold, mustReach, ...evidence });
  segment.bytes = mustHold;
  segment.writtenBytes = mustHold;
  if (replayed.length === 0 && mustHold === 0) return;
  if ((await files.exists(segment.fileName)) && (await files.size(segment.fileName)) > mustHold)
    await files.truncate(segment.fileName, mustHold); // V2
  for (const batch of replayed) {
    if (applyBatch(segment, producers, batch)) continue;
    throw new JournalError('CORRUPT', `the WAL lacks a batch of ${segment.fileName} at offset ${segment.endOffset}`); // V3
  }
  for (let at = 0, position = mustHold; at < replayed.length; at += WRITE_PARTS) {
    const parts = replayed.slice(at, at + WRITE_PARTS);
    await files.write(segment.fileName, parts, position);
    position += parts.reduce((sum, part) => sum + part.length, 0);
  }
  segment.writtenBytes = segment.bytes;
}

interface FilePart extends SegmentEvidence {
  readonly mustHold: number;
  readonly mustReach: number;
  readonly producers: ProducerTable;
}

async function recoverFile(files: SegmentFiles, segment: Segment, part: FilePart): Promise<void> {
  const { mustHold, mustReach, producers } = part;
  if (!(await files.exists(segment.fileName))) {
    markCorrupt(segment, mustReach);
    return;
  }
  const from = await adoptSidecar(files, segment, part);
  let damaged = false;
  // Compaction leaves gaps, so a gap alone is damage only where nothing was compacted.
  const skipTo = (offset: number) => {
    if (offset > segment.endOffset && (damaged || segment.generation === 0)) markCorrupt(segment, offset);
    segment.endOffset = offset;
    damaged = false;
  };
  for await (const step of scanSegment(files, segment, { from, to: mustHold })) {
    if (step.kind === 'damage') {
      damaged = true;
      continue;
    }
    skipTo(step.header.baseOffset);
    segment.bytes = step.position;
    applyBatch(segment, producers, step.batch);
  }
  if (segment.endOffset < mustReach) skipTo(mustReach);
  if (segment.corrupt.length > 0) segment.digest = part.floor?.digest ?? 0;
}

/**
 * What was scanned before need not be scanned again. Only of generation 0, which is appended to and never rewritten:
 * beside a later one the sidecar of a compaction that a crash interrupted may lie.
 */
async function adoptSidecar(files: SegmentFiles, segment: Segment, part: FilePart): Promise<number> {
  if (segment.generation > 0) return 0;
  const bytes = await files.load(sidecarFileName(segment.fileName));
  const sidecar = bytes && decodeSidecar(bytes, segment, part.indexIntervalBytes);
  if (!sidecar || sidecar.bytes > part.mustHold) return 0;
  segment.index = sidecar.index;
  segment.endOffset = sidecar.endOffset;
  segment.digest = sidecar.digest;
  segment.firstTimestampMs = sidecar.firstTimestampMs;
  segment.lastTimestampMs = sidecar.lastTimestampMs;
  segment.sidecarBytes = sidecar.bytes;
  part.producers.load(sidecar.producers);
  return sidecar.bytes;
}

/** The end stays where it was: what is missing is said, not hidden (V1). */
function markCorrupt(segment: Segment, to: number): void {
  segment.corrupt = [...segment.corrupt, { from: segment.endOffset, to }];
  segment.endOffset = to;
}

/** Takes one intact batch as the next of the segment; false when it is not the next (V3). */
function applyBatch(segment: Segment, producers: ProducerTable, batch: Buffer): boolean {
  const header = readHeader(batch);
  if (!header || header.position !== segment.bytes || header.baseOffset !== segment.endOffset) return false;
  segment.bytes += batch.length;
  segment.digest = extendDigest(segment.digest, batch);
  segment.index?.add(header.baseOffset, header.position, header.timestampMs);
  segment.endOffset += header.offsetSpan;
  segment.lastTimestampMs = Math.max(segment.lastTimestampMs, header.timestampMs);
  if (header.kind === 'opening') producers.load(batch.subarray(64));
  else segment.firstTimestampMs ??= header.timestampMs;
  const producer = readProducer(batch);
  if (producer) remember(producers, { producer, records: header.recordCount, firstOffset: header.baseOffset });
  return true;
}

function remember(
  producers: ProducerTable,
  {
    producer,
    records,
    firstOffset,
  }: { producer: Parameters<ProducerTable['admit']>[0]; records: number; firstOffset: number },
): void {
  try {
    producers.admit(producer, records, firstOffset);
  } catch {
    // Only behind a corrupt range: what the table missed there cannot be known, and the newest epoch counts.
  }
}
