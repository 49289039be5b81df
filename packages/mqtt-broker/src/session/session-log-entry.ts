// One entry of the session log: how far a QoS 2 handshake of a durable session has come.
//
//   byte 0       kind: 1 sent, 2 received, 3 completed, 4 released, 5 snapshot, 6 state
//
//   1 to 4, one step of one message:
//     8 bytes      session epoch
//     2 bytes      packet id
//     2 + 8 bytes  message shard and offset
//     4 + n bytes  client id
//
//   5, begins a snapshot: everything before it is superseded
//     2 bytes      n, the number of message shards
//     8 × n bytes  the end of each when the snapshot was taken
//
//   6, one session's whole state, follows 5 in the same append
//     8 bytes      session epoch
//     4 + n bytes  client id
//     4 bytes      m, then m of: 1 byte (1 outbound sent, 2 outbound released, 3 outbound done, 4 inbound),
//                  2 bytes packet id, 2 + 8 bytes message shard and offset
//
// Numbers are big-endian. An append is whole or not there, so a snapshot needs no end mark; integrity is
// storage's, as with every record.

import { ByteReader, UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import type { StoredAt } from '../deliver/session-delivery.js';
import { MqttError } from '../errors.js';

/**
 *   sent       a packet id is bound to a message that is about to be sent
 *   received   the client has it (PUBREC)
 *   completed  the handshake is over (PUBCOMP, or the client refused the message)
 *   released   the client has released a message of its own (PUBREL)
 */
export type StepKind = 'sent' | 'received' | 'completed' | 'released';

export interface SessionStep {
  readonly kind: StepKind;
  readonly clientId: string;
  readonly epoch: number;
  readonly packetId: number;
  readonly at: StoredAt;
}

export type KeptKind = 'sent' | 'released' | 'done' | 'inbound';

/** `packetId` is 0 where none is held any more (`done`). */
export interface KeptMessage {
  readonly kind: KeptKind;
  readonly packetId: number;
  readonly at: StoredAt;
}

export interface SessionState {
  readonly kind: 'state';
  readonly clientId: string;
  readonly epoch: number;
  readonly kept: readonly KeptMessage[];
}

export interface SnapshotStart {
  readonly kind: 'snapshot';
  /** By message shard. */
  readonly ends: readonly number[];
}

export type SessionLogEntry = SessionStep | SessionState | SnapshotStart;

const STEP_HEAD_BYTES = 25;
const STEP_CODES: Readonly<Record<StepKind, number>> = { sent: 1, received: 2, completed: 3, released: 4 };
const STEP_KINDS: readonly (StepKind | undefined)[] = [undefined, 'sent', 'received', 'completed', 'released'];
const KEPT_KINDS: readonly (KeptKind | undefined)[] = [undefined, 'sent', 'released', 'done', 'inbound'];
const SNAPSHOT = 5;
const STATE = 6;

/** Written by hand: every QoS 2 message of a durable session is three of them. */
export function encodeStep({ kind, epoch, packetId, at, clientId }: SessionStep): Buffer {
  const clientIdBytes = Buffer.byteLength(clientId);
  const bytes = Buffer.allocUnsafe(STEP_HEAD_BYTES + clientIdBytes);
  bytes[0] = STEP_CODES[kind];
  writeU64(bytes, 1, epoch);
  bytes.writeUInt16BE(packetId, 9);
  bytes.writeUInt16BE(at.shard, 11);
  writeU64(bytes, 13, at.offset);
  bytes.writeUInt32BE(clientIdBytes, 21);
  bytes.write(clientId, STEP_HEAD_BYTES, 'utf8');
  return bytes;
}

function writeU64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

export function encodeSnapshotStart({ ends }: SnapshotStart): Buffer {
  const writer = new ByteWriter(3 + 8 * ends.length).u8(SNAPSHOT).u16(ends.length);
  for (const end of ends) writer.u64(end);
  return writer.finish();
}

export function encodeState({ epoch, clientId, kept }: SessionState): Buffer {
  const writer = new ByteWriter(32 + clientId.length + 13 * kept.length).u8(STATE).u64(epoch).string(clientId);
  writer.u32(kept.length);
  for (const { kind, packetId, at } of kept)
    writer.u8(KEPT_KINDS.indexOf(kind)).u16(packetId).u16(at.shard).u64(at.offset);
  return writer.finish();
}

/** Errors: CORRUPT_SESSION_RECORD. */
export function decodeSessionLogEntry(bytes: Buffer): SessionLogEntry {
  const reader = new ByteReader(bytes);
  try {
    const kind = reader.u8();
    if (kind === SNAPSHOT) return { kind: 'snapshot', ends: Array.from({ length: reader.u16() }, () => reader.u64()) };
    if (kind === STATE) return decodeState(reader);
    const step = STEP_KINDS[kind];
    if (step === undefined) throw corrupt(`kind ${kind}`);
    const epoch = reader.u64();
    const packetId = reader.u16();
    const at = { shard: reader.u16(), offset: reader.u64() };
    return { kind: step, epoch, packetId, at, clientId: reader.string() };
  } catch (cause) {
    if (cause instanceof UnexpectedEnd) throw corrupt('it ends too early');
    throw cause;
  }
}

function decodeState(reader: ByteReader): SessionState {
  const epoch = reader.u64();
  const clientId = reader.string();
  const kept: KeptMessage[] = [];
  for (let left = reader.u32(); left > 0; left--) {
    const kind = KEPT_KINDS[reader.u8()];
    if (kind === undefined) throw corrupt('an unknown kind of message');
    kept.push({ kind, packetId: reader.u16(), at: { shard: reader.u16(), offset: reader.u64() } });
  }
  return { kind: 'state', epoch, clientId, kept };
}

function corrupt(why: string): MqttError {
  return new MqttError('CORRUPT_SESSION_RECORD', `the bytes are no entry of the session log: ${why}`);
}
