// Records to the bytes of batch-format.ts, in one pass into one buffer of exactly the right size.

import { assert } from '@robustmq/stdx/assert';
import { type AppendRecord, type Producer, StorageError } from '@robustmq/storage-adapter';
import { BATCH_HEADER_BYTES, RECORD_HEADER_BYTES, writeU64 } from './batch-format.js';

const HAS_KEY = 1;
const TAG_BYTES_MAX = 65_535;

/** Bytes the records take in a batch. INVALID_ARGUMENT for a tag that is too long. */
export function recordBytes(records: readonly AppendRecord[]): number {
  let bytes = records.length * RECORD_HEADER_BYTES;
  for (const { key, tags, payload } of records) {
    bytes += payload.length;
    if (key !== undefined) bytes += Buffer.byteLength(key);
    if (tags !== undefined && tags.length > 0) bytes += tagBytes(tags);
  }
  return bytes;
}

function tagBytes(tags: readonly string[]): number {
  let bytes = 0;
  for (const tag of tags) {
    const length = Buffer.byteLength(tag);
    if (length > TAG_BYTES_MAX) throw new StorageError('INVALID_ARGUMENT', `a tag of ${length} bytes, at most 65535`);
    bytes += 2 + length;
  }
  return bytes;
}

export function producerBytes(producer: Producer | undefined): number {
  return producer ? 14 + Buffer.byteLength(producer.id) : 0;
}

/** The body of one batch. The header is left blank: sealBatch() writes it when everything else is known. */
export function encodeBody(
  appends: readonly { readonly records: readonly AppendRecord[] }[],
  bytes: number,
  producer: Producer | undefined,
): Buffer {
  const batch = Buffer.allocUnsafe(BATCH_HEADER_BYTES + bytes);
  let at = BATCH_HEADER_BYTES;
  if (producer) at = encodeProducer(batch, producer, at);
  let delta = 0;
  for (const { records } of appends) {
    for (const record of records) at = encodeRecord(batch, record, { at, delta: delta++ });
  }
  assert(at === batch.length, 'a batch is as long as its records said');
  return batch;
}

function encodeProducer(batch: Buffer, producer: Producer, start: number): number {
  const idBytes = batch.write(producer.id, start + 2, 'utf8');
  batch.writeUInt16BE(idBytes, start);
  const at = start + 2 + idBytes;
  batch.writeUInt32BE(producer.epoch, at);
  writeU64(batch, producer.sequence, at + 4);
  return at + 12;
}

function encodeRecord(batch: Buffer, record: AppendRecord, place: { at: number; delta: number }): number {
  const { key, tags, payload } = record;
  const start = place.at;
  let at = start + RECORD_HEADER_BYTES;
  const keyBytes = key === undefined ? 0 : batch.write(key, at, 'utf8');
  at += keyBytes;
  if (tags) {
    for (const tag of tags) {
      const length = batch.write(tag, at + 2, 'utf8');
      batch.writeUInt16BE(length, at);
      at += 2 + length;
    }
  }
  batch.set(payload, at);
  batch.writeUInt32BE(payload.length, start);
  batch.writeUInt32BE(place.delta, start + 4);
  batch.writeUInt16BE(keyBytes, start + 8);
  batch[start + 10] = key === undefined ? 0 : HAS_KEY;
  batch[start + 11] = tags?.length ?? 0;
  return at + payload.length;
}
