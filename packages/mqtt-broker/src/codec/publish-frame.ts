// A PUBLISH encoded once for many subscribers.
//
//   41 2B | remaining length | topic length, topic | packet id (QoS 1, 2) | properties (MQTT 5) | payload
//
// All subscribers of one version, QoS and retain flag get the same bytes; only the packet id (and DUP on
// a resend) differs, and its place is known. A payload above INLINE_PAYLOAD_BYTES_MAX stays outside, so
// that it is written by reference and never copied.

import {
  PacketWriter,
  variableByteIntegerBytes,
  writeMessageProperties,
  writeVariableByteInteger,
} from './packet-writer.js';
import { type MessageProperties, PacketType, type ProtocolVersion, type PublishPacket, type QoS } from './packets.js';
import { utf8Bytes, writeUtf8 } from './short-text.js';

/** Copying this much costs less than one more buffer in a gathered write. */
export const INLINE_PAYLOAD_BYTES_MAX = 4096;

export const DUP = 0x08;

/** What all subscribers get alike. */
export interface PublishedMessage {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly properties?: MessageProperties | undefined;
}

/** What differs from one group of subscribers to another. */
export interface PublishShape {
  readonly version: ProtocolVersion;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Of all matching subscriptions of the receiver [MQTT-3.3.4-3]; MQTT 5 only. */
  readonly subscriptionIdentifiers?: readonly number[] | undefined;
  /** What is left of it, in seconds [MQTT-3.3.2-6]; MQTT 5 only. */
  readonly messageExpiryInterval?: number | undefined;
  /** 'bind' sends the topic name with the alias, 'use' the alias alone; MQTT 5 only. */
  readonly topicAlias?: { readonly alias: number; readonly mode: 'bind' | 'use' } | undefined;
}

export class PublishFrame {
  /** The packet with packet id 0 and DUP 0, up to the payload where that stays outside. Never changed. */
  readonly head: Buffer;
  /** The payload where it stays outside. */
  readonly payload: Buffer | undefined;
  /** Where in `head` the two bytes of the packet id lie; 0 at QoS 0, which has none. */
  readonly packetIdAt: number;
  readonly qos: QoS;

  constructor(head: Buffer, tail: { payload: Buffer | undefined; packetIdAt: number; qos: QoS }) {
    this.head = head;
    this.payload = tail.payload;
    this.packetIdAt = tail.packetIdAt;
    this.qos = tail.qos;
  }

  /** Of the whole packet, to be held against the receiver's Maximum Packet Size. */
  get bytes(): number {
    return this.payload === undefined ? this.head.length : this.head.length + this.payload.length;
  }

  /**
   * Copies the head to `target` and puts the packet id in; returns the position after it. For a resend
   * `target[at] |= DUP` follows. The payload, where it stays outside, is the caller's to write next.
   */
  copyHead(target: Buffer, at: number, packetId: number): number {
    const { head, packetIdAt } = this;
    target.set(head, at);
    if (packetIdAt !== 0) {
      target[at + packetIdAt] = packetId >> 8;
      target[at + packetIdAt + 1] = packetId & 0xff;
    }
    return at + head.length;
  }
}

const propertyWriter = new PacketWriter();
const NO_PROPERTIES = Buffer.from([0]);
const NOTHING = Buffer.alloc(0);

export function encodePublishFrame(message: PublishedMessage, shape: PublishShape): PublishFrame {
  const { payload } = message;
  const topicName = shape.version === 5 && shape.topicAlias?.mode === 'use' ? '' : message.topicName;
  const topicBytes = utf8Bytes(topicName);
  const properties = shape.version === 5 ? encodeProperties(message.properties, shape) : NOTHING;
  const idBytes = shape.qos === 0 ? 0 : 2;
  const remaining = 2 + topicBytes + idBytes + properties.length + payload.length;
  const inline = payload.length <= INLINE_PAYLOAD_BYTES_MAX;
  const header = 1 + variableByteIntegerBytes(remaining);

  const head = Buffer.allocUnsafe(header + remaining - (inline ? 0 : payload.length));
  head[0] = (PacketType.publish << 4) | (shape.qos << 1) | (shape.retain ? 1 : 0);
  let at = writeVariableByteInteger(head, 1, remaining);
  head[at] = topicBytes >> 8;
  head[at + 1] = topicBytes & 0xff;
  at += 2;
  at = writeUtf8(head, at, { text: topicName, bytes: topicBytes });
  const packetIdAt = idBytes === 0 ? 0 : at;
  if (idBytes !== 0) {
    head[at] = 0;
    head[at + 1] = 0;
    at += 2;
  }
  head.set(properties, at);
  if (inline) head.set(payload, at + properties.length);
  return new PublishFrame(head, { payload: inline ? undefined : payload, packetIdAt, qos: shape.qos });
}

/** Whole and on its own: a PUBLISH for one receiver, or from a client. */
export function encodePublish(packet: PublishPacket, version: ProtocolVersion): Buffer {
  const { topicAlias, messageExpiryInterval, subscriptionIdentifiers } = packet.properties ?? {};
  const mode = packet.topicName === '' ? 'use' : 'bind';
  const frame = encodePublishFrame(packet, {
    version,
    qos: packet.qos,
    retain: packet.retain,
    subscriptionIdentifiers,
    messageExpiryInterval,
    topicAlias: topicAlias === undefined ? undefined : { alias: topicAlias, mode },
  });
  const bytes = Buffer.allocUnsafe(frame.bytes);
  const at = frame.copyHead(bytes, 0, packet.packetId);
  if (packet.dup) bytes[0] = (bytes[0] ?? 0) | DUP;
  if (frame.payload !== undefined) bytes.set(frame.payload, at);
  return bytes;
}

/** Named one by one: nothing else a publisher sent may reach a subscriber. */
function encodeProperties(message: MessageProperties | undefined, shape: PublishShape): Buffer {
  const { subscriptionIdentifiers, messageExpiryInterval, topicAlias } = shape;
  const plain =
    subscriptionIdentifiers === undefined && messageExpiryInterval === undefined && topicAlias === undefined;
  if (message === undefined && plain) return NO_PROPERTIES;
  const writer = propertyWriter.begin();
  const lengthAt = writer.openProperties();
  if (message !== undefined) writeMessageProperties(writer, message);
  if (messageExpiryInterval !== undefined) writer.u8(2).u32(messageExpiryInterval);
  if (subscriptionIdentifiers !== undefined) {
    for (const identifier of subscriptionIdentifiers) writer.u8(11).variableByteInteger(identifier);
  }
  if (topicAlias !== undefined) writer.u8(35).u16(topicAlias.alias);
  writer.closeProperties(lengthAt);
  return writer.body();
}
