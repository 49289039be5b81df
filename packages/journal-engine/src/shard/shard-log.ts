// One shard on this node: takes appends, gives offsets, and knows its segments.
//
// Invariants (the numbers of journal-engine/DESIGN.md in brackets):
//   L1. Offsets are given when an append is accepted, in that order; batches reach the WAL in that order and
//       appends resolve in that order. [I8]
//   L2. A reader sees nothing at or beyond committedEnd; everything below is durable. [I7]
//   L3. Segments tile the offsets: each begins where the one before ends. [I5]
//   L4. After a batch was refused (disk full) everything behind it is refused too and the shard goes back to
//       committedEnd: no offset is skipped and no later batch can become durable before it. [S2]

import { assert } from '@robustmq/stdx/assert';
import { MiB } from '@robustmq/stdx/byte-size';
import type { Clock } from '@robustmq/stdx/clock';
import type {
  AppendRecord,
  AppendResult,
  EndListener,
  Offset,
  Producer,
  ShardConfig,
  ShardId,
} from '@robustmq/storage-adapter';
import { StorageError } from '@robustmq/storage-adapter';
import { encodeBody, producerBytes, recordBytes } from '../batch/batch-encoder.js';
import { BATCH_HEADER_BYTES, extendDigest, sealBatch } from '../batch/batch-format.js';
import { Segment } from '../segment/segment.js';
import { SparseIndex } from '../segment/sparse-index.js';
import type { BatchSource, BatchWriter } from '../writer/batch-writer.js';
import { assertProducer, type ProducerTable } from './producer-table.js';
import { RepeatedAppends, resultOf } from './repeated-appends.js';
import type { PendingAppend, StoredBatch } from './stored-batch.js';
import { ShardTail } from './tail-cache.js';

/** Beyond this multiple of its size, or these bytes, a segment that cannot be rolled (meta is away) takes no more. */
const OVERRUN_FACTOR = 4;
const OVERRUN_BYTES_MIN = 64 * MiB;
/** The next segment is prepared when the current one is this full, so that no append waits for meta. */
const PREPARE_AT = 0.9;
/** Records of several appends that share one batch; the header counts more, but a reader decodes them in one go. */
const BATCH_RECORDS_MAX = 65_536;

export interface ShardLogOptions {
  readonly segmentBytes: number;
  readonly batchBytes: number;
  readonly indexIntervalBytes: number;
}

/** What the shard was at the last start or creation. */
export interface ShardLogState {
  readonly id: ShardId;
  readonly uid: number;
  readonly config: ShardConfig;
  readonly logStart: number;
  /** In order; the last one is open and empty. */
  readonly segments: readonly Segment[];
  readonly producers: ProducerTable;
}

type Standing =
  | { readonly kind: 'ours' }
  | { readonly kind: 'fenced'; readonly cause: unknown }
  | { readonly kind: 'deleted' };

export class ShardLog implements BatchSource {
  readonly id: ShardId;
  readonly uid: number;
  config: ShardConfig;
  readonly tail = new ShardTail();
  readonly producers: ProducerTable;
  readonly listeners = new Set<EndListener>();
  /** Durable batches that are not in their file yet; the flusher takes them. */
  unwritten: StoredBatch[] = [];
  segments: readonly Segment[];
  logStart: number;
  /** The epoch of the segment that comes next, when meta knows it; the roller sets it. */
  preparedEpoch: number | undefined;

  #options: ShardLogOptions;
  readonly #clock: Clock;
  readonly #writer: BatchWriter<ShardLog>;
  #standing: Standing = { kind: 'ours' };
  #active: Segment;
  #committedEnd: number;
  #nextOffset: number;
  #nextPosition: number;
  #lastTimestampMs: number;
  #gathered: PendingAppend[] = [];
  #gatheredBytes = 0;
  #gatheredRecords = 0;
  readonly #repeated = new RepeatedAppends();
  /** One more each time L4 took accepted appends back. */
  #takenBack = 0;

  constructor(
    state: ShardLogState,
    options: ShardLogOptions,
    deps: { readonly clock: Clock; readonly writer: BatchWriter<ShardLog> },
  ) {
    this.id = state.id;
    this.uid = state.uid;
    this.config = state.config;
    this.logStart = state.logStart;
    this.segments = state.segments;
    this.producers = state.producers;
    this.#options = options;
    this.#clock = deps.clock;
    this.#writer = deps.writer;
    const last = state.segments.at(-1);
    assert(last?.state === 'open' && last.bytes === 0, 'a shard goes on in an open segment of its own'); // J4
    this.#active = last;
    this.#activate(last);
    this.#committedEnd = last.endOffset;
    this.#nextOffset = last.endOffset;
    this.#nextPosition = 0;
    this.#lastTimestampMs = Math.max(0, ...state.segments.map((segment) => segment.lastTimestampMs));
  }

  get committedEnd(): number {
    return this.#committedEnd;
  }

  get active(): Segment {
    return this.#active;
  }

  /** Takes over another retention; the size holds from the segment that is open now. */
  configure(config: ShardConfig, segmentBytes: number): void {
    this.config = config;
    this.#options = { ...this.#options, segmentBytes };
  }

  /** Whether the next segment should be registered now. */
  get wantsPrepared(): boolean {
    return this.preparedEpoch === undefined && this.#nextPosition >= this.#options.segmentBytes * PREPARE_AT;
  }

  /** The hot path. Never throws; rejects with a StorageError. */
  append(records: readonly AppendRecord[], producer: Producer | undefined): Promise<AppendResult> {
    try {
      const bytes = recordBytes(records);
      const refusal = this.#refusal() ?? this.#writer.refusal(bytes);
      if (refusal) return Promise.reject(refusal);
      if (producer) return this.#appendOnce(records, producer, bytes);
      const accepted = this.#accept(records, bytes);
      if (this.#gatheredBytes >= this.#options.batchBytes) this.seal();
      else this.#writer.gather(this);
      return accepted;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Makes one batch of what was gathered and hands it to the WAL. */
  seal(producer?: Producer): void {
    if (this.#gathered.length === 0) return;
    this.#beginBatch();
    const appends = this.#gathered;
    const [bytes, records] = [this.#gatheredBytes, this.#gatheredRecords];
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#gatheredRecords = 0;
    const buffer = encodeBody(appends, bytes + producerBytes(producer), producer);
    const baseOffset = (appends[0] as PendingAppend).firstOffset; // checked above
    const place = { baseOffset, recordCount: records, offsetSpan: records, hasProducer: producer !== undefined };
    this.#send(buffer, { ...place, kind: 'records' }, { appends, bytes });
  }

  /** Closes the active segment behind what was accepted; the next batch opens the prepared one. */
  roll(): void {
    this.seal();
    if (this.preparedEpoch === undefined || this.#nextPosition === 0) return;
    const old = this.#active;
    old.sealEnd = this.#nextOffset;
    old.producersAtEnd = this.producers.encode();
    const name = { shardUid: this.uid, epoch: this.preparedEpoch, generation: 0 };
    const next = new Segment(name, this.#nextOffset); // L3
    this.preparedEpoch = undefined;
    this.#nextPosition = 0;
    this.#active = next;
    this.#activate(next);
    this.segments = [...this.segments, next];
    if (old.endOffset === old.sealEnd) this.#writer.sealed(this, old);
  }

  fence(cause: unknown): void {
    if (this.#standing.kind === 'ours') this.#standing = { kind: 'fenced', cause };
  }

  /** Nobody reads or appends any more; what was accepted is rejected when it comes back. */
  markDeleted(): void {
    this.#standing = { kind: 'deleted' };
    this.listeners.clear();
    for (const batch of this.unwritten) batch.written = true;
    this.unwritten = [];
  }

  get isDeleted(): boolean {
    return this.#standing.kind === 'deleted';
  }

  /** Whether nothing is under way: the producer table is exactly that of committedEnd. */
  get isQuiet(): boolean {
    return this.#nextOffset === this.#committedEnd && this.unwritten.length === 0;
  }

  #refusal(): StorageError | undefined {
    if (this.#standing.kind === 'deleted') return new StorageError('SHARD_NOT_FOUND', `shard ${this.id} was deleted`);
    if (this.#standing.kind === 'fenced')
      return new StorageError('UNAVAILABLE', `another writer has taken shard ${this.id} over`, {
        cause: this.#standing.cause,
      });
    if (this.#nextPosition > Math.max(this.#options.segmentBytes * OVERRUN_FACTOR, OVERRUN_BYTES_MIN))
      return new StorageError(
        'UNAVAILABLE',
        `shard ${this.id} cannot open its next segment: meta does not answer; retry when it does`,
      );
    return undefined;
  }

  /** A producer's append is a batch of its own: its sequence stands in the batch. */
  #appendOnce(records: readonly AppendRecord[], producer: Producer, bytes: number): Promise<AppendResult> {
    assertProducer(producer);
    this.seal();
    this.#beginBatch(); // before admit(): an opening holds the producers of the batches before it, not of this one
    const admission = this.producers.admit(producer, records.length, this.#nextOffset);
    if (admission.kind === 'repeated') {
      const result = resultOf(admission.firstOffset, records.length);
      // The first append may still be on its way: its repetition resolves no earlier (L2).
      return result.lastOffset < this.#committedEnd ? Promise.resolve(result) : this.#repeated.wait(result);
    }
    const accepted = this.#accept(records, bytes);
    this.seal(producer);
    return accepted;
  }

  #accept(records: readonly AppendRecord[], bytes: number): Promise<AppendResult> {
    if (this.#gatheredRecords + records.length > BATCH_RECORDS_MAX) this.seal();
    const firstOffset = this.#nextOffset; // L1
    this.#nextOffset += records.length;
    this.#gatheredBytes += bytes;
    this.#gatheredRecords += records.length;
    this.#writer.reserve(bytes);
    return new Promise((resolve, reject) => {
      this.#gathered.push({ records, firstOffset, resolve, reject });
    });
  }

  /** The place of the next batch: behind the last one, or behind the opening of the next segment. */
  #beginBatch(): void {
    this.#rollIfFull();
    if (this.#nextPosition === 0) this.#writeOpening();
  }

  #rollIfFull(): void {
    if (this.#nextPosition < this.#options.segmentBytes || this.preparedEpoch === undefined) return;
    // What is gathered has offsets already: it belongs behind the cut.
    const gathered = this.#gathered;
    this.#gathered = [];
    this.#nextOffset -= this.#gatheredRecords;
    this.roll();
    this.#nextOffset += this.#gatheredRecords;
    this.#gathered = gathered;
  }

  /** The producers as of this place, so that nobody needs older segments to go on (B3). */
  #writeOpening(): void {
    const baseOffset = this.#active.baseOffset;
    const table = this.producers.encode();
    const buffer = Buffer.allocUnsafe(BATCH_HEADER_BYTES + table.length);
    buffer.set(table, BATCH_HEADER_BYTES);
    const place = { baseOffset, recordCount: 0, offsetSpan: 0, hasProducer: false };
    this.#send(buffer, { ...place, kind: 'opening' }, { appends: [], bytes: 0 });
  }

  #send(
    buffer: Buffer,
    place: {
      readonly baseOffset: number;
      readonly recordCount: number;
      readonly offsetSpan: number;
      readonly hasProducer: boolean;
      readonly kind: 'records' | 'opening';
    },
    waiting: { readonly appends: readonly PendingAppend[]; readonly bytes: number },
  ): void {
    const { epoch, generation } = this.#active;
    const position = this.#nextPosition;
    const timestampMs = Math.max(this.#lastTimestampMs, Math.floor(this.#clock.wallTime()));
    this.#lastTimestampMs = timestampMs;
    sealBatch(buffer, { ...place, shardUid: this.uid, epoch, generation, timestampMs, position });
    this.#nextPosition += buffer.length;
    const batch: StoredBatch = {
      tail: this.tail,
      segment: this.#active,
      buffer,
      position,
      baseOffset: place.baseOffset,
      endOffset: place.baseOffset + place.offsetSpan,
      timestampMs,
      written: false,
    };
    const takenBack = this.#takenBack;
    this.#writer.write(this, batch, (error) => {
      this.#writer.release(waiting.bytes);
      if (error) this.#refuse(waiting.appends, error);
      else this.#commit(batch, waiting.appends, takenBack);
    });
  }

  #commit(batch: StoredBatch, appends: readonly PendingAppend[], takenBack: number): void {
    assert(takenBack === this.#takenBack, 'no batch becomes durable behind a refused one'); // L4
    const { segment, buffer } = batch;
    assert(batch.position === segment.bytes && batch.baseOffset === segment.endOffset, 'batches follow each other');
    if (this.#standing.kind === 'deleted') {
      const deleted = new StorageError('SHARD_NOT_FOUND', `shard ${this.id} was deleted`);
      for (const { reject } of appends) reject(deleted);
      return;
    }
    segment.bytes += buffer.length;
    segment.digest = extendDigest(segment.digest, buffer);
    segment.endOffset = batch.endOffset;
    if (appends.length > 0) segment.firstTimestampMs ??= batch.timestampMs;
    segment.lastTimestampMs = batch.timestampMs;
    segment.index?.add(batch.baseOffset, batch.position, batch.timestampMs);
    this.unwritten.push(batch);
    this.#committedEnd = batch.endOffset; // L2
    this.#writer.committed(this, batch);
    for (const { records, firstOffset, resolve } of appends) resolve(resultOf(firstOffset, records.length)); // L1
    this.#repeated.resolveBelow(this.#committedEnd);
    if (segment.sealEnd === segment.endOffset) this.#writer.sealed(this, segment);
    if (appends.length === 0) return;
    for (const listener of this.listeners) listener(this.#committedEnd as Offset); // the end is an offset
  }

  #refuse(appends: readonly PendingAppend[], error: StorageError): void {
    for (const { reject } of appends) reject(error);
    this.takeBack(error);
  }

  /** Everything accepted but not durable is refused and its offsets are given again (L4). */
  takeBack(error: StorageError): void {
    if (this.#nextOffset === this.#committedEnd && this.#nextPosition === this.#active.bytes) return;
    this.#takenBack++;
    const gathered = this.#gathered;
    this.#writer.release(this.#gatheredBytes);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#gatheredRecords = 0;
    for (const { reject } of gathered) reject(error);
    this.#repeated.rejectAll(error);
    this.#nextOffset = this.#committedEnd;
    this.producers.forgetFrom(this.#committedEnd);
    this.#rebaseActive();
    this.#nextPosition = this.#active.bytes;
  }

  /** The segment opened behind what was taken back begins lower now. */
  #rebaseActive(): void {
    const old = this.#active;
    if (old.bytes > 0 || old.baseOffset === this.#committedEnd) return;
    const next = new Segment(old, this.#committedEnd);
    this.#active = next;
    this.#activate(next);
    this.segments = [...this.segments.slice(0, -1), next]; // L3
    for (const segment of this.segments) {
      if (segment.sealEnd === undefined || segment.sealEnd <= this.#committedEnd) continue;
      segment.sealEnd = this.#committedEnd;
      segment.producersAtEnd = this.producers.encode();
      this.#writer.sealed(this, segment);
    }
  }

  #activate(segment: Segment): void {
    segment.index = new SparseIndex(this.#options.indexIntervalBytes);
    segment.openedAtMs = this.#clock.now();
  }
}
