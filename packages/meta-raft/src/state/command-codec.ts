// A command in the payload of a Raft entry. Big-endian; `string`, `bytes` and `key` carry a u32 length in front; `list` a u32 count.
//
//   u8      format, 1
//   u64     time, milliseconds since 1970
//   string  client id; empty for a request that is never repeated, and then the next three are 0
//   u64     sequence
//   u64     settled below
//   u32     attempt
//   u8      kind: 1 transact, 2 grant-lease, 3 revoke-lease, 4 expire-lease, 5 compact
//   ...     by kind:
//     transact      list of conditions, list of operations (then), list of operations (otherwise)
//     grant-lease   string lease id, u64 ttl in milliseconds
//     revoke-lease  string lease id
//     expire-lease  string lease id, u64 log index of its grant
//     compact       u64 revision
//
//   condition   key, key end, u8 relation (1 equal, 2 not equal, 3 less, 4 greater),
//               u8 target (1 version, 2 create revision, 3 mod revision: u64; 4 value: bytes; 5 lease: string)
//   operation   u8 op:
//     1 put     key, u8 value (0 keep; 1 then bytes), u8 lease (0 keep; 1 then string), u8 returns (0 nothing, 1 previous)
//     2 delete  key, key end, u8 returns (as put)
//     3 range   key, key end, u64 revision, u64 limit, u8 returns (0 all, 1 keys, 2 count),
//               u8 sort by (0 none, 1 key, 2 version, 3 create revision, 4 mod revision, 5 value),
//               u8 order (0 ascending, 1 descending), u64 x 4: min and max mod revision, min and max create revision

import { unreachable } from '@robustmq/stdx/assert';
import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import type {
  Command,
  CommandBody,
  Condition,
  RangeQuery,
  Relation,
  RequestIdentity,
  SortTarget,
  StateOperation,
} from './command.js';
import { type KeyBytes, type KeyRange, keyFromBytes } from './key-range.js';

const FORMAT = 1;
const KINDS = ['transact', 'grant-lease', 'revoke-lease', 'expire-lease', 'compact'] as const;
const RELATIONS: readonly Relation[] = ['equal', 'notEqual', 'less', 'greater'];
const TARGETS = ['version', 'createRevision', 'modRevision', 'value', 'lease'] as const;
const OPERATIONS = ['put', 'delete', 'range'] as const;
const RETURNS = ['keys-and-values', 'keys', 'count'] as const;
const SORT_TARGETS: readonly SortTarget[] = ['key', 'version', 'createRevision', 'modRevision', 'value'];

export function encodeCommand(command: Command): Buffer {
  const out = new ByteWriter(256);
  const { identity, body } = command;
  out.u8(FORMAT).u64(command.timeMs);
  out
    .string(identity?.client ?? '')
    .u64(identity?.sequence ?? 0)
    .u64(identity?.settledBelow ?? 0);
  out.u32(identity?.attempt ?? 0);
  out.u8(KINDS.indexOf(body.kind) + 1);
  writeBody(out, body);
  return out.finish();
}

/** Puts the leader's time into an encoded command: the one who proposes stamps, wherever the command was encoded. */
export function stampCommand(payload: Buffer, timeMs: number): void {
  if (payload.length < 9) return; // apply() will find it unreadable
  payload.writeUInt32BE(Math.floor(timeMs / 2 ** 32), 1);
  payload.writeUInt32BE(timeMs % 2 ** 32, 5);
}

/** Byte buffers in the result are views of `payload`. Throws RangeError or UnexpectedEnd on anything malformed. */
export function decodeCommand(payload: Buffer): Command {
  const read = new ByteReader(payload);
  const format = read.u8();
  if (format !== FORMAT) throw new RangeError(`a command of format ${format}; this version knows ${FORMAT}`);
  const timeMs = read.u64();
  const client = read.string();
  const rest: Omit<RequestIdentity, 'client'> = {
    sequence: read.u64(),
    settledBelow: read.u64(),
    attempt: read.u32(),
  };
  const body = readBody(read);
  if (read.left !== 0) throw new RangeError(`${read.left} bytes after the end of a command`);
  return { timeMs, identity: client === '' ? undefined : { client, ...rest }, body };
}

function writeBody(out: ByteWriter, body: CommandBody): void {
  switch (body.kind) {
    case 'transact':
      writeList(out, body.when, writeCondition);
      writeList(out, body.then, writeOperation);
      writeList(out, body.otherwise, writeOperation);
      return;
    case 'grant-lease':
      out.string(body.id).u64(body.ttlMs);
      return;
    case 'revoke-lease':
      out.string(body.id);
      return;
    case 'expire-lease':
      out.string(body.id).u64(body.grantIndex);
      return;
    case 'compact':
      out.u64(body.revision);
      return;
    default:
      unreachable(body);
  }
}

function readBody(read: ByteReader): CommandBody {
  const kind = choice(read, KINDS);
  switch (kind) {
    case 'transact':
      return {
        kind,
        when: readList(read, readCondition),
        then: readList(read, readOperation),
        otherwise: readList(read, readOperation),
      };
    case 'grant-lease':
      return { kind, id: read.string(), ttlMs: read.u64() };
    case 'revoke-lease':
      return { kind, id: read.string() };
    case 'expire-lease':
      return { kind, id: read.string(), grantIndex: read.u64() };
    case 'compact':
      return { kind, revision: read.u64() };
    default:
      return unreachable(kind);
  }
}

function writeCondition(out: ByteWriter, condition: Condition): void {
  writeRange(out, condition.range);
  out.u8(RELATIONS.indexOf(condition.is) + 1);
  out.u8(TARGETS.indexOf(condition.target) + 1);
  if (condition.target === 'value') out.bytes(condition.than);
  else if (condition.target === 'lease') out.string(condition.than ?? '');
  else out.u64(condition.than);
}

function readCondition(read: ByteReader): Condition {
  const range = readRange(read);
  const is = choice(read, RELATIONS);
  const target = choice(read, TARGETS);
  if (target === 'value') return { range, is, target, than: read.bytes() };
  if (target === 'lease') return { range, is, target, than: read.string() || undefined };
  return { range, is, target, than: read.u64() };
}

function writeOperation(out: ByteWriter, operation: StateOperation): void {
  out.u8(OPERATIONS.indexOf(operation.op) + 1);
  switch (operation.op) {
    case 'put':
      writeKey(out, operation.key);
      if (operation.value === 'keep') out.u8(0);
      else out.u8(1).bytes(operation.value);
      if (operation.lease === 'keep') out.u8(0);
      else out.u8(1).string(operation.lease ?? '');
      out.u8(operation.returns === 'previous' ? 1 : 0);
      return;
    case 'delete':
      writeRange(out, operation.range);
      out.u8(operation.returns === 'previous' ? 1 : 0);
      return;
    case 'range':
      writeQuery(out, operation);
      return;
    default:
      unreachable(operation);
  }
}

function readOperation(read: ByteReader): StateOperation {
  const op = choice(read, OPERATIONS);
  switch (op) {
    case 'put': {
      const key = readKey(read);
      const value = flag(read) ? read.bytes() : 'keep';
      const lease = flag(read) ? read.string() || undefined : 'keep';
      return { op, key, value, lease, returns: flag(read) ? 'previous' : 'nothing' };
    }
    case 'delete':
      return { op, range: readRange(read), returns: flag(read) ? 'previous' : 'nothing' };
    case 'range':
      return { op, ...readQuery(read) };
    default:
      return unreachable(op);
  }
}

function writeQuery(out: ByteWriter, query: RangeQuery): void {
  writeRange(out, query.range);
  out.u64(query.revision).u64(query.limit).u8(RETURNS.indexOf(query.returns));
  out.u8(query.sort ? SORT_TARGETS.indexOf(query.sort.by) + 1 : 0);
  out.u8(query.sort?.order === 'descending' ? 1 : 0);
  out.u64(query.modRevision?.min ?? 0).u64(query.modRevision?.max ?? 0);
  out.u64(query.createRevision?.min ?? 0).u64(query.createRevision?.max ?? 0);
}

function readQuery(read: ByteReader): RangeQuery {
  const range = readRange(read);
  const revision = read.u64();
  const limit = read.u64();
  const returns = RETURNS[read.u8()];
  const sortCode = read.u8();
  const order = flag(read) ? 'descending' : 'ascending';
  const modRevision = { min: read.u64(), max: read.u64() };
  const createRevision = { min: read.u64(), max: read.u64() };
  if (returns === undefined || sortCode > SORT_TARGETS.length) throw new RangeError('an unknown way to return a range');
  const by = SORT_TARGETS[sortCode - 1];
  const sort = by === undefined ? {} : { sort: { by, order } as const };
  return { range, revision, limit, returns, modRevision, createRevision, ...sort };
}

function writeRange(out: ByteWriter, range: KeyRange): void {
  writeKey(out, range.key);
  writeKey(out, range.end);
}

function readRange(read: ByteReader): KeyRange {
  return { key: readKey(read), end: readKey(read) };
}

function writeKey(out: ByteWriter, key: KeyBytes): void {
  out.bytes(Buffer.from(key, 'latin1'));
}

function readKey(read: ByteReader): KeyBytes {
  return keyFromBytes(read.bytes());
}

function writeList<T>(out: ByteWriter, list: readonly T[], write: (out: ByteWriter, item: T) => void): void {
  out.u32(list.length);
  for (const item of list) write(out, item);
}

/** Grows with what is really there: a count that lies ends in UnexpectedEnd, not in a huge allocation. */
function readList<T>(read: ByteReader, item: (read: ByteReader) => T): T[] {
  const count = read.u32();
  const list: T[] = [];
  for (let i = 0; i < count; i++) list.push(item(read));
  return list;
}

function choice<T>(read: ByteReader, of: readonly T[]): T {
  const code = read.u8();
  const chosen = of[code - 1];
  if (chosen === undefined) throw new RangeError(`code ${code} where 1 to ${of.length} are known`);
  return chosen;
}

function flag(read: ByteReader): boolean {
  const code = read.u8();
  if (code > 1) throw new RangeError(`${code} where 0 or 1 is known`);
  return code === 1;
}
