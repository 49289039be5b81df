// The bytes of batch-format.ts to records. Only called on batches whose checksums hold, so a field that does
// not fit is a fault of the encoder.

import type { Offset, Producer, StoredRecord } from '@robustmq/storage-adapter';
import { BATCH_HEADER_BYTES, batchHasProducer, RECORD_HEADER_BYTES, readU64 } from './batch-format.js';

const NO_TAGS: readonly string[] = [];

/** One record where it lies in its batch; `start` to `end` are its bytes as encoded. */
export interface RecordView {
  readonly offset: number;
  readonly start: number;
  readonly end: number;
}

export function readProducer(batch: Buffer): Producer | undefined {
  if (!batchHasProducer(batch)) return undefined;
  const idBytes = batch.readUInt16BE(BATCH_HEADER_BYTES);
  const at = BATCH_HEADER_BYTES + 2 + idBytes;
  return {
    id: batch.toString('utf8', BATCH_HEADER_BYTES + 2, at),
    epoch: batch.readUInt32BE(at),
    sequence: readU64(batch, at + 4),
  };
}

/** Walks the records of one batch from its first or from an offset on; decodes only what is asked for. */
export class BatchCursor {
  readonly #batch: Buffer;
  readonly #baseOffset: number;
  readonly #timestampMs: number;
  #left: number;
  #at: number;

  constructor(batch: Buffer) {
    this.#batch = batch;
    this.#baseOffset = readU64(batch, 24);
    this.#timestampMs = readU64(batch, 32);
    this.#left = batch[57] === 0 ? batch.readUInt32BE(48) : 0;
    this.#at = recordsStart(batch);
  }

  /** Passes over records below `offset`. */
  skipTo(offset: number): void {
    while (this.#left > 0 && this.offset < offset) this.skip();
  }

  get done(): boolean {
    return this.#left === 0;
  }

  /** The offset of the record the cursor stands before. */
  get offset(): number {
    return this.#baseOffset + this.#batch.readUInt32BE(this.#at + 4);
  }

  /** The key of that record, without decoding the rest. */
  get key(): string | undefined {
    if (this.#batch[this.#at + 10] === 0) return undefined;
    const start = this.#at + RECORD_HEADER_BYTES;
    return this.#batch.toString('utf8', start, start + this.#batch.readUInt16BE(this.#at + 8));
  }

  /** Whether that record deletes its key: it has one, and an empty payload. */
  get isTombstone(): boolean {
    return this.#batch[this.#at + 10] !== 0 && this.#batch.readUInt32BE(this.#at) === 0;
  }

  /** Its bytes as encoded. */
  get view(): RecordView {
    return { offset: this.offset, start: this.#at, end: this.#payloadStart() + this.#batch.readUInt32BE(this.#at) };
  }

  skip(): void {
    this.#at = this.#payloadStart() + this.#batch.readUInt32BE(this.#at);
    this.#left--;
  }

  /** The payload of the result is a view of the batch. */
  next(): StoredRecord {
    const batch = this.#batch;
    const start = this.#at;
    const key = this.key;
    const tags = this.#tags();
    const payloadStart = this.#payloadStart();
    const payloadEnd = payloadStart + batch.readUInt32BE(start);
    const record = {
      offset: this.offset as Offset, // what storage gave it
      timestampMs: this.#timestampMs,
      key,
      tags,
      payload: batch.subarray(payloadStart, payloadEnd),
    };
    this.#at = payloadEnd;
    this.#left--;
    return record;
  }

  #tags(): readonly string[] {
    const count = this.#batch[this.#at + 11] as number; // within the record's header
    if (count === 0) return NO_TAGS;
    const tags: string[] = [];
    let at = this.#at + RECORD_HEADER_BYTES + this.#batch.readUInt16BE(this.#at + 8);
    for (let i = 0; i < count; i++) {
      const length = this.#batch.readUInt16BE(at);
      tags.push(this.#batch.toString('utf8', at + 2, at + 2 + length));
      at += 2 + length;
    }
    return tags;
  }

  #payloadStart(): number {
    const batch = this.#batch;
    let at = this.#at + RECORD_HEADER_BYTES + batch.readUInt16BE(this.#at + 8);
    const tags = batch[this.#at + 11] as number; // within the record's header
    for (let i = 0; i < tags; i++) at += 2 + batch.readUInt16BE(at);
    return at;
  }
}

function recordsStart(batch: Buffer): number {
  if (!batchHasProducer(batch)) return BATCH_HEADER_BYTES;
  return BATCH_HEADER_BYTES + 2 + batch.readUInt16BE(BATCH_HEADER_BYTES) + 12;
}
