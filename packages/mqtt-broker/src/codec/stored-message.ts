// A message as it lies in storage: the payload of one record.
//
//   byte 0       layout, 1
//   byte 1       QoS 03, retain 04, expires 08, from a QoS 2 packet 10, properties 20
//   8 bytes      published at, milliseconds since 1970
//   8 bytes      expires at, milliseconds since 1970        only when 08
//   2 + 8 bytes  packet id and session epoch                only when 10
//   2 + n bytes  topic name
//   2 + n bytes  client id of the publisher
//   v + n bytes  properties, encoded as in PUBLISH (§2.2.2)  only when 20, and only those of a message
//   the rest     payload
//
// Numbers are big-endian. All lengths of the head are known from its own bytes, so a reader may take the
// topic, the times and the QoS without touching payload or properties. Integrity is storage's: a record
// has a checksum there.
//
// The packet id and epoch of a QoS 2 packet lie with its message, in one append: whether a repeated packet
// is a repetition is then known from the same bytes that say the message is kept (QoS 2 exactly once).

import { assert } from '@robustmq/stdx/assert';
import { MqttError } from '../errors.js';
import { decodeProperties } from './decode-properties.js';
import { PacketReader } from './packet-reader.js';
import { PacketWriter, writeMessageProperties } from './packet-writer.js';
import type { MessageProperties, PacketId, QoS } from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { utf8Bytes, writeUtf8 } from './short-text.js';

export interface Message {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: MessageProperties | undefined;
  /** The client that published it; empty for the broker itself. */
  readonly publisherId: string;
  readonly publishedAtMs: number;
  /** From Message Expiry Interval; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

/** Which packet of which session brought a QoS 2 message. */
export interface PacketOrigin {
  readonly packetId: PacketId;
  readonly sessionEpoch: number;
}

const LAYOUT = 1;
const Flag = { qos: 0x03, retain: 0x04, expires: 0x08, origin: 0x10, properties: 0x20 } as const;
const KNOWN_FLAGS = 0x3f;
const TEXT_BYTES_MAX = 65_535;

const propertyWriter = new PacketWriter();

export function encodeStoredMessage(message: Message, origin?: PacketOrigin): Buffer {
  const { topicName, publisherId, payload, properties, expiresAtMs } = message;
  const encoded = properties === undefined ? undefined : encodeProperties(properties);
  const topicBytes = utf8Bytes(topicName);
  const publisherBytes = utf8Bytes(publisherId);
  assert(topicBytes <= TEXT_BYTES_MAX && publisherBytes <= TEXT_BYTES_MAX, 'names of a message fit two length bytes');
  const headBytes = 10 + (expiresAtMs === undefined ? 0 : 8) + (origin === undefined ? 0 : 10);
  const total = headBytes + 4 + topicBytes + publisherBytes + (encoded?.length ?? 0) + payload.length;

  const bytes = Buffer.allocUnsafe(total);
  bytes[0] = LAYOUT;
  bytes[1] =
    message.qos |
    (message.retain ? Flag.retain : 0) |
    (expiresAtMs === undefined ? 0 : Flag.expires) |
    (origin === undefined ? 0 : Flag.origin) |
    (encoded === undefined ? 0 : Flag.properties);
  let at = writeU64(bytes, 2, message.publishedAtMs);
  if (expiresAtMs !== undefined) at = writeU64(bytes, at, expiresAtMs);
  if (origin !== undefined) {
    at = bytes.writeUInt16BE(origin.packetId, at);
    at = writeU64(bytes, at, origin.sessionEpoch);
  }
  at = bytes.writeUInt16BE(topicBytes, at);
  at = writeUtf8(bytes, at, { text: topicName, bytes: topicBytes });
  at = bytes.writeUInt16BE(publisherBytes, at);
  at = writeUtf8(bytes, at, { text: publisherId, bytes: publisherBytes });
  if (encoded !== undefined) {
    bytes.set(encoded, at);
    at += encoded.length;
  }
  bytes.set(payload, at);
  return bytes;
}

/**
 * A message over the bytes it was read from. Topic, properties and payload are decoded when asked for;
 * the payload is a view. Throws MqttError CORRUPT_STORED_MESSAGE when the bytes are not a message.
 */
export class StoredMessage implements Message {
  readonly #bytes: Buffer;
  readonly #flags: number;
  readonly #topicAt: number;
  readonly #publisherAt: number;
  readonly #propertiesAt: number;
  #topicName: string | undefined;
  #body: { readonly properties: MessageProperties | undefined; readonly payload: Buffer } | undefined;

  constructor(bytes: Buffer) {
    if (bytes.length < 14 || bytes[0] !== LAYOUT) throw corrupt(`layout ${bytes[0] ?? 'missing'}`);
    const flags = bytes[1] as number; // at least 14 bytes
    if ((flags & ~KNOWN_FLAGS) !== 0 || (flags & Flag.qos) === 3) throw corrupt(`flags ${flags}`);
    this.#bytes = bytes;
    this.#flags = flags;
    this.#topicAt = 10 + (this.#has(Flag.expires) ? 8 : 0) + (this.#has(Flag.origin) ? 10 : 0);
    this.#publisherAt = afterText(bytes, this.#topicAt);
    this.#propertiesAt = afterText(bytes, this.#publisherAt);
  }

  get qos(): QoS {
    return (this.#flags & Flag.qos) as QoS; // 3 was refused
  }

  get retain(): boolean {
    return this.#has(Flag.retain);
  }

  get publishedAtMs(): number {
    return readU64(this.#bytes, 2);
  }

  get expiresAtMs(): number | undefined {
    return this.#has(Flag.expires) ? readU64(this.#bytes, 10) : undefined;
  }

  /** Undefined when the message did not come in a QoS 2 packet. */
  get origin(): PacketOrigin | undefined {
    if (!this.#has(Flag.origin)) return undefined;
    const at = this.#topicAt - 10;
    return { packetId: this.#bytes.readUInt16BE(at), sessionEpoch: readU64(this.#bytes, at + 2) };
  }

  get topicName(): string {
    this.#topicName ??= readText(this.#bytes, this.#topicAt);
    return this.#topicName;
  }

  get publisherId(): string {
    return readText(this.#bytes, this.#publisherAt);
  }

  get properties(): MessageProperties | undefined {
    return this.#decodeBody().properties;
  }

  get payload(): Buffer {
    return this.#decodeBody().payload;
  }

  /** What storage holds; the message may be stored again without encoding it anew. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  #has(flag: number): boolean {
    return (this.#flags & flag) !== 0;
  }

  #decodeBody() {
    this.#body ??= decodeBody(this.#bytes, this.#propertiesAt, this.#has(Flag.properties) ? 'properties' : 'payload');
    return this.#body;
  }
}

/** A view that is valid until the next call. */
function encodeProperties(properties: MessageProperties): Buffer {
  const lengthAt = propertyWriter.begin().openProperties();
  writeMessageProperties(propertyWriter, properties);
  propertyWriter.closeProperties(lengthAt);
  return propertyWriter.body();
}

function decodeBody(bytes: Buffer, at: number, first: 'properties' | 'payload') {
  if (first === 'payload') return { properties: undefined, payload: bytes.subarray(at) };
  const reader = new PacketReader();
  reader.buffer = bytes;
  reader.at = at;
  reader.end = bytes.length;
  try {
    const properties = decodeProperties(reader, PropertyPlace.message, Number.POSITIVE_INFINITY);
    return { properties, payload: reader.rest() };
  } catch (cause) {
    throw new MqttError('CORRUPT_STORED_MESSAGE', 'the properties of a stored message cannot be read', { cause });
  }
}

function afterText(bytes: Buffer, at: number): number {
  if (at + 2 > bytes.length) throw corrupt('it ends inside a length');
  const end = at + 2 + bytes.readUInt16BE(at);
  if (end > bytes.length) throw corrupt('it ends inside a name');
  return end;
}

function readText(bytes: Buffer, at: number): string {
  return bytes.toString('utf8', at + 2, at + 2 + bytes.readUInt16BE(at));
}

function writeU64(bytes: Buffer, at: number, value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'an eight-byte field holds a safe whole number');
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  return bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

function corrupt(why: string): MqttError {
  return new MqttError('CORRUPT_STORED_MESSAGE', `the bytes are not a stored message: ${why}`);
}
