// What stands beside a segment file so that opening it needs no scan: its index, its digest, and the producers
// as they were at its end. It can always be rebuilt from the segment; a damaged one is ignored, never trusted.
//
//    0  u32  magic 0x524d4a49 "RMJI"
//    4  u32  CRC-32 of bytes 8 to the end
//    8  u8   version, 1; three bytes 0
//   12  u32  shardUid      16  u32  epoch      20  u32  generation
//   24  u64  baseOffset
//   32  u64  endOffset
//   40  u64  bytes: how much of the segment file this covers
//   48  u32  digest over those bytes
//   52  u64  firstTimestampMs + 1; 0 when there is no record
//   60  u64  lastTimestampMs
//   68  u32  index entries, each u64 offset, u64 position, u64 timestampMs
//    .  u32  bytes of the producer table, and the table (shard/producer-table.ts)

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { crc32 } from '@robustmq/stdx/crc32';
import type { Segment } from './segment.js';
import { SparseIndex } from './sparse-index.js';

const MAGIC = 0x524d4a49;
const VERSION = 1;
const CRC_START = 8;

export interface Sidecar {
  readonly endOffset: number;
  readonly bytes: number;
  readonly digest: number;
  readonly firstTimestampMs: number | undefined;
  readonly lastTimestampMs: number;
  readonly index: SparseIndex;
  readonly producers: Buffer;
}

export function encodeSidecar(segment: Segment, index: SparseIndex, producers: Buffer): Buffer {
  const writer = new ByteWriter(128 + index.count * 24 + producers.length);
  writer.u32(MAGIC).u32(0).u8(VERSION).u8(0).u16(0);
  writer.u32(segment.shardUid).u32(segment.epoch).u32(segment.generation);
  writer.u64(segment.baseOffset).u64(segment.endOffset).u64(segment.bytes).u32(segment.digest);
  writer.u64(segment.firstTimestampMs === undefined ? 0 : segment.firstTimestampMs + 1).u64(segment.lastTimestampMs);
  writer.u32(index.count);
  for (let i = 0; i < index.count; i++) {
    const { offset, position, timestampMs } = index.at(i);
    writer.u64(offset).u64(position).u64(timestampMs);
  }
  writer.bytes(producers);
  const bytes = writer.finish();
  bytes.writeUInt32BE(crc32(bytes.subarray(CRC_START)), 4);
  return bytes;
}

/** Undefined when the bytes are damaged or belong to another segment. */
export function decodeSidecar(bytes: Buffer, segment: Segment, indexIntervalBytes: number): Sidecar | undefined {
  if (bytes.length < 76 || bytes.readUInt32BE(0) !== MAGIC || bytes[8] !== VERSION) return undefined;
  if (crc32(bytes.subarray(CRC_START)) !== bytes.readUInt32BE(4)) return undefined;
  const reader = new ByteReader(bytes, 12);
  const same =
    reader.u32() === segment.shardUid && reader.u32() === segment.epoch && reader.u32() === segment.generation;
  if (!same || reader.u64() !== segment.baseOffset) return undefined;
  const [endOffset, covered, digest, first, last] = [
    reader.u64(),
    reader.u64(),
    reader.u32(),
    reader.u64(),
    reader.u64(),
  ];
  const count = reader.u32();
  const index = new SparseIndex(indexIntervalBytes, Math.max(16, count));
  for (let i = 0; i < count; i++)
    index.put({ offset: reader.u64(), position: reader.u64(), timestampMs: reader.u64() });
  return {
    endOffset,
    bytes: covered,
    digest,
    firstTimestampMs: first === 0 ? undefined : first - 1,
    lastTimestampMs: last,
    index,
    producers: reader.bytes(),
  };
}

/**
 * Whether the sidecar is of exactly this closed segment. Length alone does not say so: a compaction that a crash
 * interrupted may have left the sidecar of another rewriting under the same name.
 */
export function describesAll(sidecar: Sidecar, segment: Segment): boolean {
  return sidecar.bytes === segment.bytes && sidecar.digest === segment.digest;
}
