// The contract through which the broker stores records. Public methods validate; drivers perform.
//
// Invariants every driver keeps (the suite proves them):
//   S1. A resolved append survives what `capabilities.durability` says.
//   S2. Offsets rise; a batch is appended whole or not at all; concurrent appends do not interleave.
//   S3. A reader never sees a record that a resolved append could still lose.
//   S4. The order of resolution is the order of offsets within a shard.
//   S5. logStart and end never go down.
import type { Capabilities } from './capabilities.js';
import { StorageError } from './errors.js';
import type { AppendRecord, Offset, Producer, ShardId, StoredRecord } from './record.js';

export interface ShardConfig {
  /**
   * `delete` drops the oldest records by time and size; `compact` keeps the newest record of every key;
   * `keep` drops nothing until trim() says so.
   */
  readonly cleanup: 'delete' | 'compact' | 'keep';
  /** With `delete`: records older than this may go, in milliseconds. Undefined keeps them regardless of age. */
  readonly retentionMs?: number;
  /** With `delete`: the oldest records go when the shard is larger, in bytes. Undefined sets no bound. */
  readonly retentionBytes?: number;
  /**
   * With `compact`: how long a tombstone, a record with a key and an empty payload, can still be read, in milliseconds;
   * then it may go like the records it replaced. Default 24 hours (TOMBSTONE_MS): a reader that mirrors the shard and
   * was away for less sees every deletion; one that was away for longer reads the shard anew.
   */
  readonly tombstoneMs?: number;
}

export interface ShardDescription {
  readonly shard: ShardId;
  readonly config: ShardConfig;
  /** The oldest offset that can be read. */
  readonly logStart: Offset;
  /** The offset the next record will get; everything below is committed and readable. */
  readonly end: Offset;
}

export interface AppendOptions {
  readonly producer?: Producer;
}

export interface AppendResult {
  readonly firstOffset: Offset;
  readonly lastOffset: Offset;
}

export interface ReadOptions {
  readonly from: Offset;
  /** At most this many records. */
  readonly maxRecords: number;
  /** Stops after the record that reaches this many payload bytes; one record is always returned if there is one. */
  readonly maxBytes: number;
}

export interface ReadResult {
  readonly records: readonly StoredRecord[];
  /** Where to go on; larger than the last record's offset + 1 where compaction left a gap. */
  readonly next: Offset;
  /** The end of the shard when this was read: `next` equal to it means nothing is left. */
  readonly end: Offset;
}

export interface KeyQuery {
  readonly key: string;
}

export interface TagQuery extends ReadOptions {
  readonly tag: string;
}

/** Called with the new end each time records become readable; must not throw; must return at once. */
export type EndListener = (end: Offset) => void;

export interface GroupOffset {
  readonly shard: ShardId;
  readonly offset: Offset;
}

export type StorageState = 'open' | 'closing' | 'closed';

const SHARD_NAME = /^(?!\/)[A-Za-z0-9._/-]{1,255}(?<!\/)$/;

/** Bounds on what one call may carry. A driver may be stricter, never laxer. */
export const STORAGE_LIMITS = {
  /** One record's payload. An MQTT packet is at most 256 MiB; the default broker limit is 1 MiB. */
  recordBytesMax: 64 * 1024 * 1024,
  /** Records of one append: a broker's tick rarely gathers more, and a longer one would block readers. */
  batchRecordsMax: 65_536,
  keyBytesMax: 65_535,
  tagsMax: 32,
} as const;

/** Of a compacted shard that sets no tombstoneMs; the reason is at ShardConfig. */
export const TOMBSTONE_MS = 24 * 60 * 60 * 1000;

export abstract class ShardStorage implements AsyncDisposable {
  abstract readonly capabilities: Capabilities;
  #state: StorageState = 'open';

  get state(): StorageState {
    return this.#state;
  }

  /**
   * Creates the shard. One that exists with the same cleanup takes over the retention and tombstone times given here, which
   * hold for what it has already; another cleanup is SHARD_EXISTS.
   */
  async createShard(name: string, config: ShardConfig): Promise<ShardId> {
    this.#assertOpen();
    const shard = parseShardId(name);
    assertConfig(config);
    if (config.cleanup === 'compact' && !this.capabilities.compaction) throw unsupported('compaction');
    await this._createShard(shard, config);
    return shard;
  }

  async deleteShard(shard: ShardId): Promise<void> {
    this.#assertOpen();
    await this._deleteShard(shard);
  }

  /** Names that begin with the prefix, sorted. */
  async listShards(prefix = ''): Promise<ShardId[]> {
    this.#assertOpen();
    return await this._listShards(prefix);
  }

  async describeShard(shard: ShardId): Promise<ShardDescription> {
    this.#assertOpen();
    return await this._describeShard(shard);
  }

  /** Appends all records or none (S2). Resolves when they can no longer be lost (S1), in offset order (S4). */
  append(shard: ShardId, records: readonly AppendRecord[], options: AppendOptions = {}): Promise<AppendResult> {
    if (this.#state !== 'open') return Promise.reject(closed());
    const problem = findProblem(records);
    if (problem) return Promise.reject(problem);
    return this._append(shard, records, options);
  }

  /** Committed records from an offset on. OFFSET_OUT_OF_RANGE below logStart or above end. */
  async read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    this.#assertOpen();
    assertReadable(options);
    return await this._read(shard, options);
  }

  /** The first offset whose record was appended at or after the time; the end when there is none. */
  async offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    this.#assertOpen();
    return await this._offsetAtTime(shard, timestampMs);
  }

  /** The newest record of a key. */
  async readByKey(shard: ShardId, query: KeyQuery): Promise<StoredRecord | undefined> {
    this.#assertOpen();
    if (!this.capabilities.readByKey) throw unsupported('readByKey');
    return await this._readByKey(shard, query);
  }

  /** Records that carry the tag, from an offset on. */
  async readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    this.#assertOpen();
    if (!this.capabilities.readByTag) throw unsupported('readByTag');
    assertReadable(query);
    return await this._readByTag(shard, query);
  }

  /** Tells when the shard grows, until the returned function is called. */
  onEnd(shard: ShardId, listener: EndListener): () => void {
    this.#assertOpen();
    return this._onEnd(shard, listener);
  }

  /** Records before the offset may go; logStart moves up to it at once. */
  async trim(shard: ShardId, before: Offset): Promise<void> {
    this.#assertOpen();
    await this._trim(shard, before);
  }

  /** Remembers how far a group of consumers has come. Later calls win; offsets may go back. */
  async commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    this.#assertOpen();
    if (offsets.length > 0) await this._commitOffsets(group, offsets);
  }

  /** What was committed for a group: all its shards. */
  async committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    this.#assertOpen();
    return await this._committedOffsets(group);
  }

  async deleteGroup(group: string): Promise<void> {
    this.#assertOpen();
    await this._deleteGroup(group);
  }

  /** Finishes what was accepted, refuses what comes after. Idempotent. */
  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    try {
      await this._close();
    } finally {
      this.#state = 'closed';
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assertOpen(): void {
    if (this.#state !== 'open') throw closed();
  }

  protected abstract _createShard(shard: ShardId, config: ShardConfig): Promise<void>;
  protected abstract _deleteShard(shard: ShardId): Promise<void>;
  protected abstract _listShards(prefix: string): Promise<ShardId[]>;
  protected abstract _describeShard(shard: ShardId): Promise<ShardDescription>;
  protected abstract _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    options: AppendOptions,
  ): Promise<AppendResult>;
  protected abstract _read(shard: ShardId, options: ReadOptions): Promise<ReadResult>;
  protected abstract _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset>;
  protected abstract _readByKey(shard: ShardId, query: KeyQuery): Promise<StoredRecord | undefined>;
  protected abstract _readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult>;
  protected abstract _onEnd(shard: ShardId, listener: EndListener): () => void;
  protected abstract _trim(shard: ShardId, before: Offset): Promise<void>;
  protected abstract _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void>;
  protected abstract _committedOffsets(group: string): Promise<readonly GroupOffset[]>;
  protected abstract _deleteGroup(group: string): Promise<void>;
  protected abstract _close(): Promise<void>;
}

export function parseShardId(name: string): ShardId {
  if (!SHARD_NAME.test(name)) {
    throw new StorageError(
      'INVALID_ARGUMENT',
      `"${name}" is no shard name: 1 to 255 of A-Z a-z 0-9 . _ / -, no slash at the ends`,
    );
  }
  return name as ShardId; // just checked
}

export function parseOffset(value: number): Offset {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new StorageError('INVALID_ARGUMENT', `${value} is no offset: a whole number from 0 to 2^53 - 1`);
  return value as Offset; // just checked
}

function assertConfig({ retentionMs, retentionBytes, tombstoneMs }: ShardConfig): void {
  for (const [name, value] of Object.entries({ retentionMs, retentionBytes, tombstoneMs }))
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
      throw new StorageError('INVALID_ARGUMENT', `${name} is ${value}: a whole number from 0 up is legal`);
}

function findProblem(records: readonly AppendRecord[]): StorageError | undefined {
  const { batchRecordsMax, recordBytesMax, keyBytesMax, tagsMax } = STORAGE_LIMITS;
  if (records.length === 0) return new StorageError('INVALID_ARGUMENT', 'an append carries at least one record');
  if (records.length > batchRecordsMax)
    return new StorageError('RECORD_TOO_LARGE', `${records.length} records in one append, at most ${batchRecordsMax}`);
  for (const { payload, key, tags } of records) {
    if (payload.length > recordBytesMax)
      return new StorageError('RECORD_TOO_LARGE', `a record of ${payload.length} bytes, at most ${recordBytesMax}`);
    if (key !== undefined && Buffer.byteLength(key) > keyBytesMax)
      return new StorageError('INVALID_ARGUMENT', `a key of more than ${keyBytesMax} bytes`);
    if (tags && tags.length > tagsMax)
      return new StorageError('INVALID_ARGUMENT', `${tags.length} tags on a record, at most ${tagsMax}`);
  }
  return undefined;
}

function assertReadable({ from, maxRecords, maxBytes }: ReadOptions): void {
  parseOffset(from);
  if (!(maxRecords >= 1) || !(maxBytes >= 1))
    throw new StorageError('INVALID_ARGUMENT', 'a read asks for at least one record and one byte');
}

const closed = () => new StorageError('CLOSED', 'the storage is closed');
const unsupported = (capability: string) =>
  new StorageError('NOT_SUPPORTED', `this driver does not support ${capability}`);
