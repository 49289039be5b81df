// The bytes of a batch: what the WAL carries, what a segment file is a sequence of, what replication will
// send. A batch is encoded once and stays the same bytes wherever it goes. All integers are big-endian.
//
//   header, 64 bytes
//    0  u32  magic 0x524d4a42 "RMJB"
//    4  u32  headerCrc: CRC-32 of bytes 8..64
//    8  u32  bodyCrc: CRC-32 of the body
//   12  u32  bodyBytes
//   16  u32  shardUid        } the segment: no two segments ever share both
//   20  u32  epoch           }
//   24  u64  baseOffset: offset of the first record
//   32  u64  timestampMs: when it was appended; never lower than in the batch before
//   40  u64  position: where in its segment file the batch begins
//   48  u32  recordCount
//   52  u32  offsetSpan: how many offsets the batch covers; more than recordCount after compaction
//   56  u8   version, 1
//   57  u8   kind: 0 records, 1 opening
//   58  u16  flags: bit 0, a producer stands before the records
//   60  u32  generation of the segment: 0 as written, one more each time compaction rewrote it
//   body
//    producer, when flag bit 0 is set: u16 idBytes, id, u32 epoch, u64 sequence of the first record
//    records, recordCount times:
//     0  u32  payloadBytes
//     4  u32  offsetDelta: offset - baseOffset
//     8  u16  keyBytes
//    10  u8   flags: bit 0, there is a key (it may be empty)
//    11  u8   tagCount
//    12  key, tags (u16 bytes, tag), payload
//
// Invariants:
//   B1. headerCrc covers bodyCrc, segment, offset and position: bytes of another place never validate here.
//   B2. Offsets within a batch rise; the span of a batch ends where the next batch of the segment begins.
//   B3. The first batch of a segment is its opening: it covers no offset and holds what a new writer must
//       know (the producer table), so that nobody needs an older segment to go on.
//
// Example: one record, payload "hi", no key, at offset 7 of shard 1, epoch 2: 64 + 12 + 2 = 78 bytes.

import { crc32 } from '@robustmq/stdx/crc32';

export const BATCH_HEADER_BYTES = 64;
export const RECORD_HEADER_BYTES = 12;
export const BATCH_MAGIC = 0x524d4a42;
export const BATCH_VERSION = 1;
const HAS_PRODUCER = 1;
const CRC_START = 8;

export type BatchKind = 'records' | 'opening';

export interface BatchHeader {
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  readonly headerCrc: number;
  readonly shardUid: number;
  readonly epoch: number;
  readonly baseOffset: number;
  readonly timestampMs: number;
  readonly position: number;
  readonly recordCount: number;
  readonly offsetSpan: number;
  readonly kind: BatchKind;
  readonly generation: number;
}

/** What the encoder of a batch must know besides the records. */
export type BatchPlace = Omit<BatchHeader, 'bodyBytes' | 'bodyCrc' | 'headerCrc'> & { readonly hasProducer: boolean };

/** Writes the header over the first 64 bytes of `batch`, whose body is complete. */
export function sealBatch(batch: Buffer, place: BatchPlace): void {
  const body = batch.subarray(BATCH_HEADER_BYTES);
  batch.writeUInt32BE(BATCH_MAGIC, 0);
  batch.writeUInt32BE(crc32(body), 8);
  batch.writeUInt32BE(body.length, 12);
  batch.writeUInt32BE(place.shardUid, 16);
  batch.writeUInt32BE(place.epoch, 20);
  writeU64(batch, place.baseOffset, 24);
  writeU64(batch, place.timestampMs, 32);
  writeU64(batch, place.position, 40);
  batch.writeUInt32BE(place.recordCount, 48);
  batch.writeUInt32BE(place.offsetSpan, 52);
  batch[56] = BATCH_VERSION;
  batch[57] = place.kind === 'opening' ? 1 : 0;
  batch.writeUInt16BE(place.hasProducer ? HAS_PRODUCER : 0, 58);
  batch.writeUInt32BE(place.generation, 60);
  batch.writeUInt32BE(crc32(batch.subarray(CRC_START, BATCH_HEADER_BYTES)), 4);
}

/** Undefined when the 64 bytes at `at` are no valid header, whatever the reason. */
export function readHeader(bytes: Buffer, at = 0): BatchHeader | undefined {
  if (bytes.length - at < BATCH_HEADER_BYTES || bytes.readUInt32BE(at) !== BATCH_MAGIC) return undefined;
  const headerCrc = bytes.readUInt32BE(at + 4);
  if (crc32(bytes.subarray(at + CRC_START, at + BATCH_HEADER_BYTES)) !== headerCrc) return undefined;
  if (bytes[at + 56] !== BATCH_VERSION) return undefined;
  return {
    bodyBytes: bytes.readUInt32BE(at + 12),
    bodyCrc: bytes.readUInt32BE(at + 8),
    headerCrc,
    shardUid: bytes.readUInt32BE(at + 16),
    epoch: bytes.readUInt32BE(at + 20),
    baseOffset: readU64(bytes, at + 24),
    timestampMs: readU64(bytes, at + 32),
    position: readU64(bytes, at + 40),
    recordCount: bytes.readUInt32BE(at + 48),
    offsetSpan: bytes.readUInt32BE(at + 52),
    kind: bytes[at + 57] === 1 ? 'opening' : 'records',
    generation: bytes.readUInt32BE(at + 60),
  };
}

/** Whether the body behind a valid header is what was written. `batch` is exactly one batch. */
export function bodyIsIntact(batch: Buffer): boolean {
  return crc32(batch.subarray(BATCH_HEADER_BYTES)) === batch.readUInt32BE(8);
}

/** One more batch of a segment's digest: its header, which covers its body (B1). */
export function extendDigest(digest: number, batch: Buffer): number {
  return crc32(batch.subarray(0, BATCH_HEADER_BYTES), digest);
}

export function batchHasProducer(batch: Buffer): boolean {
  return (batch.readUInt16BE(58) & HAS_PRODUCER) !== 0;
}

/** A whole number up to 2^53 - 1 in eight bytes. */
export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

export function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}
