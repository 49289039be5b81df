// Brings durable batches from memory to their segment files, and releases the WAL behind them.
//
// Invariants:
//   F1. A checkpoint releases WAL frames only when every batch in them is in a synced segment file.
//   F2. One flush at a time; it takes everything that was durable when it began.
//   F3. A failed sync is final for the engine (Disk D3); a full disk is not: the batches stay in memory and in
//       the WAL and are written when there is space.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { isDiskFull, type Wal, WalError } from '@robustmq/wal';
import { type DurableSegment, encodeCheckpointState } from '../recovery/checkpoint-state.js';
import type { Segment } from '../segment/segment.js';
import { sidecarFileName } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import { encodeSidecar } from '../segment/sidecar.js';
import type { ShardLog } from '../shard/shard-log.js';
import type { ShardMap } from '../shard/shard-map.js';
import type { StoredBatch } from '../shard/stored-batch.js';
import type { TailCache } from '../shard/tail-cache.js';
import type { BatchWriter } from './batch-writer.js';
import type { EngineState } from './engine-state.js';
import { WAL_KIND } from './wal-kind.js';

/** One write call carries at most this many bytes and parts (Linux takes 1,024 parts). */
const WRITE_BYTES_MAX = 4 * 1024 * 1024;
const WRITE_PARTS_MAX = 512;
/** Shards written at the same time: the thread pool of Node is shared with the WAL. */
const WRITERS = 4;
/** An open segment gets a new sidecar at a checkpoint when it grew by this much: bounds the scan after a crash. */
const SIDECAR_EVERY_BYTES = 16 * 1024 * 1024;

export interface FlusherOptions {
  readonly flushIntervalMs: number;
  readonly flushBytes: number;
  readonly checkpointBytes: number;
  readonly checkpointIntervalMs: number;
}

export interface FlusherDeps {
  readonly clock: Clock;
  readonly wal: Wal;
  readonly files: SegmentFiles;
  readonly state: EngineState;
  readonly writer: BatchWriter<ShardLog>;
  readonly cache: TailCache;
  readonly shards: ShardMap;
}

export class Flusher {
  readonly #options: FlusherOptions;
  readonly #deps: FlusherDeps;
  #dirty = new Set<ShardLog>();
  #running: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #scheduled = false;
  #checkpointedAtMs: number;
  checkpoints = 0;

  constructor(options: FlusherOptions, deps: FlusherDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#checkpointedAtMs = deps.clock.now();
  }

  /** A shard has batches to write. */
  onUnwritten(log: ShardLog): void {
    this.#dirty.add(log);
    if (this.#deps.writer.unwrittenBytes >= this.#options.flushBytes) this.#schedule();
    else this.#timer ??= this.#deps.clock.setTimer(this.#options.flushIntervalMs, () => this.#schedule());
  }

  /** Writes what is durable now to the segment files. */
  flush(): Promise<void> {
    return this.#exclusively(() => this.#flush());
  }

  /** Flushes, syncs, and releases the WAL (F1). */
  checkpoint(): Promise<void> {
    return this.#exclusively(() => this.#checkpoint());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#scheduled) return;
    this.#scheduled = true;
    void this.#exclusively(async () => {
      this.#scheduled = false;
      if (this.#checkpointIsDue()) await this.#checkpoint();
      else await this.#flush();
    });
  }

  #checkpointIsDue(): boolean {
    const { wal, clock } = this.#deps;
    const bytes = wal.bytesSinceCheckpoint;
    if (bytes >= this.#options.checkpointBytes) return true;
    return bytes > 0 && clock.now() - this.#checkpointedAtMs >= this.#options.checkpointIntervalMs;
  }

  #exclusively(act: () => Promise<void>): Promise<void> {
    const turn = this.#running.then(async () => {
      if (!this.#deps.state.failed) await act();
    });
    this.#running = turn.catch((error: unknown) => this.#refused(error));
    return this.#running;
  }

  #refused(error: unknown): void {
    const { state, clock } = this.#deps;
    const later = isDiskFull(error) || (error instanceof WalError && error.next === 'later');
    if (!later) {
      state.fail(error);
      return;
    }
    state.becomeReadOnly('no space is left to write segment files or a checkpoint; free some'); // F3
    this.#timer ??= clock.setTimer(this.#options.flushIntervalMs, () => this.#schedule());
  }

  async #flush(): Promise<void> {
    const logs = [...this.#dirty];
    this.#dirty.clear();
    const failures: unknown[] = [];
    const worker = async () => {
      for (let log = logs.pop(); log; log = logs.pop()) {
        try {
          await this.#writeLog(log);
        } catch (error) {
          this.#dirty.add(log);
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(WRITERS, logs.length) }, worker));
    this.#deps.cache.evict();
    if (failures.length > 0) throw failures[0];
  }

  async #writeLog(log: ShardLog): Promise<void> {
    const batches = log.unwritten;
    log.unwritten = [];
    let written = 0;
    try {
      for (let from = 0; from < batches.length; from = written) {
        const to = runEnd(batches, from);
        await this.#writeRun(batches.slice(from, to));
        written = to;
      }
    } catch (error) {
      if (log.isDeleted) return;
      log.unwritten = [...batches.slice(written), ...log.unwritten];
      throw error;
    } finally {
      // Bytes of a deleted shard count as written: nobody waits for them.
      const done = log.isDeleted ? batches : batches.slice(0, written);
      for (const batch of done) {
        batch.written = true;
        this.#deps.writer.unwrittenBytes -= batch.buffer.length;
      }
    }
  }

  async #writeRun(batches: readonly StoredBatch[]): Promise<void> {
    const [first, last] = [batches[0], batches.at(-1)];
    if (!first || !last) return;
    const parts = batches.map(({ buffer }) => buffer);
    await this.#deps.files.write(first.segment.fileName, parts, first.position);
    first.segment.writtenBytes = last.position + last.buffer.length; // G2
  }

  async #checkpoint(): Promise<void> {
    const { wal, files, clock } = this.#deps;
    const firstNeeded = wal.durableSequence;
    const durable = this.#durableSegments();
    this.#checkpointedAtMs = clock.now();
    if (firstNeeded === wal.firstSequence) return;
    await this.#flush();
    await this.#writeSidecars();
    await files.syncAll();
    await wal.appendDurably(WAL_KIND.checkpoint, [encodeCheckpointState(durable)]);
    await wal.checkpoint(firstNeeded); // F1
    this.checkpoints++;
  }

  /** How far the segments that meta does not know as closed are durable, in this very moment. */
  #durableSegments(): DurableSegment[] {
    const durable: DurableSegment[] = [];
    for (const { log } of this.#deps.shards.all()) {
      for (const { shardUid, epoch, endOffset, bytes, digest } of unfinished(log.segments))
        if (bytes > 0) durable.push({ shardUid, epoch, endOffset, bytes, digest });
    }
    return durable;
  }

  async #writeSidecars(): Promise<void> {
    for (const { log } of this.#deps.shards.all()) {
      for (const segment of unfinished(log.segments)) {
        const producers = sidecarDue(log, segment);
        if (!producers) continue;
        await writeSidecar(this.#deps.files, segment, producers);
        if (segment.sealEnd !== undefined) segment.index = undefined; // loaded again when somebody reads there
      }
    }
  }

  /** Before a clean stop: the next start need not scan the open segments. */
  async writeLastSidecars(): Promise<void> {
    await this.#exclusively(async () => {
      for (const { log } of this.#deps.shards.all()) {
        const { active } = log;
        if (active.bytes > active.sidecarBytes && active.writtenBytes === active.bytes && log.isQuiet)
          await writeSidecar(this.#deps.files, active, log.producers.encode());
      }
      await this.#deps.files.syncAll();
    });
  }
}

/** Those at the end that are open, or closed without a sidecar. */
function unfinished(segments: readonly Segment[]): readonly Segment[] {
  const last = segments.findLastIndex(({ state, sidecarBytes, bytes }) => state === 'closed' && sidecarBytes === bytes);
  return segments.slice(last + 1);
}

/** The producer table for the sidecar of a segment that should get one now. */
function sidecarDue(log: ShardLog, segment: Segment): Buffer | undefined {
  if (segment.bytes === segment.sidecarBytes || segment.writtenBytes < segment.bytes) return undefined;
  if (segment.sealEnd !== undefined) return segment.sealEnd === segment.endOffset ? segment.producersAtEnd : undefined;
  if (segment.bytes - segment.sidecarBytes < SIDECAR_EVERY_BYTES) return undefined;
  // The table runs ahead of what is durable, unless there is nothing in it or nothing under way.
  return log.producers.size === 0 || log.isQuiet ? log.producers.encode() : undefined;
}

export async function writeSidecar(files: SegmentFiles, segment: Segment, producers: Buffer): Promise<void> {
  const covered = segment.bytes;
  if (!segment.index) return;
  await files.replace(sidecarFileName(segment.fileName), encodeSidecar(segment, segment.index, producers));
  segment.sidecarBytes = covered;
}

/** Where the run of batches that one write call takes ends: same segment, bounded bytes and parts. */
function runEnd(batches: readonly StoredBatch[], from: number): number {
  const first = batches[from];
  let bytes = 0;
  let to = from;
  while (to < batches.length && to - from < WRITE_PARTS_MAX) {
    const batch = batches[to] as StoredBatch; // to is within
    if (batch.segment !== first?.segment || (to > from && bytes + batch.buffer.length > WRITE_BYTES_MAX)) break;
    bytes += batch.buffer.length;
    to++;
  }
  return to;
}
