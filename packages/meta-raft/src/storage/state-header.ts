// The header of a stored state: everything of it that is no record. Big-endian.
//
//   u8      format: 1, or 2 when members have addresses or ids are retired
//   u64     applied index
//   u64     applied term
//   u64     revision
//   u64     compacted revision
//   u64     log time, milliseconds since 1970
//   u64     number of records            } the digest (record-ledger.ts): counted again when loading, so that a
//   u64     sum of their checksums       } store that lost records in its middle is found out
//   u8      1 when a membership follows, else 0
//   4 lists (u32 count, then u64 node ids): voters, outgoing voters, learners, learners to be
//   u8      1 when a joint configuration is left by itself, else 0
//   format 2: u32 count of addresses, then per address u64 node, u32 length and UTF-8; u32 count of retired ids, then u64 each
//   u32     CRC-32 of everything before

import { ByteReader, UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { crc32 } from '@robustmq/stdx/crc32';
import type { MemberAddress, Membership, NodeId } from '../core/types.js';
import type { AppliedState } from '../driver/state-machine.js';
import { MetaError } from '../errors.js';
import type { StateHeader } from '../state/meta-state.js';
import type { Digest } from '../state/record-ledger.js';

export interface StoredHeader {
  readonly applied: AppliedState;
  readonly state: StateHeader;
  readonly digest: Digest;
}

const FORMAT = 1;
const FORMAT_WITH_ADDRESSES = 2;
const CRC_BYTES = 4;

export function encodeHeader({ applied, state, digest }: StoredHeader): Buffer {
  const out = new ByteWriter(160);
  const hasMore = applied.membership?.addresses !== undefined || applied.membership?.retired !== undefined;
  out.u8(hasMore ? FORMAT_WITH_ADDRESSES : FORMAT);
  out.u64(applied.index).u64(applied.term);
  out.u64(state.revision).u64(state.compactedRevision).u64(state.timeMs);
  out.u64(digest.records).u64(digest.sum);
  out.u8(applied.membership ? 1 : 0);
  if (applied.membership) writeMembership(out, applied.membership);
  if (applied.membership && hasMore) writeAddresses(out, applied.membership);
  const crc = crc32(out.finish());
  return out.u32(crc).finish();
}

/** Throws MetaError DAMAGED. */
export function decodeHeader(bytes: Buffer): StoredHeader {
  const bodyBytes = bytes.length - CRC_BYTES;
  if (bodyBytes < 1 || bytes.readUInt32BE(bodyBytes) !== crc32(bytes.subarray(0, bodyBytes))) {
    throw damaged('its checksum does not match');
  }
  const read = new ByteReader(bytes.subarray(0, bodyBytes));
  const format = read.u8();
  if (format !== FORMAT && format !== FORMAT_WITH_ADDRESSES) {
    throw new MetaError(
      'DIRECTORY_MISMATCH',
      `The stored state has format ${format}; this version reads ${FORMAT} and ${FORMAT_WITH_ADDRESSES}. Start the version that wrote it.`,
    );
  }
  try {
    const position = { index: read.u64(), term: read.u64() };
    const state = { revision: read.u64(), compactedRevision: read.u64(), timeMs: read.u64() };
    const digest = { records: read.u64(), sum: read.u64() };
    const known = read.u8() === 1 ? readMembership(read) : undefined;
    const membership = known && format === FORMAT_WITH_ADDRESSES ? { ...known, ...readAddresses(read) } : known;
    return { applied: { ...position, membership }, state, digest };
  } catch (error) {
    if (error instanceof UnexpectedEnd || error instanceof RangeError) throw damaged(error.message);
    throw error;
  }
}

function writeMembership(out: ByteWriter, membership: Membership): void {
  for (const list of [membership.voters, membership.votersOutgoing, membership.learners, membership.learnersNext]) {
    out.u32(list.length);
    for (const node of list) out.u64(node);
  }
  out.u8(membership.autoLeave ? 1 : 0);
}

function writeAddresses(out: ByteWriter, { addresses = [], retired = [] }: Membership): void {
  out.u32(addresses.length);
  for (const { node, address } of addresses) {
    out.u64(node).string(address);
  }
  out.u32(retired.length);
  for (const node of retired) out.u64(node);
}

function readAddresses(read: ByteReader): Pick<Membership, 'addresses' | 'retired'> {
  const addresses: MemberAddress[] = [];
  for (let left = read.u32(); left > 0; left--) {
    addresses.push({ node: read.u64(), address: read.string() });
  }
  const retired: NodeId[] = [];
  for (let left = read.u32(); left > 0; left--) retired.push(read.u64());
  return { ...(addresses.length > 0 ? { addresses } : {}), ...(retired.length > 0 ? { retired } : {}) };
}

function readMembership(read: ByteReader): Membership {
  const list = () => {
    const nodes: NodeId[] = [];
    for (let left = read.u32(); left > 0; left--) nodes.push(read.u64());
    return nodes;
  };
  const [voters, votersOutgoing, learners, learnersNext] = [list(), list(), list(), list()];
  return { voters, votersOutgoing, learners, learnersNext, autoLeave: read.u8() === 1 };
}

function damaged(why: string): MetaError {
  return new MetaError(
    'DAMAGED',
    `The header of the stored state cannot be trusted: ${why}. Replace this node by one with an empty data directory and a new id.`,
  );
}
