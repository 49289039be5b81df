// Keeps the newest record of every key of a compacted shard: rewrites its closed segments into one.
//
// Invariants:
//   K1. A record goes only when a newer one of its key is in the same closed segments: what a reader of the
//       whole shard ends up with per key never changes. A tombstone that is old enough goes as well: all that it
//       deletes lies before it, so in the same segments, and goes with it.
//   K2. Offsets and times stay; what is gone is a gap.
//   K3. The new file is synced before meta names it; the old ones go after, by tombstone (registry R2).
//   K4. The opening batch carries the producers as of the end of the range: their batches may be gone.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { TOMBSTONE_MS } from '@robustmq/storage-adapter';
import { BatchCursor } from '../batch/batch-decoder.js';
import { BATCH_HEADER_BYTES, type BatchHeader, extendDigest, sealBatch } from '../batch/batch-format.js';
import { JournalError } from '../errors.js';
import type { Replica } from '../registry/records.js';
import { Segment, sidecarFileName } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import { scanSegment } from '../segment/segment-scan.js';
import { decodeSidecar, describesAll } from '../segment/sidecar.js';
import { SparseIndex } from '../segment/sparse-index.js';
import { ProducerTable } from '../shard/producer-table.js';
import type { ShardHandle } from '../shard/shard-map.js';
import { writeSidecar } from '../writer/flusher.js';
import { closedRecord } from '../writer/roller.js';
import type { ShardTrimmer } from './shard-trimmer.js';

const WRITE_BYTES = 1024 * 1024;
/** Rewriting pays when what is new is at least half as much as what was compacted before (Kafka's ratio). */
const DIRTY_RATIO = 0.5;

export interface CompactorDeps {
  readonly clock: Clock;
  readonly files: SegmentFiles;
  readonly logger: Logger;
  readonly replica: Replica;
  readonly trimmer: ShardTrimmer;
  readonly indexIntervalBytes: number;
  readonly producersMax: number;
}

interface NewestRecords {
  readonly newest: Map<string, number>;
  readonly oldestTombstoneMs: number;
}

export class Compactor {
  readonly #deps: CompactorDeps;
  readonly #running = new Set<ShardHandle>();
  /** The time of the oldest tombstone in what was compacted; missing until it was looked for in this life. */
  readonly #oldestTombstoneMs = new WeakMap<ShardHandle, number>();
  compactions = 0;

  constructor(deps: CompactorDeps) {
    this.#deps = deps;
  }

  /** Compacts the shard if that pays; one at a time per shard. Never rejects: the next round tries again. */
  async compactIfDirty(handle: ShardHandle): Promise<void> {
    if (handle.log.config.cleanup !== 'compact' || this.#running.has(handle)) return;
    const segments = compactable(handle);
    const dirty = sumBytes(segments.filter(({ generation }) => generation === 0));
    const clean = sumBytes(segments.filter(({ generation }) => generation > 0));
    if (segments.length === 0) return;
    this.#running.add(handle);
    try {
      const isWorthIt = dirty > 0 && dirty >= clean * DIRTY_RATIO;
      if (!isWorthIt && !(await this.#hasExpired(handle, segments))) return;
      await this.#compact(handle, segments);
      this.compactions++;
    } catch (error) {
      this.#deps.logger.warn({ shard: handle.log.id }, `compaction was given up: ${errorMessage(error)}`);
    } finally {
      this.#running.delete(handle);
    }
  }

  /** Whether a tombstone among what was compacted may go now. */
  async #hasExpired(handle: ShardHandle, segments: readonly Segment[]): Promise<boolean> {
    const compacted = segments.filter(({ generation }) => generation > 0);
    const oldest = this.#oldestTombstoneMs.get(handle) ?? (await this.#newestOffsets(compacted)).oldestTombstoneMs;
    this.#oldestTombstoneMs.set(handle, oldest);
    return oldest < this.#expiredBeforeMs(handle);
  }

  #expiredBeforeMs({ log }: ShardHandle): number {
    return this.#deps.clock.wallTime() - (log.config.tombstoneMs ?? TOMBSTONE_MS);
  }

  async #compact(handle: ShardHandle, segments: readonly Segment[]): Promise<void> {
    const { files, replica, trimmer, indexIntervalBytes } = this.#deps;
    const { newest } = await this.#newestOffsets(segments);
    const expiredBeforeMs = this.#expiredBeforeMs(handle);
    const [first, last] = [segments[0] as Segment, segments.at(-1) as Segment]; // dirty bytes, so not empty
    const merged = new Segment({ ...nameOf(last), generation: last.generation + 1 }, first.baseOffset);
    merged.index = new SparseIndex(indexIntervalBytes);
    const producers = await this.#producersAtEnd(last);
    try {
      await this.#rewrite(segments, merged, { newest, producers, expiredBeforeMs });
      await handle.registration.change((record) => ({
        to: record,
        put: [closedRecord(merged, replica)],
        drop: segments.filter(({ epoch }) => epoch !== merged.epoch).map((segment) => closedRecord(segment, replica)),
        tombstones: segments.map(({ fileName }) => fileName),
      }));
    } catch (error) {
      if (error instanceof JournalError && error.code === 'UNAVAILABLE') throw error; // it may have been done
      await files.remove([merged.fileName, sidecarFileName(merged.fileName)]);
      throw error;
    }
    const { log } = handle;
    log.segments = [merged, ...log.segments.filter((segment) => !segments.includes(segment))];
    log.tail.dropBefore(merged.endOffset);
    merged.index = undefined; // loaded when read
    this.#oldestTombstoneMs.delete(handle);
    await trimmer.removeFiles(segments);
  }

  async #rewrite(
    segments: readonly Segment[],
    merged: Segment,
    what: {
      readonly newest: ReadonlyMap<string, number>;
      readonly producers: Buffer;
      readonly expiredBeforeMs: number;
    },
  ): Promise<void> {
    const { files } = this.#deps;
    const [first, last] = [segments[0] as Segment, segments.at(-1) as Segment]; // as in the caller
    const out = new SegmentOutput(files, merged);
    await out.begin(what.producers, first.baseOffset);
    for (const segment of segments) {
      for await (const step of scanSegment(files, segment, { from: 0, to: segment.bytes })) {
        if (step.kind === 'damage')
          throw new JournalError('CORRUPT', `${segment.fileName} is damaged at ${step.position}`);
        if (step.header.kind === 'records') await out.add(step.header, step.batch, what);
      }
    }
    await out.finish();
    merged.endOffset = last.endOffset;
    merged.lastTimestampMs = last.lastTimestampMs;
    merged.state = 'closed';
    await writeSidecar(files, merged, what.producers);
    await files.syncAll(); // K3
  }

  /** K1: by key, the offset of its newest record in these segments; and the time of the oldest tombstone. */
  async #newestOffsets(segments: readonly Segment[]): Promise<NewestRecords> {
    const newest = new Map<string, number>();
    let oldestTombstoneMs = Number.POSITIVE_INFINITY;
    for (const segment of segments) {
      for await (const step of scanSegment(this.#deps.files, segment, { from: 0, to: segment.bytes })) {
        if (step.kind === 'damage')
          throw new JournalError('CORRUPT', `${segment.fileName} is damaged at ${step.position}`);
        for (const cursor = new BatchCursor(step.batch); !cursor.done; cursor.skip()) {
          const { key } = cursor;
          if (key !== undefined) newest.set(key, cursor.offset);
          if (cursor.isTombstone) oldestTombstoneMs = Math.min(oldestTombstoneMs, step.header.timestampMs);
        }
      }
    }
    return { newest, oldestTombstoneMs };
  }

  async #producersAtEnd(last: Segment): Promise<Buffer> {
    const bytes = await this.#deps.files.load(sidecarFileName(last.fileName));
    const sidecar = bytes && decodeSidecar(bytes, last, this.#deps.indexIntervalBytes);
    if (sidecar && describesAll(sidecar, last)) return sidecar.producers;
    return last.producersAtEnd ?? new ProducerTable(this.#deps.producersMax).encode();
  }
}

/** Writes the kept records of batch after batch into one new segment file. */
class SegmentOutput {
  readonly #files: SegmentFiles;
  readonly #segment: Segment;
  #parts: Buffer[] = [];
  #partBytes = 0;

  constructor(files: SegmentFiles, segment: Segment) {
    this.#files = files;
    this.#segment = segment;
  }

  /** The file may be left over from a compaction that a crash interrupted. */
  async begin(producers: Buffer, baseOffset: number): Promise<void> {
    await this.#files.truncate(this.#segment.fileName, 0);
    const batch = Buffer.concat([Buffer.alloc(BATCH_HEADER_BYTES), producers]);
    await this.#put(batch, { baseOffset, timestampMs: 0, recordCount: 0, offsetSpan: 0, kind: 'opening' });
  }

  async add(
    header: BatchHeader,
    batch: Buffer,
    { newest, expiredBeforeMs }: { readonly newest: ReadonlyMap<string, number>; readonly expiredBeforeMs: number },
  ): Promise<void> {
    const kept: Buffer[] = [];
    for (const cursor = new BatchCursor(batch); !cursor.done; cursor.skip()) {
      const { key, view } = cursor;
      if (cursor.isTombstone && header.timestampMs < expiredBeforeMs) continue; // K1
      if (key === undefined || newest.get(key) === view.offset) kept.push(batch.subarray(view.start, view.end));
    }
    if (kept.length === 0) return; // K2
    this.#segment.firstTimestampMs ??= header.timestampMs;
    await this.#put(Buffer.concat([Buffer.alloc(BATCH_HEADER_BYTES), ...kept]), {
      ...header,
      recordCount: kept.length,
    });
  }

  async finish(): Promise<void> {
    if (this.#parts.length === 0) return;
    await this.#files.write(this.#segment.fileName, this.#parts, this.#segment.bytes - this.#partBytes);
    this.#segment.writtenBytes = this.#segment.bytes;
    this.#parts = [];
    this.#partBytes = 0;
  }

  async #put(
    batch: Buffer,
    place: Pick<BatchHeader, 'baseOffset' | 'timestampMs' | 'recordCount' | 'offsetSpan' | 'kind'>,
  ): Promise<void> {
    const segment = this.#segment;
    sealBatch(batch, { ...place, ...nameOf(segment), position: segment.bytes, hasProducer: false });
    segment.index?.add(place.baseOffset, segment.bytes, place.timestampMs);
    segment.digest = extendDigest(segment.digest, batch);
    segment.bytes += batch.length;
    this.#parts.push(batch);
    this.#partBytes += batch.length;
    if (this.#partBytes >= WRITE_BYTES) await this.finish();
  }
}

/** The closed segments at the beginning, complete in their files. */
function compactable({ log }: ShardHandle): Segment[] {
  const stop = log.segments.findIndex(
    ({ state, writtenBytes, bytes, corrupt }) => state !== 'closed' || writtenBytes < bytes || corrupt.length > 0,
  );
  return log.segments.slice(0, stop < 0 ? log.segments.length : stop);
}

const nameOf = ({ shardUid, epoch, generation }: Segment) => ({ shardUid, epoch, generation });
const sumBytes = (segments: readonly Segment[]) => segments.reduce((sum, { bytes }) => sum + bytes, 0);
