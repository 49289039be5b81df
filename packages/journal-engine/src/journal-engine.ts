// One node's journal, put together: the shards it writes and everything that works on them.

import { Backoff } from '@robustmq/stdx/backoff';
import { KiB } from '@robustmq/stdx/byte-size';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import type { ShardConfig, ShardId } from '@robustmq/storage-adapter';
import { configChange, StorageError } from '@robustmq/storage-adapter';
import type { Disk, DiskLock, Wal } from '@robustmq/wal';
import { DiskGuard } from './disk/disk-guard.js';
import { JournalError } from './errors.js';
import type { ResolvedJournalOptions } from './options.js';
import type { RecoveredShard } from './recovery/recover.js';
import type { GroupOffsets } from './registry/group-offsets.js';
import type { JournalRegistry, RegisteredShard } from './registry/journal-registry.js';
import type { Replica, SegmentRecord } from './registry/records.js';
import { Compactor } from './retention/compactor.js';
import { Housekeeper } from './retention/housekeeper.js';
import { ShardTrimmer } from './retention/shard-trimmer.js';
import { Segment } from './segment/segment.js';
import type { SegmentFiles } from './segment/segment-files.js';
import { SegmentIndexes } from './segment/segment-indexes.js';
import { ProducerTable } from './shard/producer-table.js';
import { ShardLog, type ShardLogState } from './shard/shard-log.js';
import { type ShardHandle, ShardMap } from './shard/shard-map.js';
import { ShardReader } from './shard/shard-reader.js';
import { ShardRegistration } from './shard/shard-registration.js';
import { TailCache } from './shard/tail-cache.js';
import { BatchWriter } from './writer/batch-writer.js';
import type { EngineState } from './writer/engine-state.js';
import { Flusher } from './writer/flusher.js';
import { Roller } from './writer/roller.js';

/** Below this a segment costs more in files and meta records than it gives back. */
const SMALLEST_SEGMENT_BYTES = 64 * KiB;

export interface JournalEngineParts {
  readonly options: ResolvedJournalOptions;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly wal: Wal;
  readonly lock: DiskLock;
  readonly files: SegmentFiles;
  readonly registry: JournalRegistry;
  readonly offsets: GroupOffsets;
  readonly replica: Replica;
  readonly state: EngineState;
}

export class JournalEngine {
  readonly shards = new ShardMap();
  readonly reader: ShardReader;
  readonly offsets: GroupOffsets;
  readonly writer: BatchWriter<ShardLog>;
  readonly flusher: Flusher;
  readonly roller: Roller;
  readonly trimmer: ShardTrimmer;
  readonly compactor: Compactor;
  readonly housekeeper: Housekeeper;
  readonly guard: DiskGuard;
  readonly cache: TailCache;
  readonly #parts: JournalEngineParts;

  constructor(parts: JournalEngineParts) {
    const { options, clock, logger, wal, files, registry, replica, state, prng } = parts;
    const { shards } = this;
    this.#parts = parts;
    this.offsets = parts.offsets;
    this.cache = new TailCache(options.tailCacheBytes);
    this.writer = new BatchWriter(options, { clock, wal, state, cache: this.cache });
    this.flusher = new Flusher(options, { clock, wal, files, state, writer: this.writer, cache: this.cache, shards });
    const indexes = new SegmentIndexes(files, options.indexIntervalBytes);
    this.reader = new ShardReader(files, indexes);
    this.trimmer = new ShardTrimmer({ clock, logger, files, indexes, registry, reader: this.reader });
    this.compactor = new Compactor({ ...options, clock, files, logger, replica, trimmer: this.trimmer });
    const newBackoff = () => new Backoff({ firstMs: 50, longestMs: 5_000 }, prng);
    const onClosed = (handle: ShardHandle) => void this.compactor.compactIfDirty(handle);
    this.roller = new Roller({ clock, logger, shards, state, replica, newBackoff, onClosed });
    const { roller, trimmer, compactor } = this;
    this.housekeeper = new Housekeeper(options, { clock, logger, shards, roller, trimmer, compactor });
    this.guard = new DiskGuard(options, { disk: parts.disk, clock, logger, state });
    this.writer.listen({
      onUnwritten: (log) => this.flusher.onUnwritten(log),
      onSealed: (log, segment) => void this.roller.close(log, segment),
      onNearlyFull: (log) => void this.roller.prepare(log),
      onDiskFull: () => state.becomeReadOnly('no space is left for the write-ahead log; free some'),
    });
  }

  get state(): EngineState {
    return this.#parts.state;
  }

  get wal(): Wal {
    return this.#parts.wal;
  }

  /** Starts the background work. */
  async start(recovered: readonly RecoveredShard[]): Promise<void> {
    for (const { state, registered } of recovered) this.#add(state, registered);
    await this.guard.start();
    this.housekeeper.start();
  }

  async createShard(id: ShardId, config: ShardConfig): Promise<void> {
    const existing = this.shards.find(id);
    if (existing) return await storageErrors(() => this.#adoptConfig(existing, config));
    await storageErrors(async () => {
      const { registry, replica } = this.#parts;
      const epoch = 1;
      const first: SegmentRecord = { epoch, state: 'open', base: 0, generation: 0, replicas: [replica] };
      const created = await registry.createShard({ name: id, config, epoch, logStart: 0 }, first);
      if (created) this.#addNew(created);
      else await this.#adopt(id, config);
    });
  }

  /** Another retention is in meta first, so that a restart does not go back to the old one. */
  async #adoptConfig({ log, registration }: ShardHandle, config: ShardConfig): Promise<void> {
    if (configChange(log.id, log.config, config) === 'none') return;
    await registration.change((record) => ({ to: { ...record, config }, put: [], drop: [], tombstones: [] }));
    log.configure(config, segmentBytesOf(config, this.#parts.options));
  }

  /** Somebody created it meanwhile: a call of this process is a moment ahead, another node owns it otherwise. */
  async #adopt(id: ShardId, config: ShardConfig): Promise<void> {
    const found = await this.#parts.registry.findShard(id);
    if (!found) throw new StorageError('UNAVAILABLE', `shard ${id} is being deleted; retry`);
    const handle = this.shards.find(id);
    if (!handle) throw new StorageError('UNAVAILABLE', `shard ${id} is written by another node`);
    await this.#adoptConfig(handle, config);
  }

  async deleteShard(id: ShardId): Promise<void> {
    const handle = this.shards.get(id);
    const { log, registration } = handle;
    await storageErrors(() =>
      registration.exclusively(async () => {
        if (log.isDeleted) throw new StorageError('SHARD_NOT_FOUND', `no shard ${id}`);
        const { segments } = log;
        await this.#parts.registry.deleteShard(
          registration.current,
          segments.map(({ fileName }) => fileName),
        );
        log.markDeleted();
        this.shards.remove(handle);
        await this.flusher.flush(); // a write under way ends before its file goes
        await this.trimmer.removeFiles(log.segments);
      }),
    );
  }

  listShards(prefix: string): ShardId[] {
    return [...this.shards.all()]
      .map(({ log }) => log.id)
      .filter((id) => id.startsWith(prefix))
      .sort();
  }

  async trim(id: ShardId, before: number): Promise<void> {
    const handle = this.shards.get(id);
    const { committedEnd } = handle.log;
    if (before > committedEnd)
      throw new StorageError('OFFSET_OUT_OF_RANGE', `cannot trim shard ${id} to ${before}, it ends at ${committedEnd}`);
    await storageErrors(() => this.trimmer.trim(handle, before));
  }

  /** Finishes what was accepted, writes what is durable to the segment files, and lets the directory go. */
  async close(): Promise<void> {
    const { wal, files, lock, state, logger } = this.#parts;
    this.guard.stop();
    this.writer.sealGathered();
    await this.offsets.drain();
    this.roller.stop();
    await this.housekeeper.stop();
    try {
      await this.writer.idle();
      await this.flusher.checkpoint();
      await this.flusher.writeLastSidecars();
    } catch (error) {
      logger.warn(`the last checkpoint was given up; the next start replays the WAL: ${errorMessage(error)}`);
    } finally {
      this.flusher.stop();
      await wal.close().catch((error: unknown) => state.fail(error));
      await files.closeAll();
      await lock.release();
    }
  }

  #addNew(created: RegisteredShard): void {
    const { name, uid, config, epoch } = created.record;
    const segments = [new Segment({ shardUid: uid, epoch, generation: 0 }, 0)];
    const producers = new ProducerTable(this.#parts.options.producersMax);
    this.#add({ id: name as ShardId, uid, config, logStart: 0, segments, producers }, created); // parsed by createShard
  }

  #add(state: ShardLogState, registered: RegisteredShard): void {
    const { options, clock, registry } = this.#parts;
    const segmentBytes = segmentBytesOf(state.config, options);
    const log = new ShardLog(state, { ...options, segmentBytes }, { clock, writer: this.writer });
    this.shards.add({ log, registration: new ShardRegistration(registry, registered) });
  }
}

/** A shard with a small bound gets small segments, so that whole ones can go. */
function segmentBytesOf({ cleanup, retentionBytes }: ShardConfig, options: ResolvedJournalOptions): number {
  if (cleanup === 'compact') return options.compactSegmentBytes;
  if (retentionBytes === undefined) return options.segmentBytes;
  return Math.min(options.segmentBytes, Math.max(SMALLEST_SEGMENT_BYTES, Math.floor(retentionBytes / 4)));
}

/** Users of the contract see StorageError only. */
async function storageErrors<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof StorageError || !(error instanceof JournalError)) throw error;
    const code = error.code === 'UNAVAILABLE' || error.code === 'FENCED' ? 'UNAVAILABLE' : 'FAILED';
    throw new StorageError(code, error.message, { cause: error });
  }
}
