// A command's result: kept for retries, and sent to the follower that forwarded the command.
// Big-endian; `string` and `bytes` carry a u32 length in front, `list` a u32 count.
//
//   u8      kind: 1 transacted, 2 lease-granted, 3 lease-revoked, 4 compacted, 5 rejected
//   u64     revision (0 when rejected)
//   ...     by kind:
//     transacted     u8 branch (0 otherwise, 1 then), list of answers
//     lease-granted  string lease id, u64 ttl in milliseconds
//     lease-revoked  string lease id, u32 deleted
//     compacted      nothing
//     rejected       u8 code (its place in REJECTION_CODES), string message
//
//   answer   u8 op:
//     1 put     list of 0 or 1 versions (the previous one)
//     2 delete  u32 deleted, list of versions (the previous ones)
//     3 range   u64 count, u8 more (0 or 1), list of versions
//   version  bytes key, u64 mod revision, u32 sub, u64 create revision, u64 version, string lease, bytes value, u32 crc

import { unreachable } from '@robustmq/stdx/assert';
import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { type CommandResult, type OperationAnswer, REJECTION_CODES } from './command.js';
import { keyFromBytes } from './key-range.js';
import type { LiveVersion } from './record.js';

export function encodeResult(result: CommandResult): Buffer {
  const out = new ByteWriter(64);
  switch (result.kind) {
    case 'transacted':
      out.u8(1).u64(result.revision);
      out.u8(result.branch === 'then' ? 1 : 0).u32(result.answers.length);
      for (const answer of result.answers) writeAnswer(out, answer);
      break;
    case 'lease-granted':
      out.u8(2).u64(result.revision);
      out.string(result.id).u64(result.ttlMs);
      break;
    case 'lease-revoked':
      out.u8(3).u64(result.revision);
      out.string(result.id).u32(result.deleted);
      break;
    case 'compacted':
      out.u8(4).u64(result.revision);
      break;
    case 'rejected':
      out.u8(5).u64(0);
      out.u8(REJECTION_CODES.indexOf(result.code)).string(result.message);
      break;
    default:
      unreachable(result);
  }
  return out.finish();
}

/** Byte buffers in the result are views. Throws RangeError or UnexpectedEnd on anything malformed. */
export function decodeResult(bytes: Buffer): CommandResult {
  const read = new ByteReader(bytes);
  const kind = read.u8();
  const revision = read.u64();
  switch (kind) {
    case 1: {
      const branch = read.u8() === 1 ? 'then' : 'otherwise';
      const answers: OperationAnswer[] = [];
      for (let left = read.u32(); left > 0; left--) answers.push(readAnswer(read));
      return { kind: 'transacted', branch, revision, answers };
    }
    case 2:
      return { kind: 'lease-granted', id: read.string(), ttlMs: read.u64(), revision };
    case 3:
      return { kind: 'lease-revoked', id: read.string(), revision, deleted: read.u32() };
    case 4:
      return { kind: 'compacted', revision };
    case 5: {
      const code = REJECTION_CODES[read.u8()];
      if (code === undefined) throw new RangeError('an unknown rejection code');
      return { kind: 'rejected', code, message: read.string() };
    }
    default:
      throw new RangeError(`a result of unknown kind ${kind}`);
  }
}

function writeAnswer(out: ByteWriter, answer: OperationAnswer): void {
  switch (answer.op) {
    case 'put':
      out.u8(1);
      writeVersions(out, answer.previous ? [answer.previous] : []);
      return;
    case 'delete':
      out.u8(2).u32(answer.deleted);
      writeVersions(out, answer.previous);
      return;
    case 'range':
      out
        .u8(3)
        .u64(answer.count)
        .u8(answer.more ? 1 : 0);
      writeVersions(out, answer.kvs);
      return;
    default:
      unreachable(answer);
  }
}

function readAnswer(read: ByteReader): OperationAnswer {
  const op = read.u8();
  switch (op) {
    case 1:
      return { op: 'put', previous: readVersions(read)[0] };
    case 2:
      return { op: 'delete', deleted: read.u32(), previous: readVersions(read) };
    case 3: {
      const count = read.u64();
      const more = read.u8() === 1;
      return { op: 'range', count, more, kvs: readVersions(read) };
    }
    default:
      throw new RangeError(`an answer of unknown kind ${op}`);
  }
}

function writeVersions(out: ByteWriter, versions: readonly LiveVersion[]): void {
  out.u32(versions.length);
  for (const one of versions) {
    out.bytes(Buffer.from(one.key, 'latin1')).u64(one.modRevision).u32(one.sub).u64(one.createRevision);
    out
      .u64(one.version)
      .string(one.lease ?? '')
      .bytes(one.value)
      .u32(one.crc);
  }
}

function readVersions(read: ByteReader): LiveVersion[] {
  const versions: LiveVersion[] = [];
  for (let left = read.u32(); left > 0; left--) {
    versions.push({
      key: keyFromBytes(read.bytes()),
      modRevision: read.u64(),
      sub: read.u32(),
      createRevision: read.u64(),
      version: read.u64(),
      lease: read.string() || undefined,
      value: read.bytes(),
      crc: read.u32(),
    });
  }
  return versions;
}
