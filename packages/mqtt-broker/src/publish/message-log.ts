// The message shards: what is appended in a turn, and what follows when it is kept.
//
// A shard's topics are fixed (topic-shard.ts), so the order of a shard is the order of each of its topics.
// Publications of one turn are gathered into one append per shard; storage groups appends into fewer syncs.
//
// Invariants:
//   L1. onStored is called in the order of offsets, which is the order of enqueue() and follow().
//   L2. A follower without a record (QoS 0, or nobody durable wants it) is released after everything that was
//       enqueued before it, so that it does not overtake an earlier message of its publisher.
//   L3. `end` is moved before onStored is called for the record that ends there: whoever reads up to `end`
//       meanwhile has seen everything that was handed out, and nothing twice.

import { assert } from '@robustmq/stdx/assert';
import type { Clock } from '@robustmq/stdx/clock';
import type { AppendRecord, AppendResult, Offset, Producer, ShardId, ShardStorage } from '@robustmq/storage-adapter';

/** A batch is cut here: within what one append may carry, and small enough to be written in one go. */
const BATCH_RECORDS_MAX = 8192;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;

export interface MessageLogHandler<P> {
  /** The record of this publication is kept at this offset. */
  onStored(publication: P, shard: number, offset: Offset): void;
  /** An earlier attempt had put it there: it is kept, and was handed out or will be read. */
  onRepeated(publication: P, shard: number, offset: Offset): void;
  /** A publication without a record: everything before it is out. */
  onFollowed(publication: P): void;
  /** The record of this publication is not kept, or nobody knows. */
  onFailed(publication: P, error: unknown): void;
  /** Records [from, to) appeared that nobody here enqueued, or whose append was reported as failed. */
  onGap(shard: number, from: Offset, to: Offset): void;
}

interface Batch<P> {
  readonly records: AppendRecord[];
  readonly publications: P[];
  /** followers[i] are released after publication i; sparse, because there are few. */
  readonly followers: Map<number, P[]>;
  bytes: number;
  /** Only of a batch of one record that must count once however often it is tried (enqueueOnce). */
  readonly producer: Producer | undefined;
}

interface LogShard<P> {
  readonly id: ShardId;
  /** The offset behind the last record that was handed out. */
  end: Offset;
  gathering: Batch<P> | undefined;
  readonly underWay: Batch<P>[];
}

export class MessageLog<P> {
  readonly #storage: ShardStorage;
  readonly #clock: Clock;
  readonly #handler: MessageLogHandler<P>;
  readonly #shards: readonly LogShard<P>[];
  #dirty: LogShard<P>[] = [];
  #bytesUnderWay = 0;
  #recordsUnderWay = 0;
  #onQuiet: (() => void)[] = [];

  constructor(
    deps: { readonly storage: ShardStorage; readonly clock: Clock; readonly handler: MessageLogHandler<P> },
    shards: readonly { readonly id: ShardId; readonly end: Offset }[],
  ) {
    this.#storage = deps.storage;
    this.#clock = deps.clock;
    this.#handler = deps.handler;
    this.#shards = shards.map(({ id, end }) => ({ id, end, gathering: undefined, underWay: [] }));
  }

  get shards(): number {
    return this.#shards.length;
  }

  /** Payload bytes that wait for storage. */
  get bytesUnderWay(): number {
    return this.#bytesUnderWay;
  }

  get recordsUnderWay(): number {
    return this.#recordsUnderWay;
  }

  idOf(shard: number): ShardId {
    return this.#at(shard).id;
  }

  /** Everything below was handed out (L3). */
  endOf(shard: number): Offset {
    return this.#at(shard).end;
  }

  isBusy(shard: number): boolean {
    const { gathering, underWay } = this.#at(shard);
    return gathering !== undefined || underWay.length > 0;
  }

  enqueue(shard: number, record: AppendRecord, publication: P): void {
    const target = this.#at(shard);
    const batch = target.gathering ?? this.#open(target);
    batch.records.push(record);
    batch.publications.push(publication);
    batch.bytes += record.payload.length;
    this.#bytesUnderWay += record.payload.length;
    this.#recordsUnderWay++;
    if (batch.records.length >= BATCH_RECORDS_MAX || batch.bytes >= BATCH_BYTES_MAX) this.#submit(target);
  }

  /** The record counts once for this producer, also when a restart tries it again: it travels alone. */
  enqueueOnce(
    shard: number,
    record: AppendRecord,
    { publication, producer }: { publication: P; producer: Producer },
  ): void {
    const target = this.#at(shard);
    this.#submit(target);
    const batch = this.#open(target, producer);
    batch.records.push(record);
    batch.publications.push(publication);
    batch.bytes = record.payload.length;
    this.#bytesUnderWay += record.payload.length;
    this.#recordsUnderWay++;
    this.#submit(target);
  }

  /** Hands what was gathered to storage now instead of at the end of the turn. */
  flush(shard: number): void {
    this.#submit(this.#at(shard));
  }

  /** Releases the publication after all that is under way in the shard (L2); only while isBusy(). */
  follow(shard: number, publication: P): void {
    const target = this.#at(shard);
    const batch = target.gathering ?? target.underWay.at(-1);
    assert(batch, 'a follower follows something');
    this.#append(batch, publication);
  }

  /** Resolves when nothing is under way in any shard. */
  quiet(): Promise<void> {
    if (!this.#shards.some((_, shard) => this.isBusy(shard))) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onQuiet.push(resolve);
    });
  }

  #at(shard: number): LogShard<P> {
    const found = this.#shards[shard];
    assert(found, `there is no message shard ${shard}`);
    return found;
  }

  #open(target: LogShard<P>, producer?: Producer): Batch<P> {
    const batch: Batch<P> = { records: [], publications: [], followers: new Map(), bytes: 0, producer };
    target.gathering = batch;
    this.#dirty.push(target);
    if (this.#dirty.length === 1) this.#clock.setImmediate(() => this.#submitAll());
    return batch;
  }

  #submitAll(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const target of dirty) this.#submit(target);
  }

  #submit(target: LogShard<P>): void {
    const batch = target.gathering;
    if (!batch) return; // it went earlier in the turn
    target.gathering = undefined;
    target.underWay.push(batch);
    const { producer } = batch;
    this.#storage.append(target.id, batch.records, producer === undefined ? {} : { producer }).then(
      (result) => this.#stored(target, batch, result),
      (error: unknown) => this.#failed(target, batch, error),
    );
  }

  #stored(target: LogShard<P>, batch: Batch<P>, { firstOffset }: AppendResult): void {
    this.#leave(target, batch);
    const shard = this.#shards.indexOf(target);
    if (firstOffset < target.end) {
      this.#repeated(batch, shard, firstOffset);
      return;
    }
    if (firstOffset > target.end) {
      const from = target.end;
      target.end = firstOffset;
      this.#handler.onGap(shard, from, firstOffset);
    }
    for (let i = 0; i < batch.publications.length; i++) {
      const offset = (firstOffset + i) as Offset; // the offsets of a batch follow each other
      target.end = (offset + 1) as Offset; // L3
      this.#handler.onStored(batch.publications[i] as P, shard, offset); // i is within the list
      if (batch.followers.size > 0) this.#release(batch, i);
    }
    this.#checkQuiet();
  }

  #checkQuiet(): void {
    if (this.#onQuiet.length === 0 || this.#shards.some((_, shard) => this.isBusy(shard))) return;
    for (const resolve of this.#onQuiet.splice(0)) resolve();
  }

  /** The producer's record was there before: whoever reads the log gets it from there, and it is safe. */
  #repeated(batch: Batch<P>, shard: number, offset: Offset): void {
    assert(batch.producer, 'only a repeated append has an old offset');
    this.#handler.onRepeated(batch.publications[0] as P, shard, offset); // such a batch has one
    this.#release(batch, 0);
    this.#checkQuiet();
  }

  /** A refusal may come out of turn, while earlier batches are under way: its followers then follow those (L2). */
  #failed(target: LogShard<P>, batch: Batch<P>, error: unknown): void {
    const at = target.underWay.indexOf(batch);
    assert(at >= 0, 'a batch ends once');
    target.underWay.splice(at, 1);
    this.#bytesUnderWay -= batch.bytes;
    this.#recordsUnderWay -= batch.records.length;
    const before = target.underWay[at - 1];
    for (let i = 0; i < batch.publications.length; i++) {
      this.#handler.onFailed(batch.publications[i] as P, error); // i is within the list
      if (before === undefined) this.#release(batch, i);
      else for (const follower of batch.followers.get(i) ?? []) this.#append(before, follower);
    }
    this.#checkQuiet();
  }

  #append(batch: Batch<P>, follower: P): void {
    const behind = batch.records.length - 1;
    const followers = batch.followers.get(behind);
    if (followers) followers.push(follower);
    else batch.followers.set(behind, [follower]);
  }

  #release(batch: Batch<P>, behind: number): void {
    for (const follower of batch.followers.get(behind) ?? []) this.#handler.onFollowed(follower);
  }

  #leave(target: LogShard<P>, batch: Batch<P>): void {
    assert(target.underWay.shift() === batch, 'appends to a shard resolve in the order of their calls'); // S4 of storage
    this.#bytesUnderWay -= batch.bytes;
    this.#recordsUnderWay -= batch.records.length;
  }
}
