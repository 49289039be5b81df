// Encodes every packet but PUBLISH (publish-frame.ts).
//
// What a client may refuse is left out here, in one place:
//   E1. A packet above the client's Maximum Packet Size is not sent [MQTT-3.1.2-24]: first its user
//       properties, then its reason string are left out [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2];
//       when it is still too large the result is undefined.
//   E2. Without Request Problem Information only CONNACK, DISCONNECT and PUBLISH carry a reason string
//       or user properties [MQTT-3.1.2-29].

import { PacketWriter } from './packet-writer.js';
import {
  type AckPacket,
  type AckType,
  type AuthPacket,
  type ConnackPacket,
  type ConnectPacket,
  type DisconnectPacket,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type SubscribePacket,
  type SubscriptionAckPacket,
  type SubscriptionRequest,
  type UnsubscribePacket,
} from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { connectReturnCode, isFailure, ReasonCode } from './reason-codes.js';

/** How one peer wants its packets. */
export interface WireProfile {
  readonly version: ProtocolVersion;
  /** The peer's Maximum Packet Size in bytes; Infinity where it named none. */
  readonly maximumPacketBytes: number;
  /** Request Problem Information 0 is 'refused'. */
  readonly problemInformation: 'wanted' | 'refused';
}

/** The profile of a peer that asked for nothing, per version. */
export const PLAIN_PROFILE = {
  3: { version: 3, maximumPacketBytes: Number.POSITIVE_INFINITY, problemInformation: 'wanted' },
  4: { version: 4, maximumPacketBytes: Number.POSITIVE_INFINITY, problemInformation: 'wanted' },
  5: { version: 5, maximumPacketBytes: Number.POSITIVE_INFINITY, problemInformation: 'wanted' },
} as const satisfies Readonly<Record<ProtocolVersion, WireProfile>>;

export function wireProfile(connect: ConnectPacket): WireProfile {
  const { protocolVersion, properties } = connect;
  if (properties?.maximumPacketSize === undefined && properties?.requestProblemInformation === undefined) {
    return PLAIN_PROFILE[protocolVersion];
  }
  return {
    version: protocolVersion,
    maximumPacketBytes: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    problemInformation: properties.requestProblemInformation === 0 ? 'refused' : 'wanted',
  };
}

export const PINGREQ: Buffer = Buffer.from([PacketType.pingreq << 4, 0]);
export const PINGRESP: Buffer = Buffer.from([PacketType.pingresp << 4, 0]);

const writer = new PacketWriter();

/** CONNACK (§3.2). Session present is only said with success [MQTT-3.2.2-6], and not in MQTT 3.1. */
export function encodeConnack(packet: ConnackPacket, profile: WireProfile): Buffer | undefined {
  const { version } = profile;
  const present = packet.sessionPresent && packet.reasonCode === ReasonCode.success && version !== 3 ? 1 : 0;
  if (version !== 5) return Buffer.from([PacketType.connack << 4, 2, present, connectReturnCode(packet.reasonCode)]);
  return encodeFitting(packet.properties, profile, (properties) =>
    writer
      .begin()
      .u8(present)
      .u8(packet.reasonCode)
      .properties(properties, PropertyPlace.connack)
      .finish(PacketType.connack << 4),
  );
}

const ACK_PLACE = {
  [PacketType.puback]: PropertyPlace.puback,
  [PacketType.pubrec]: PropertyPlace.pubrec,
  [PacketType.pubrel]: PropertyPlace.pubrel,
  [PacketType.pubcomp]: PropertyPlace.pubcomp,
} as const;

/** PUBREL has the flags 0010 [MQTT-3.6.1-1], the others none. */
export function ackFirstByte(type: AckType): number {
  return (type << 4) | (type === PacketType.pubrel ? 2 : 0);
}

/** A successful ack in the four bytes that all versions share, for the hot path; returns the position after it. */
export function writeAck(
  target: Buffer,
  at: number,
  ack: { readonly type: AckType; readonly packetId: number },
): number {
  target[at] = ackFirstByte(ack.type);
  target[at + 1] = 2;
  target[at + 2] = ack.packetId >> 8;
  target[at + 3] = ack.packetId & 0xff;
  return at + ACK_BYTES;
}

export const ACK_BYTES = 4;

/** PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7). MQTT 3 has no way to say that one failed. */
export function encodeAck(type: AckType, packet: AckPacket, profile: WireProfile): Buffer | undefined {
  const { packetId, reasonCode, properties } = packet;
  if (profile.version !== 5 || (reasonCode === ReasonCode.success && properties === undefined)) {
    const bytes = Buffer.allocUnsafe(ACK_BYTES);
    writeAck(bytes, 0, { type, packetId });
    return bytes;
  }
  const kept = profile.problemInformation === 'wanted' ? properties : undefined; // E2
  return encodeFitting(kept, profile, (fitting) => {
    writer.begin().u16(packetId).u8(reasonCode);
    if (fitting !== undefined) writer.properties(fitting, ACK_PLACE[type]);
    return writer.finish(ackFirstByte(type));
  });
}

/** SUBACK (§3.9). MQTT 3 knows one failure, 0x80. */
export function encodeSuback(packet: SubscriptionAckPacket, profile: WireProfile): Buffer | undefined {
  if (profile.version === 5) return encodeSubscriptionAck(PacketType.suback, packet, profile);
  writer.begin().u16(packet.packetId);
  for (const code of packet.reasonCodes) writer.u8(isFailure(code) ? ReasonCode.unspecifiedError : code);
  return writer.finish(PacketType.suback << 4);
}

/** UNSUBACK (§3.11). MQTT 3 has no codes in it. */
export function encodeUnsuback(packet: SubscriptionAckPacket, profile: WireProfile): Buffer | undefined {
  if (profile.version === 5) return encodeSubscriptionAck(PacketType.unsuback, packet, profile);
  return writer
    .begin()
    .u16(packet.packetId)
    .finish(PacketType.unsuback << 4);
}

function encodeSubscriptionAck(
  type: typeof PacketType.suback | typeof PacketType.unsuback,
  packet: SubscriptionAckPacket,
  profile: WireProfile,
): Buffer | undefined {
  const kept = profile.problemInformation === 'wanted' ? packet.properties : undefined; // E2
  const place = type === PacketType.suback ? PropertyPlace.suback : PropertyPlace.unsuback;
  return encodeFitting(kept, profile, (properties) => {
    writer.begin().u16(packet.packetId).properties(properties, place);
    for (const code of packet.reasonCodes) writer.u8(code);
    return writer.finish(type << 4);
  });
}

/** From a client in any version; from a server only in MQTT 5, as MQTT 3 servers just close. */
export function encodeDisconnect(
  packet: DisconnectPacket,
  profile: WireProfile,
  sender: 'client' | 'server',
): Buffer | undefined {
  const { reasonCode, properties } = packet;
  const first = PacketType.disconnect << 4;
  if (profile.version !== 5) return sender === 'client' ? Buffer.from([first, 0]) : undefined;
  if (reasonCode === ReasonCode.normalDisconnection && properties === undefined) return Buffer.from([first, 0]);
  const place = sender === 'client' ? PropertyPlace.disconnectFromClient : PropertyPlace.disconnectFromServer;
  return encodeFitting(properties, profile, (fitting) => {
    writer.begin().u8(reasonCode);
    if (fitting !== undefined) writer.properties(fitting, place);
    return writer.finish(first);
  });
}

/** AUTH (§3.15), MQTT 5 only. */
export function encodeAuth(packet: AuthPacket, profile: WireProfile): Buffer | undefined {
  return encodeFitting(packet.properties, profile, (properties) =>
    writer
      .begin()
      .u8(packet.reasonCode)
      .properties(properties, PropertyPlace.auth)
      .finish(PacketType.auth << 4),
  );
}

/** E1. */
function encodeFitting(
  properties: Properties | undefined,
  profile: WireProfile,
  encode: (properties: Properties | undefined) => Buffer,
): Buffer | undefined {
  const whole = encode(properties);
  if (whole.length <= profile.maximumPacketBytes) return whole;
  if (properties === undefined) return undefined;
  const { userProperties, ...withReason } = properties;
  const { reasonString, ...bare } = withReason;
  for (const fewer of [withReason, bare]) {
    const packet = encode(Object.keys(fewer).length === 0 ? undefined : fewer);
    if (packet.length <= profile.maximumPacketBytes) return packet;
  }
  return undefined;
}

/** CONNECT (§3.1), as a client sends it. */
export function encodeConnect(packet: ConnectPacket): Buffer {
  const { protocolVersion: version, will, username, password } = packet;
  const flags =
    (packet.cleanStart ? 0x02 : 0) |
    (will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)) |
    (password === undefined ? 0 : 0x40) |
    (username === undefined ? 0 : 0x80);
  writer
    .begin()
    .text(version === 3 ? 'MQIsdp' : 'MQTT')
    .u8(packet.bridge ? version | 0x80 : version)
    .u8(flags)
    .u16(packet.keepAlive);
  if (version === 5) writer.properties(packet.properties, PropertyPlace.connect);
  writer.text(packet.clientId);
  if (will !== undefined) {
    if (version === 5) writer.properties(will.properties, PropertyPlace.will);
    writer.text(will.topicName).binary(will.payload);
  }
  if (username !== undefined) writer.text(username);
  if (password !== undefined) writer.binary(password);
  return writer.finish(PacketType.connect << 4);
}

/** SUBSCRIBE (§3.8), as a client sends it. */
export function encodeSubscribe(packet: SubscribePacket, version: ProtocolVersion): Buffer {
  writer.begin().u16(packet.packetId);
  if (version === 5) writer.properties(packet.properties, PropertyPlace.subscribe);
  for (const request of packet.subscriptions) {
    writer.text(request.topicFilter).u8(version === 5 ? subscriptionOptions(request) : request.qos);
  }
  return writer.finish((PacketType.subscribe << 4) | 2);
}

function subscriptionOptions(request: SubscriptionRequest): number {
  return (
    request.qos | (request.noLocal ? 0x04 : 0) | (request.retainAsPublished ? 0x08 : 0) | (request.retainHandling << 4)
  );
}

/** UNSUBSCRIBE (§3.10), as a client sends it. */
export function encodeUnsubscribe(packet: UnsubscribePacket, version: ProtocolVersion): Buffer {
  writer.begin().u16(packet.packetId);
  if (version === 5) writer.properties(packet.properties, PropertyPlace.unsubscribe);
  for (const topicFilter of packet.topicFilters) writer.text(topicFilter);
  return writer.finish((PacketType.unsubscribe << 4) | 2);
}
