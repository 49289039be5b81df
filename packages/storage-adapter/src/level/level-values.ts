// The values of the level driver. Numbers are big-endian; a string has its length in bytes in front, u32.
//
//   shard     number u32 | cleanup u8 (0 delete, 1 compact, 2 keep) | retentionMs u64 + 1, 0 for none
//             | retentionBytes u64 + 1, 0 for none | tombstoneMs u64 + 1, 0 for none; may be missing
//   head      logStart u64 | end u64 | time of the last record u64 | payload bytes of all records u64
//   record    timestamp u64 | has a key u8 | key string, when it has one | tags u16 | each a string | payload to the end
//   newest    offset u64 | payload bytes u32 | tags u16 | each a string
//   producer  epoch u64 | batches u8 | each: sequence u64, records u32, first offset u64
//   offset    u64

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import type { ProducerState } from '../producer-table.js';
import type { AppendRecord, Offset, StoredRecord } from '../record.js';
import type { ShardConfig } from '../shard-storage.js';

export interface ShardEntry {
  readonly number: number;
  readonly config: ShardConfig;
}

export interface ShardHead {
  readonly logStart: number;
  readonly end: number;
  readonly lastTimestampMs: number;
  readonly payloadBytes: number;
}

/** The newest record of a key. */
export interface NewestEntry {
  readonly offset: number;
  readonly payloadBytes: number;
  readonly tags: readonly string[];
}

const CLEANUPS = ['delete', 'compact', 'keep'] as const;

export function encodeNumber(value: number): Buffer {
  return new ByteWriter(16).u32(value).finish();
}

export function decodeNumber(bytes: Buffer): number {
  return new ByteReader(bytes).u32();
}

export function encodeOffset(value: number): Buffer {
  return new ByteWriter(16).u64(value).finish();
}

export function decodeOffset(bytes: Buffer): Offset {
  return new ByteReader(bytes).u64() as Offset; // written as one
}

export function encodeShard({ number, config }: ShardEntry): Buffer {
  const { cleanup, retentionMs, retentionBytes, tombstoneMs } = config;
  const writer = new ByteWriter(32).u32(number).u8(CLEANUPS.indexOf(cleanup));
  return writer
    .u64((retentionMs ?? -1) + 1)
    .u64((retentionBytes ?? -1) + 1)
    .u64((tombstoneMs ?? -1) + 1)
    .finish();
}

export function decodeShard(bytes: Buffer): ShardEntry {
  const reader = new ByteReader(bytes);
  const number = reader.u32();
  const cleanup = CLEANUPS[reader.u8()] ?? 'keep';
  const retentionMs = reader.u64() - 1;
  const retentionBytes = reader.u64() - 1;
  const tombstoneMs = reader.left >= 8 ? reader.u64() - 1 : -1;
  return {
    number,
    config: {
      cleanup,
      ...(retentionMs < 0 ? {} : { retentionMs }),
      ...(retentionBytes < 0 ? {} : { retentionBytes }),
      ...(tombstoneMs < 0 ? {} : { tombstoneMs }),
    },
  };
}

export function encodeHead({ logStart, end, lastTimestampMs, payloadBytes }: ShardHead): Buffer {
  return new ByteWriter(32).u64(logStart).u64(end).u64(lastTimestampMs).u64(payloadBytes).finish();
}

export function decodeHead(bytes: Buffer): ShardHead {
  const reader = new ByteReader(bytes);
  return { logStart: reader.u64(), end: reader.u64(), lastTimestampMs: reader.u64(), payloadBytes: reader.u64() };
}

/** The time is not known yet when a record is encoded: see stampRecord(). */
export function encodeRecord({ key, tags = [], payload }: AppendRecord): Buffer {
  const writer = new ByteWriter(64 + payload.length).u64(0).u8(key === undefined ? 0 : 1);
  if (key !== undefined) writer.string(key);
  return writeTags(writer, tags).raw(payload).finish();
}

export function stampRecord(bytes: Buffer, timestampMs: number): void {
  bytes.writeUInt32BE(Math.floor(timestampMs / 2 ** 32), 0);
  bytes.writeUInt32BE(timestampMs >>> 0, 4);
}

export function decodeRecord(offset: number, bytes: Buffer): StoredRecord {
  const reader = new ByteReader(bytes);
  const timestampMs = reader.u64();
  const key = reader.u8() === 1 ? reader.string() : undefined;
  const tags = readTags(reader);
  return { offset: offset as Offset, timestampMs, key, tags, payload: reader.raw(reader.left) }; // from the record's key
}

export function encodeNewest({ offset, payloadBytes, tags }: NewestEntry): Buffer {
  return writeTags(new ByteWriter(32).u64(offset).u32(payloadBytes), tags).finish();
}

export function decodeNewest(bytes: Buffer): NewestEntry {
  const reader = new ByteReader(bytes);
  return { offset: reader.u64(), payloadBytes: reader.u32(), tags: readTags(reader) };
}

export function encodeProducer({ epoch, batches }: ProducerState): Buffer {
  const writer = new ByteWriter(128).u64(epoch).u8(batches.length);
  for (const { sequence, records, result } of batches) writer.u64(sequence).u32(records).u64(result.firstOffset);
  return writer.finish();
}

export function decodeProducer(bytes: Buffer): ProducerState {
  const reader = new ByteReader(bytes);
  const epoch = reader.u64();
  const batches = Array.from({ length: reader.u8() }, () => {
    const sequence = reader.u64();
    const records = reader.u32();
    const firstOffset = reader.u64() as Offset; // written as one
    return { sequence, records, result: { firstOffset, lastOffset: (firstOffset + records - 1) as Offset } }; // likewise
  });
  return { epoch, batches };
}

function writeTags(writer: ByteWriter, tags: readonly string[]): ByteWriter {
  writer.u16(tags.length);
  for (const tag of tags) writer.string(tag);
  return writer;
}

function readTags(reader: ByteReader): string[] {
  return Array.from({ length: reader.u16() }, () => reader.string());
}
