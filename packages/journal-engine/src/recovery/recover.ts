// From what meta, the WAL and the segment files say to shards that take appends.
//
// Invariants:
//   V4. A restart never goes on in a segment of an earlier life: what was open is closed at its recovered end
//       and a new one with the next epoch begins there. An empty one is dropped; its epoch is not used again.
//   V5. Recovered bytes are synced before meta hears of an end, and the WAL is released only after that.
//   V6. Files meta knows nothing of are left alone and reported; files with a tombstone are removed.

import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { parseShardId } from '@robustmq/storage-adapter';
import { JournalError } from '../errors.js';
import type { JournalRegistry, LoadedRegistry, RegisteredShard, ShardChange } from '../registry/journal-registry.js';
import type { Replica, SegmentRecord } from '../registry/records.js';
import { parseSegmentFileName, Segment, sidecarFileName } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import { decodeSidecar, describesAll } from '../segment/sidecar.js';
import { ProducerTable } from '../shard/producer-table.js';
import type { ShardLogState } from '../shard/shard-log.js';
import { writeSidecar } from '../writer/flusher.js';
import { closedRecord } from '../writer/roller.js';
import { recoverSegment } from './recover-segment.js';
import type { ReplayedBatches } from './replayed-batches.js';

/** Shards recovered at the same time: enough to keep a disk busy, few enough for the thread pool. */
const CONCURRENCY = 8;

export interface RecoveryContext {
  readonly files: SegmentFiles;
  readonly registry: JournalRegistry;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly indexIntervalBytes: number;
  readonly producersMax: number;
}

export interface RecoveredShard {
  readonly state: ShardLogState;
  readonly registered: RegisteredShard;
}

interface Chain {
  readonly registered: RegisteredShard;
  readonly closed: Segment[];
  /** What meta has as open or prepared, with the records to be replaced. */
  readonly reopened: Segment[];
  readonly dropped: SegmentRecord[];
  readonly producers: ProducerTable;
}

export async function recoverShards(
  context: RecoveryContext,
  loaded: LoadedRegistry,
  replayed: ReplayedBatches,
): Promise<RecoveredShard[]> {
  await removeTombstoned(context, loaded);
  const present = new Set(await context.files.list());
  const owned = loaded.shards.filter(({ record }) => isOwn(context.replica, loaded.segments.get(record.uid)));
  const chains = await mapConcurrently(owned, (registered) => {
    const records = loaded.segments.get(registered.record.uid) ?? [];
    return recoverChain(context, { registered, records, replayed, present });
  });
  await context.files.syncAll(); // V5
  const changes = chains.map((chain) => changeOf(chain, context.replica));
  const registered = await context.registry.changeAll(changes); // V4
  await removeDropped(context, chains);
  reportStrangers(context, loaded, present);
  return chains.map((chain, at) => stateOf(chain, registered[at] as RegisteredShard)); // one result per change
}

/** Another node's shards are its own to recover: the newest segment says who writes. */
function isOwn({ node }: Replica, segments: readonly SegmentRecord[] | undefined): boolean {
  return segments?.at(-1)?.replicas[0]?.node === node;
}

/**
 * DISK_REPLACED when a shard of this node goes on on another disk. Where its records ended cannot be known: taking
 * them for none would give their offsets twice. To be called before anything is changed in meta.
 */
export function assertShardsOnThisDisk(replica: Replica, loaded: LoadedRegistry): void {
  for (const { record } of loaded.shards) {
    const segments = loaded.segments.get(record.uid);
    if (isOwn(replica, segments)) assertOnThisDisk(replica, record.name, segments);
  }
}

function assertOnThisDisk({ incarnation }: Replica, name: string, segments: readonly SegmentRecord[] = []): void {
  const other = segments.find(({ state, replicas }) => state !== 'closed' && replicas[0]?.incarnation !== incarnation);
  if (!other) return;
  throw new JournalError(
    'DISK_REPLACED',
    `the open segment of shard ${name} lies on disk ${other.replicas[0]?.incarnation}, this is ${incarnation}: bring the old directory back, or remove all keys under journal/ from meta to give up what it held`,
  );
}

async function mapConcurrently<A, B>(items: readonly A[], act: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  const left = [...items.entries()].reverse();
  const worker = async () => {
    for (let next = left.pop(); next; next = left.pop()) results[next[0]] = await act(next[1]);
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, items.length) }, worker));
  return results;
}

async function recoverChain(
  context: RecoveryContext,
  input: {
    registered: RegisteredShard;
    records: readonly SegmentRecord[];
    replayed: ReplayedBatches;
    present: ReadonlySet<string>;
  },
): Promise<Chain> {
  const { registered, records, replayed, present } = input;
  const producers = new ProducerTable(context.producersMax);
  const chain: Chain = { registered, closed: [], reopened: [], dropped: [], producers };
  let end = registered.record.logStart;
  for (const record of records) {
    const segment = new Segment(
      { shardUid: registered.record.uid, epoch: record.epoch, generation: record.generation },
      record.state === 'prepared' ? end : record.base,
    );
    if (record.state === 'closed') {
      await recoverClosed(context, segment, { record, replayed, present });
      chain.closed.push(segment);
    } else {
      await recoverOpen(context, chain, { segment, record, replayed });
    }
    end = segment.endOffset;
  }
  if (chain.reopened.every((segment) => segment.isEmpty)) await loadProducers(context, chain);
  return chain;
}

/** Usually nothing to do: the file is complete. After a crash its end may still be in the WAL only. */
async function recoverClosed(
  context: RecoveryContext,
  segment: Segment,
  input: { record: SegmentRecord; replayed: ReplayedBatches; present: ReadonlySet<string> },
): Promise<void> {
  const { record, replayed, present } = input;
  const batches = record.generation === 0 ? replayed.of(segment) : [];
  if (batches.length > 0) {
    const producers = new ProducerTable(context.producersMax);
    const floor = replayed.floorOf(segment);
    await recoverSegment(context.files, segment, { ...context, replayed: batches, floor, producers });
    if (segment.endOffset !== record.end || segment.bytes !== record.bytes)
      throw new JournalError(
        'CORRUPT',
        `${segment.fileName} ends at ${segment.endOffset}, meta closed it at ${record.end}: restore the data directory`,
      );
    await writeSidecar(context.files, segment, producers.encode());
  } else if (!present.has(segment.fileName) && (record.bytes ?? 0) > 0) {
    segment.corrupt = [{ from: segment.baseOffset, to: record.end ?? segment.baseOffset }];
    context.logger.error({ file: segment.fileName }, 'a closed segment is missing: its records cannot be read');
  }
  segment.state = 'closed';
  segment.endOffset = record.end ?? segment.endOffset; // present in a closed record, checked when decoded
  segment.bytes = record.bytes ?? segment.bytes;
  segment.writtenBytes = segment.bytes;
  segment.sidecarBytes = segment.bytes; // or made again when it is missed
  segment.digest = record.digest ?? segment.digest;
  segment.firstTimestampMs = record.firstTimestampMs;
  segment.lastTimestampMs = record.lastTimestampMs ?? 0;
  if (segment.corrupt.length === 0) segment.index = undefined; // loaded when read
}

async function recoverOpen(
  context: RecoveryContext,
  chain: Chain,
  input: { segment: Segment; record: SegmentRecord; replayed: ReplayedBatches },
): Promise<void> {
  const { segment, record, replayed } = input;
  const evidence = { replayed: replayed.of(segment), floor: replayed.floorOf(segment), ...context };
  await recoverSegment(context.files, segment, { ...evidence, producers: chain.producers });
  chain.dropped.push(record);
  chain.reopened.push(segment);
  if (segment.isEmpty) return;
  for (const { from, to } of segment.corrupt)
    context.logger.error({ file: segment.fileName, from, to }, 'records cannot be read: their bytes are damaged');
  if (segment.sidecarBytes < segment.bytes) await writeSidecar(context.files, segment, chain.producers.encode());
}

/** Nothing open says who the producers were: the end of the last closed segment does. */
async function loadProducers(context: RecoveryContext, chain: Chain): Promise<void> {
  const last = chain.closed.at(-1);
  if (!last || last.corrupt.length > 0) return;
  const bytes = await context.files.load(sidecarFileName(last.fileName));
  const sidecar = bytes && decodeSidecar(bytes, last, context.indexIntervalBytes);
  if (sidecar && describesAll(sidecar, last)) {
    chain.producers.load(sidecar.producers);
    return;
  }
  const scanned = new Segment(last, last.baseOffset);
  const { endOffset, bytes: covered, digest, shardUid, epoch } = last;
  const floor = { shardUid, epoch, endOffset, bytes: covered, digest };
  await recoverSegment(context.files, scanned, { replayed: [], floor, ...context, producers: chain.producers });
  last.corrupt = scanned.corrupt;
  if (scanned.corrupt.length === 0) await writeSidecar(context.files, scanned, chain.producers.encode());
}

/** Closes what has records, drops what has none, opens the next epoch at the end (V4). */
function changeOf({ registered, reopened, dropped }: Chain, replica: Replica): ShardChange {
  const { record } = registered;
  const kept = reopened.filter((segment) => !segment.isEmpty);
  const end = reopened.at(-1)?.endOffset ?? record.logStart;
  const epoch = record.epoch + 1;
  const next: SegmentRecord = { epoch, state: 'open', base: end, generation: 0, replicas: [replica] };
  return {
    from: registered,
    to: { ...record, epoch },
    put: [...kept.map((segment) => closedRecord(segment, replica)), next],
    drop: dropped.filter(({ epoch: dead }) => !kept.some((segment) => segment.epoch === dead)),
    tombstones: [],
  };
}

function stateOf({ closed, reopened, producers }: Chain, registered: RegisteredShard): RecoveredShard {
  const { name, uid, config, epoch, logStart } = registered.record;
  const kept = reopened.filter((segment) => !segment.isEmpty);
  for (const segment of kept) {
    segment.state = 'closed';
    segment.index = undefined; // its sidecar has just been written
  }
  const end = reopened.at(-1)?.endOffset ?? logStart;
  const next = new Segment({ shardUid: uid, epoch, generation: 0 }, end);
  const segments = [...closed, ...kept, next];
  return { state: { id: parseShardId(name), uid, config, logStart, segments, producers }, registered };
}

async function removeTombstoned({ files, registry }: RecoveryContext, { tombstones }: LoadedRegistry): Promise<void> {
  if (tombstones.length === 0) return;
  await files.remove(tombstones.flatMap((name) => [name, sidecarFileName(name)]));
  await registry.clearTombstones(tombstones);
}

/** An empty segment may have left an opening batch in a file; nothing refers to it any more. */
async function removeDropped({ files }: RecoveryContext, chains: readonly Chain[]): Promise<void> {
  const empty = chains.flatMap(({ reopened }) => reopened.filter((segment) => segment.isEmpty && segment.bytes > 0));
  await files.remove(empty.flatMap(({ fileName }) => [fileName, sidecarFileName(fileName)]));
}

function reportStrangers({ logger }: RecoveryContext, loaded: LoadedRegistry, present: ReadonlySet<string>): void {
  const known = new Set(loaded.shards.map(({ record }) => record.uid));
  const strangers = [...present].filter((name) => {
    const parsed = parseSegmentFileName(name);
    return parsed && !known.has(parsed.shardUid) && !loaded.tombstones.includes(name);
  });
  if (strangers.length > 0)
    logger.warn({ files: strangers.slice(0, 10), count: strangers.length }, 'segment files of no known shard are kept'); // V6
}
