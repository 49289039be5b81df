// What the state keeps on disk: one record per version of a key, per lease, and per remembered request.
//
// Record keys are text; numbers in them are fixed-width, so that the order of the keys is the order of the
// numbers. All integers in record values are big-endian; `string` and `bytes` carry a u32 length in front.
//
//   v/<revision, 11 digits base 36>/<sub, 4 digits base 36>     a version of a key
//       u8      format, 1
//       u8      1 = put, 2 = deleted
//       u64     revision        } as in the record key: a record under another's key is noticed
//       u32     sub             }
//       u64     create revision (0 when deleted)
//       u64     version (0 when deleted)
//       string  lease, decimal; empty when none
//       bytes   key
//       bytes   value (empty when deleted)
//       u32     CRC-32 of everything before
//
//   l/<lease id, 19 decimal digits>                             a lease
//       u8      format, 1
//       string  lease id, decimal
//       u64     ttl in milliseconds
//       u64     log index of the grant
//       u32     CRC-32 of everything before
//
//   s/<client id>/<sequence, 11 digits base 36>                 the result of a client's request
//       u8      format, 1
//       string  client id
//       u64     sequence
//       u64     log index of the request
//       u64     log time of the request, milliseconds
//       u64     the sequence below which the client has settled everything
//       bytes   the result (command-result.ts)
//       u32     CRC-32 of everything before
//
// Example, the first put of key "a" with value "b":
//   key   v/00000000001/0000
//   value 01 01 0000000000000001 00000000 0000000000000001 0000000000000001 00000000 00000001 61 00000001 62 <crc>

import { ByteReader, UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { crc32 } from '@robustmq/stdx/crc32';
import { MetaError } from '../errors.js';
import { type KeyBytes, keyFromBytes } from './key-range.js';

/** Decimal text of an id in 1 to 2^63 - 1, without leading zeros. */
export type LeaseId = string;

/** One state of one key. A deletion is a version without a value. Immutable. */
export interface Version {
  readonly key: KeyBytes;
  readonly modRevision: number;
  /** The position among the changes of the same revision. */
  readonly sub: number;
  readonly createRevision: number;
  readonly version: number;
  readonly lease: LeaseId | undefined;
  readonly value: Buffer | undefined;
  /** Of its record. */
  readonly crc: number;
}

/** A version that is not a deletion. */
export type LiveVersion = Version & { readonly value: Buffer };

export interface LeaseRecord {
  readonly id: LeaseId;
  readonly ttlMs: number;
  /** Tells a lease from an earlier one of the same id. */
  readonly grantIndex: number;
  readonly crc: number;
}

export interface RequestRecord {
  readonly client: string;
  readonly sequence: number;
  readonly index: number;
  readonly timeMs: number;
  readonly settledBelow: number;
  readonly result: Buffer;
  readonly crc: number;
}

/** A record without its checksum, which only its encoding gives. */
export type Draft<R extends { readonly crc: number }> = Omit<R, 'crc'>;

/** A record in its form on disk. */
export interface EncodedRecord {
  readonly bytes: Buffer;
  readonly crc: number;
}

const FORMAT = 1;
const PUT = 1;
const DELETED = 2;
const CRC_BYTES = 4;
const NO_BYTES = Buffer.alloc(0);

export function versionRecordKey(revision: number, sub: number): string {
  return `v/${digits(revision, 11)}/${digits(sub, 4)}`;
}

export function leaseRecordKey(id: LeaseId): string {
  return `l/${id.padStart(19, '0')}`;
}

export function requestRecordKey(client: string, sequence: number): string {
  return `s/${client}/${digits(sequence, 11)}`;
}

function digits(number: number, width: number): string {
  return number.toString(36).padStart(width, '0');
}

export function encodeVersion(version: Draft<Version>): EncodedRecord {
  const value = version.value ?? NO_BYTES;
  const out = new ByteWriter(64 + version.key.length + value.length);
  out.u8(FORMAT);
  out.u8(version.value === undefined ? DELETED : PUT);
  out.u64(version.modRevision).u32(version.sub);
  out.u64(version.createRevision).u64(version.version);
  out.string(version.lease ?? '');
  out.bytes(Buffer.from(version.key, 'latin1')).bytes(value);
  return seal(out);
}

export function decodeVersion(recordKey: string, record: Buffer): Version {
  return open(recordKey, record, (read, crc) => {
    const kind = read.u8();
    if (kind !== PUT && kind !== DELETED) throw damaged(recordKey, `its kind is ${kind}`);
    const modRevision = read.u64();
    const sub = read.u32();
    const createRevision = read.u64();
    const version = read.u64();
    const lease = read.string() || undefined;
    const key = keyFromBytes(read.bytes());
    const bytes = read.bytes();
    const value = kind === PUT ? Buffer.from(bytes) : undefined;
    if (versionRecordKey(modRevision, sub) !== recordKey) throw damaged(recordKey, `it is of revision ${modRevision}`);
    return { key, modRevision, sub, createRevision, version, lease, value, crc };
  });
}

export function encodeLease(lease: Draft<LeaseRecord>): EncodedRecord {
  const out = new ByteWriter(64).u8(FORMAT);
  out.string(lease.id).u64(lease.ttlMs).u64(lease.grantIndex);
  return seal(out);
}

export function decodeLease(recordKey: string, record: Buffer): LeaseRecord {
  return open(recordKey, record, (read, crc) => {
    const id = read.string();
    if (leaseRecordKey(id) !== recordKey) throw damaged(recordKey, `it is of lease ${id}`);
    return { id, ttlMs: read.u64(), grantIndex: read.u64(), crc };
  });
}

export function encodeRequest(request: Draft<RequestRecord>): EncodedRecord {
  const out = new ByteWriter(64 + request.client.length + request.result.length).u8(FORMAT);
  out.string(request.client).u64(request.sequence).u64(request.index).u64(request.timeMs);
  out.u64(request.settledBelow).bytes(request.result);
  return seal(out);
}

export function decodeRequest(recordKey: string, record: Buffer): RequestRecord {
  return open(recordKey, record, (read, crc) => {
    const client = read.string();
    const sequence = read.u64();
    if (requestRecordKey(client, sequence) !== recordKey) throw damaged(recordKey, `it is of client ${client}`);
    const index = read.u64();
    const timeMs = read.u64();
    const settledBelow = read.u64();
    return { client, sequence, index, timeMs, settledBelow, result: Buffer.from(read.bytes()), crc };
  });
}

function seal(out: ByteWriter): EncodedRecord {
  const bodyBytes = out.length;
  out.u32(0);
  const bytes = out.finish();
  const crc = crc32(bytes.subarray(0, bodyBytes));
  bytes.writeUInt32BE(crc, bodyBytes);
  return { bytes, crc };
}

function open<R>(recordKey: string, record: Buffer, body: (read: ByteReader, crc: number) => R): R {
  const bodyBytes = record.length - CRC_BYTES;
  if (bodyBytes < 1) throw damaged(recordKey, `it has ${record.length} bytes`);
  const crc = crc32(record.subarray(0, bodyBytes));
  if (record.readUInt32BE(bodyBytes) !== crc) throw damaged(recordKey, 'its checksum does not match');
  if (record[0] !== FORMAT) throw damaged(recordKey, `its format is ${record[0]}, this version reads ${FORMAT}`);
  const read = new ByteReader(record.subarray(0, bodyBytes), 1);
  try {
    return body(read, crc);
  } catch (error) {
    if (error instanceof UnexpectedEnd || error instanceof RangeError) throw damaged(recordKey, error.message);
    throw error;
  }
}

function damaged(recordKey: string, why: string): MetaError {
  return new MetaError(
    'DAMAGED',
    `The stored record ${recordKey} cannot be trusted: ${why}. Replace this node by one with an empty data directory and a new id.`,
  );
}
