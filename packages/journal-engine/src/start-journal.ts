// Opens a data directory, recovers what is in it, registers with meta, and returns a journal that takes appends.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type Disk, Wal } from '@robustmq/wal';
import { type DataDirectory, openDataDirectory } from './disk/data-directory.js';
import { JournalError } from './errors.js';
import { JournalEngine } from './journal-engine.js';
import { JournalShardStorage } from './journal-shard-storage.js';
import { registerJournalMetrics } from './metrics.js';
import { type JournalOptions, type ResolvedJournalOptions, resolveJournalOptions } from './options.js';
import { assertShardsOnThisDisk, recoverShards } from './recovery/recover.js';
import { ReplayedBatches } from './recovery/replayed-batches.js';
import { GroupOffsets } from './registry/group-offsets.js';
import { JournalRegistry, type LoadedRegistry } from './registry/journal-registry.js';
import { parseSegmentFileName } from './segment/segment.js';
import { SegmentFiles } from './segment/segment-files.js';
import { EngineState, type EngineStatus } from './writer/engine-state.js';

export interface JournalDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Where shards and segments are registered; used when a shard is created, rolled or trimmed, never per append. */
  readonly meta: MetaClient;
  /** Spreads retries of different nodes; seeded by the directory's identity when absent. */
  readonly prng?: Prng;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
}

export interface RunningJournal extends AsyncDisposable {
  readonly storage: JournalShardStorage;
  /** Names this disk: an emptied directory gets another one. */
  readonly incarnation: string;
  readonly status: EngineStatus;
  /** Runs roll by age, retention and compaction now, instead of at the next interval. */
  houseKeep(): Promise<void>;
  /** Writes everything durable to the segment files and releases the WAL. */
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Resolves when all shards of this node take appends.
 * JournalError: INVALID_OPTION, DIRECTORY_FOREIGN, FORMAT_UNSUPPORTED, DISK_REPLACED, DISK_UNREGISTERED, CORRUPT,
 * FENCED, UNAVAILABLE (meta). WalError: DIRECTORY_IN_USE, CORRUPT.
 */
export async function startJournal(given: JournalOptions, deps: JournalDeps): Promise<RunningJournal> {
  const options = resolveJournalOptions(given);
  const { disk } = deps;
  const directory = await openDataDirectory(disk, options.directory, options);
  try {
    const engine = await recoverEngine(options, directory, deps);
    registerJournalMetrics(deps.metrics ?? nullMetrics, engine);
    return running(engine, directory.incarnation);
  } catch (error) {
    await directory.lock.release();
    throw error;
  }
}

async function recoverEngine(
  options: ResolvedJournalOptions,
  { segmentsDirectory, walDirectory, incarnation, lock }: DataDirectory,
  deps: JournalDeps,
): Promise<JournalEngine> {
  const { disk, clock, meta, logger = nullLogger, metrics = nullMetrics } = deps;
  const prng = deps.prng ?? createPrng(incarnation);
  const startedMs = clock.now();
  const registry = new JournalRegistry(meta, options.nodeId);
  const loaded = await registry.load();
  const files = new SegmentFiles(disk, segmentsDirectory, options.openFilesMax);
  const replayed = new ReplayedBatches();
  const walOptions = {
    directory: walDirectory,
    name: 'journal',
    fileBytes: options.walFileBytes,
    // All files between two checkpoints are written again: overwriting spares the file system a commit per growth.
    recycledFilesMax: Math.min(1024, Math.ceil(options.checkpointBytes / options.walFileBytes) + 2),
    // The journal's own budget refuses first, by append and with its own message.
    pendingBytesMax: options.inflightBytesMax * 2 + 1024 * 1024,
  };
  const replica = { node: options.nodeId, incarnation };
  await assertSameDisk({ options, loaded, files, incarnation });
  assertShardsOnThisDisk(replica, loaded);
  const wal = await Wal.open(walOptions, { disk, clock, logger, metrics }, replayed.take);
  try {
    await registry.registerNode({ incarnation });
    const shards = await recoverShards({ ...options, files, registry, replica, clock, logger }, loaded, replayed);
    await wal.checkpoint(wal.nextSequence); // V5
    const offsets = new GroupOffsets(meta, clock, options.offsetCommitIntervalMs);
    const state = new EngineState(logger);
    const parts = { options, disk, clock, prng, logger, wal, lock, files, registry, offsets, replica, state };
    const engine = new JournalEngine(parts);
    await engine.start(shards);
    const ms = Math.round(clock.now() - startedMs);
    logger.info({ shards: shards.length, frames: replayed.frames, ms }, 'journal is ready');
    return engine;
  } catch (error) {
    await wal.close().catch(() => {}); // the first error says why
    await files.closeAll();
    throw error;
  }
}

/** A disk that lost its data, or meta that lost its own, must not pass for an empty journal. */
async function assertSameDisk(found: {
  options: ResolvedJournalOptions;
  loaded: LoadedRegistry;
  files: SegmentFiles;
  incarnation: string;
}): Promise<void> {
  const { options, loaded, files, incarnation } = found;
  const { node } = loaded;
  const { directory, nodeId } = options;
  if (node && node.incarnation !== incarnation)
    throw new JournalError(
      'DISK_REPLACED',
      `meta knows node ${nodeId} with disk ${node.incarnation}, ${directory} is disk ${incarnation}: bring the old directory back, or remove all keys under journal/ from meta to give up what it held`,
    );
  if (node) return;
  const segments = (await files.list()).filter((name) => parseSegmentFileName(name));
  if (segments.length > 0)
    throw new JournalError(
      'DISK_UNREGISTERED',
      `${directory} holds ${segments.length} segment files, but meta has never heard of node ${nodeId}: bring the old meta data back, or use an empty directory`,
    );
}

function running(engine: JournalEngine, incarnation: string): RunningJournal {
  const storage = new JournalShardStorage(engine);
  return {
    storage,
    incarnation,
    get status() {
      return engine.state.status;
    },
    houseKeep: () => engine.housekeeper.runOnce(),
    checkpoint: () => engine.flusher.checkpoint(),
    close: () => storage.close(),
    [Symbol.asyncDispose]: () => storage.close(),
  };
}
