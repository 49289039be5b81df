// The state on disk: the records of record.ts and one header, in a database of the level family.
//
//   current              8 hex digits: the generation in force
//   <generation>/h       the header (state-header.ts)
//   <generation>/<key>   a record (record.ts); keys begin with l/, s/ or v/
//
// Why the state may be on level although nothing acknowledged may depend on it (architecture D4): the Raft log
// is the durable copy. Batches are written without a sync; before the log is compacted, flush() syncs. After a
// crash the database is at the end of some earlier batch, and the log gives it the rest again.

import { assert } from '@robustmq/stdx/assert';
import { MiB } from '@robustmq/stdx/byte-size';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { MetaError } from '../errors.js';
import type { RecordSink } from '../state/record-ledger.js';
import type { LevelDatabase } from './level-database.js';
import { decodeHeader, encodeHeader, type StoredHeader } from './state-header.js';

/** Records and the header as they were at one moment; let go of by close(). */
export interface StoredView {
  readonly header: StoredHeader;
  /** In the order of their keys. */
  records(): AsyncIterable<readonly StoredRecord[]>;
  close(): Promise<void>;
}

export type StoredRecord = readonly [key: string, value: Buffer];

/** Beyond this the caller of commit() waits: the disk is slower than the log. */
const PENDING_BYTES_MAX = 16 * MiB;
/** Rows, and bytes, per trip to the database's thread; by itself it would come back after 16 KiB. */
const ROWS_PER_READ = 1000;
const READ_BYTES = MiB;
/** Cost of a record beside key and value in the pending count. */
const RECORD_OVERHEAD_BYTES = 64;

const CURRENT = 'current';
const HEADER = 'h';
const FIRST_GENERATION = 1;

/**
 * Gathers what the state writes and brings it to the database in the background, one batch at a time.
 *
 * Invariants:
 *   B1. A batch holds everything of the commits it covers, and the header of the last: all or nothing.
 *   B2. One batch is in flight; what is committed meanwhile is the next.
 *   B3. After the first failed write every call fails: what is in the database is a whole earlier state.
 */
export class LevelStateStore implements RecordSink {
  readonly #db: LevelDatabase;
  #generation: number;
  /** What was written since the last commit and since the last batch; undefined is a removal. */
  #pending = new Map<string, Buffer | undefined>();
  #pendingBytes = 0;
  /** Of the last commit; undefined when it is written. */
  #pendingHeader: StoredHeader | undefined;
  #written: StoredHeader | undefined;
  #writing: Promise<void> | undefined;
  #failure: MetaError | undefined;

  private constructor(db: LevelDatabase, generation: number) {
    this.#db = db;
    this.#generation = generation;
  }

  /** Also removes what an interrupted replace() has left. */
  static async open(db: LevelDatabase): Promise<LevelStateStore> {
    const current = await reading(db.get(CURRENT));
    const generation = current ? Number.parseInt(current.toString(), 16) : FIRST_GENERATION;
    if (!Number.isSafeInteger(generation)) throw new MetaError('DAMAGED', 'The stored state names no generation.');
    const store = new LevelStateStore(db, generation);
    await reading(db.clear({ lt: store.#key('') }));
    await reading(db.clear({ gte: generationKey(generation + 1, ''), lt: CURRENT }));
    if (!current) await db.batch([{ type: 'put', key: CURRENT, value: Buffer.from(hex(generation)) }], { sync: true });
    return store;
  }

  /** The header of the last batch that was written; undefined for a fresh store. */
  get written(): StoredHeader | undefined {
    return this.#written;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** What was found at open(), undefined when nothing was. To be called once, before anything is written. */
  async load(): Promise<StoredView | undefined> {
    const bytes = await reading(this.#db.get(this.#key(HEADER)));
    if (bytes) {
      this.#written = decodeHeader(bytes);
      return this.#view(this.#written, undefined);
    }
    for await (const [first] of this.#rows(undefined)) {
      if (first) throw new MetaError('DAMAGED', `The stored state has records (${first[0]}) and no header.`);
    }
    return undefined;
  }

  put(recordKey: string, record: Buffer): void {
    this.#pending.set(recordKey, record);
    this.#pendingBytes += recordKey.length + record.length + RECORD_OVERHEAD_BYTES;
  }

  delete(recordKey: string): void {
    // A record is written once under its key: if that is still pending, neither needs to reach the disk.
    const pending = this.#pending.get(recordKey);
    if (pending) {
      this.#pending.delete(recordKey);
      this.#pendingBytes -= recordKey.length + pending.length + RECORD_OVERHEAD_BYTES;
    } else {
      this.#pending.set(recordKey, undefined);
      this.#pendingBytes += recordKey.length + RECORD_OVERHEAD_BYTES;
    }
  }

  /** What was put and deleted since the last commit is complete and belongs to this header. Resolves when there is room for more. */
  async commit(header: StoredHeader): Promise<void> {
    this.#checkSound();
    this.#pendingHeader = header;
    this.#writing ??= this.#writeAll();
    while (this.#pendingBytes > PENDING_BYTES_MAX && !this.#failure) await this.#writing;
    this.#checkSound();
  }

  /** Resolves when everything committed survives power loss. */
  async flush(): Promise<void> {
    await this.#drain();
    if (!this.#written) return;
    // LevelDB writes one log: a synced batch makes all earlier ones durable.
    await this.#batch([{ type: 'put', key: this.#key(HEADER), value: encodeHeader(this.#written) }], 'sync');
  }

  /** A view of everything committed before the call. */
  async view(): Promise<StoredView> {
    await this.#drain();
    assert(this.#written !== undefined, 'a view is taken of a state that was written');
    // In this turn no batch is in flight, so database and #written agree.
    return this.#view(this.#written, this.#db.snapshot());
  }

  /**
   * Replaces everything by other records, durably and at once. `check` is called after the last record: when it throws,
   * the old state stays.
   */
  async replace(
    header: StoredHeader,
    records: AsyncIterable<readonly StoredRecord[]>,
    check: () => void,
  ): Promise<void> {
    await this.#drain();
    assert(this.#pending.size === 0, 'nothing is written while the state is replaced');
    const next = this.#generation + 1;
    try {
      for await (const rows of records) {
        const puts = rows.map(([key, value]) => ({ type: 'put' as const, key: generationKey(next, key), value }));
        await this.#batch(puts, 'no-sync');
      }
      check();
    } catch (error) {
      if (!this.#failure) await this.#db.clear({ gte: generationKey(next, ''), lt: CURRENT });
      throw error;
    }
    const flip = [
      { type: 'put' as const, key: generationKey(next, HEADER), value: encodeHeader(header) },
      { type: 'put' as const, key: CURRENT, value: Buffer.from(hex(next)) },
    ];
    await this.#batch(flip, 'sync');
    const old = this.#key('');
    this.#generation = next;
    this.#written = header;
    await this.#db.clear({ gte: old, lt: this.#key('') });
  }

  async close(): Promise<void> {
    if (!this.#failure) await this.#drain();
    await this.#db.close();
  }

  async #drain(): Promise<void> {
    while (this.#writing) await this.#writing;
    this.#checkSound();
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#pendingHeader) {
        const header = this.#pendingHeader;
        const operations = [...this.#pending].map(([key, value]) => this.#operation(key, value));
        operations.push(this.#operation(HEADER, encodeHeader(header))); // B1
        const bytes = this.#pendingBytes;
        this.#pending = new Map();
        this.#pendingHeader = undefined;
        await this.#batch(operations, 'no-sync'); // B2
        this.#pendingBytes -= bytes;
        this.#written = header;
      }
    } catch {
      // #failure says it; whoever commits, drains or flushes next is told.
    } finally {
      this.#writing = undefined;
    }
  }

  async #batch(operations: Operation[], sync: 'sync' | 'no-sync'): Promise<void> {
    this.#checkSound();
    try {
      await this.#db.batch(operations, { sync: sync === 'sync' });
    } catch (error) {
      this.#failure = new MetaError(
        'FAILED',
        'Writing the metadata state failed, and nothing more is written. See the cause, mend the disk, restart the node.',
        { cause: error },
      );
      throw this.#failure; // B3
    }
  }

  #operation(key: string, value: Buffer | undefined): Operation {
    return value ? { type: 'put', key: this.#key(key), value } : { type: 'del', key: this.#key(key) };
  }

  #view(header: StoredHeader, snapshot: ReturnType<LevelDatabase['snapshot']> | undefined): StoredView {
    return {
      header,
      records: () => this.#rows(snapshot),
      close: async () => snapshot?.close(),
    };
  }

  async *#rows(snapshot: ReturnType<LevelDatabase['snapshot']> | undefined): AsyncGenerator<readonly StoredRecord[]> {
    // The header's key h sorts before all records (l, s, v).
    const bounds = { gt: this.#key(HEADER), lt: generationKey(this.#generation + 1, '') };
    const options = { ...bounds, fillCache: false, highWaterMarkBytes: READ_BYTES };
    const iterator = this.#db.iterator(snapshot ? { ...options, snapshot } : options);
    const prefix = this.#key('').length;
    try {
      let next = iterator.nextv(ROWS_PER_READ);
      for (;;) {
        const rows = await reading(next);
        if (rows.length === 0) return;
        // The database's thread reads on while these are taken.
        next = iterator.nextv(ROWS_PER_READ);
        next.catch(() => {}); // told when it is awaited; nobody awaits it when the taker stops here
        yield rows.map(([key, value]) => [key.slice(prefix), value] as const);
      }
    } finally {
      await iterator.close();
    }
  }

  #key(recordKey: string): string {
    return generationKey(this.#generation, recordKey);
  }

  #checkSound(): void {
    if (this.#failure) throw this.#failure;
  }
}

/** LevelDB says so when a block does not pass its checksum: what cannot be read is damaged, not absent. */
async function reading<T>(read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    throw new MetaError(
      'DAMAGED',
      `The metadata state cannot be read: ${errorMessage(error)}. If the disk is sound, replace this node by one with an empty data directory and a new id.`,
      { cause: error },
    );
  }
}

type Operation = { type: 'put'; key: string; value: Buffer } | { type: 'del'; key: string };

function generationKey(generation: number, recordKey: string): string {
  return `${hex(generation)}/${recordKey}`;
}

function hex(generation: number): string {
  return generation.toString(16).padStart(8, '0');
}
