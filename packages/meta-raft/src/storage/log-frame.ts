// What the Raft log writes into one frame of the write-ahead log. Big-endian. The frame has its own checksum and its own
// sequence (packages/wal); a frame is found whole or not at all, and so is a turn.
//
//   frame kind 1: a turn, what all groups of the node wrote at once
//   frame kind 2: a base, written when a group's log is compacted: that group's base and hard state, and the whole log of the
//                 other groups once more (as a reset and entries), so that none of them holds old frames back
//
//   u8      format, 1
//   u8      number of parts
//   parts, one per group:
//     u8      group
//     u8      what follows: 1 reset, 2 base, 4 entries, 8 hard state (a sum)
//     reset:      u64 index, u64 term: the log is replaced by an empty one that begins after this position
//     base:       u64 index, u64 term: everything up to here is gone; what follows it stays
//     entries:    u32 count, u64 index of the first, then each: u64 term, u8 kind, u32 payload bytes, payload
//                 They replace what the log holds from the first one's index on.
//     hard state: u64 term, u64 voted for (0: nobody), u64 commit index
//
//   entry kind: 1 empty, 2 command, 3 membership
//
// Example, group 1 appends its entry 7 of term 2, a command "x", and nothing else:
//   01 01 | 01 04 | 00000001 0000000000000007 | 0000000000000002 02 00000001 78

import { assert } from '@robustmq/stdx/assert';
import { ByteReader } from '@robustmq/stdx/byte-reader';
import { KiB } from '@robustmq/stdx/byte-size';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import type { Entry, EntryKind, HardState, LogPosition } from '../core/types.js';
import type { GroupId } from '../driver/group-id.js';

export const TURN_FRAME = 1;
export const BASE_FRAME = 2;

/** One group's part of a frame. The fields take effect in this order. */
export interface LogPart {
  readonly group: GroupId;
  readonly reset: LogPosition | undefined;
  readonly base: LogPosition | undefined;
  readonly entries: readonly Entry[];
  readonly hardState: HardState | undefined;
}

const FORMAT = 1;
const RESET = 1;
const BASE = 2;
const ENTRIES = 4;
const HARD_STATE = 8;
const KINDS: readonly EntryKind[] = ['empty', 'command', 'membership'];
const ENTRY_HEADER_BYTES = 13;
/** A smaller payload is copied next to its header: one more part of a write costs more than the copy. */
const COPIED_BELOW_BYTES = 4 * KiB;

/** In pieces to be written one after the other; large payloads are not copied and must not change until written. */
export function encodeLogParts(parts: readonly LogPart[]): Buffer[] {
  assert(parts.length < 256, 'a node has fewer than 256 groups');
  const pieces: Buffer[] = [];
  let out = new ByteWriter(bytesOf(parts)).u8(FORMAT).u8(parts.length);
  for (const { group, reset, base, entries, hardState } of parts) {
    const content =
      (reset ? RESET : 0) | (base ? BASE : 0) | (entries.length > 0 ? ENTRIES : 0) | (hardState ? HARD_STATE : 0);
    out.u8(group).u8(content);
    if (reset) out.u64(reset.index).u64(reset.term);
    if (base) out.u64(base.index).u64(base.term);
    const [first] = entries;
    if (first) out.u32(entries.length).u64(first.index);
    for (const entry of entries) {
      out
        .u64(entry.term)
        .u8(KINDS.indexOf(entry.kind) + 1)
        .u32(entry.payload.length);
      if (entry.payload.length < COPIED_BELOW_BYTES) {
        out.raw(entry.payload);
        continue;
      }
      pieces.push(out.finish(), entry.payload);
      out = new ByteWriter();
    }
    if (hardState)
      out
        .u64(hardState.term)
        .u64(hardState.votedFor ?? 0)
        .u64(hardState.commitIndex);
  }
  if (out.length > 0) pieces.push(out.finish());
  return pieces;
}

/** Payloads are copied out of the frame. Throws RangeError or UnexpectedEnd when it is malformed. */
export function decodeLogParts(payload: Buffer): LogPart[] {
  const read = new ByteReader(payload);
  const format = read.u8();
  if (format !== FORMAT) throw new RangeError(`its format is ${format}, this version reads ${FORMAT}`);
  const parts: LogPart[] = [];
  for (let left = read.u8(); left > 0; left--) parts.push(readPart(read));
  if (read.left > 0) throw new RangeError(`${read.left} bytes follow its end`);
  return parts;
}

function readPart(read: ByteReader): LogPart {
  const group = read.u8();
  const content = read.u8();
  return {
    group,
    reset: content & RESET ? { index: read.u64(), term: read.u64() } : undefined,
    base: content & BASE ? { index: read.u64(), term: read.u64() } : undefined,
    entries: content & ENTRIES ? readEntries(read) : [],
    hardState: content & HARD_STATE ? readHardState(read) : undefined,
  };
}

function readEntries(read: ByteReader): Entry[] {
  const count = read.u32();
  const first = read.u64();
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const term = read.u64();
    const code = read.u8();
    const kind = KINDS[code - 1];
    if (kind === undefined) throw new RangeError(`an entry of unknown kind ${code}`);
    entries.push({ index: first + i, term, kind, payload: Buffer.from(read.bytes()) });
  }
  return entries;
}

function readHardState(read: ByteReader): HardState {
  return { term: read.u64(), votedFor: read.u64() || undefined, commitIndex: read.u64() };
}

function bytesOf(parts: readonly LogPart[]): number {
  let bytes = 2;
  for (const { entries } of parts) {
    bytes += 2 + 16 + 16 + 12 + 24 + entries.length * ENTRY_HEADER_BYTES;
    for (const { payload } of entries) bytes += payload.length < COPIED_BELOW_BYTES ? payload.length : 0;
  }
  return bytes;
}
