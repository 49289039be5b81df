// The keys of the level driver. One database holds all shards. Numbers are big-endian, so that the order of keys is
// the order of offsets; `shard` is the number a shard got when it was created (u32, never given out again).
//
//   byte 0  rest of the key                                       value (level-values.ts)
//   'V'     -                                                     format version, u32
//   'N'     -                                                     the number the next shard gets, u32
//   'S'     name of the shard (UTF-8)                             its number and configuration
//   'D'     shard u32                                             nothing; the shard is being deleted
//   'H'     shard u32                                             its head: logStart, end, last time, bytes
//   'R'     shard u32 | offset u64                                one record
//   'K'     shard u32 | key (UTF-8)                               the newest record of the key: offset, size, tags
//   'T'     shard u32 | length of the tag u16 | tag | offset u64  nothing; the record carries the tag
//   'X'     shard u32 | time u64 | offset u64                     the key of a tombstone of that time (compacted shards)
//   'P'     shard u32 | producer id (UTF-8)                       its epoch and last batches
//   'G'     length of the group u16 | group | name of the shard   the committed offset, u64
//
// Example: record 258 of shard 7 is at 52 00000007 0000000000000102.

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';

export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

const code = (letter: string): number => letter.charCodeAt(0);

export const VERSION_KEY = Buffer.from('V');
export const NEXT_SHARD_KEY = Buffer.from('N');

export function shardKey(name: string): Buffer {
  return Buffer.from(`S${name}`);
}

export function shardOfKey(key: Buffer): string {
  return key.toString('utf8', 1);
}

export function deletingKey(shard: number): Buffer {
  return start('D', shard).finish();
}

export function shardOfDeletingKey(key: Buffer): number {
  return new ByteReader(key, 1).u32();
}

export function headKey(shard: number): Buffer {
  return start('H', shard).finish();
}

export function recordKey(shard: number, offset: number): Buffer {
  return start('R', shard).u64(offset).finish();
}

export function offsetOfRecordKey(key: Buffer): number {
  return new ByteReader(key, 5).u64();
}

export function newestKey(shard: number, key: string): Buffer {
  return start('K', shard).raw(Buffer.from(key)).finish();
}

export function tagKey(shard: number, tag: string, offset: number): Buffer {
  return tagPrefix(shard, tag).u64(offset).finish();
}

export function offsetOfTagKey(key: Buffer): number {
  return new ByteReader(key, key.length - 8).u64();
}

export function tombstoneKey(shard: number, timestampMs: number, offset: number): Buffer {
  return start('X', shard).u64(timestampMs).u64(offset).finish();
}

export function offsetOfTombstoneKey(key: Buffer): number {
  return new ByteReader(key, 13).u64();
}

/** Tombstones of a shard from before a time. */
export function tombstoneRange(shard: number, beforeMs: number): KeyRange {
  return { gte: tombstoneKey(shard, 0, 0), lt: tombstoneKey(shard, Math.max(0, beforeMs), 0) };
}

export function producerKey(shard: number, id: string): Buffer {
  return start('P', shard).raw(Buffer.from(id)).finish();
}

export function groupKey(group: string, shard: string): Buffer {
  return groupPrefix(group).raw(Buffer.from(shard)).finish();
}

export function shardOfGroupKey(key: Buffer): string {
  return key.toString('utf8', 3 + key.readUInt16BE(1));
}

/** Records of a shard in [from, to). */
export function recordRange(shard: number, from: number, to: number): KeyRange {
  return { gte: recordKey(shard, from), lt: recordKey(shard, to) };
}

/** Records of a shard in [from, to) that carry the tag. */
export function tagRange(shard: number, tag: string, offsets: { from: number; to: number }): KeyRange {
  return { gte: tagKey(shard, tag, offsets.from), lt: tagKey(shard, tag, offsets.to) };
}

export function groupRange(group: string): KeyRange {
  return prefixRange(groupPrefix(group).finish());
}

/** All shards, or all that are being deleted. */
export function kindRange(kind: 'S' | 'D'): KeyRange {
  return { gte: Buffer.from([code(kind)]), lt: Buffer.from([code(kind) + 1]) };
}

/** Everything a shard owns but its name. */
export function shardRanges(shard: number): KeyRange[] {
  return ['H', 'R', 'K', 'T', 'X', 'P'].map((kind) => prefixRange(start(kind, shard).finish()));
}

function prefixRange(prefix: Buffer): KeyRange {
  const lt = Buffer.from(prefix);
  for (let at = lt.length - 1; at >= 0; at--) {
    const byte = lt[at] ?? 0;
    if (byte < 0xff) {
      lt[at] = byte + 1;
      return { gte: prefix, lt: lt.subarray(0, at + 1) };
    }
  }
  return { gte: prefix, lt }; // not reached: the first byte is a letter
}

function tagPrefix(shard: number, tag: string): ByteWriter {
  const bytes = Buffer.from(tag);
  return start('T', shard).u16(bytes.length).raw(bytes);
}

function groupPrefix(group: string): ByteWriter {
  const bytes = Buffer.from(group);
  return new ByteWriter(32).u8(code('G')).u16(bytes.length).raw(bytes);
}

function start(kind: string, shard: number): ByteWriter {
  return new ByteWriter(32).u8(code(kind)).u32(shard);
}
