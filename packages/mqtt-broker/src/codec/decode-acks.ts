// The packets that are a packet id, a reason code and properties, or less:
// PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT5 §3.4 to §3.7), SUBACK, UNSUBACK (§3.9, §3.11), DISCONNECT (§3.14), AUTH (§3.15).
//
// In MQTT 5 a reason code of 0 and an absence of properties may be left out from the end of the packet.

import { checkAuthentication } from './decode-connect.js';
import { decodeProperties } from './decode-properties.js';
import { type DecodeContext, decodePacketId } from './decode-subscribe.js';
import { protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import type { AckPacket, AuthPacket, DisconnectPacket, SubscriptionAckPacket } from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { ALLOWED_REASON_CODES, ReasonCode } from './reason-codes.js';

interface ReasonRule {
  readonly packet: string;
  readonly place: PropertyPlace;
  readonly allowed: ReadonlySet<number>;
  readonly clause: string;
}

const A = ALLOWED_REASON_CODES;
const P = PropertyPlace;

const RULES = {
  puback: { packet: 'PUBACK', place: P.puback, allowed: A.puback, clause: 'MQTT-3.4.2-1' },
  pubrec: { packet: 'PUBREC', place: P.pubrec, allowed: A.puback, clause: 'MQTT-3.5.2-1' },
  pubrel: { packet: 'PUBREL', place: P.pubrel, allowed: A.pubrel, clause: 'MQTT-3.6.2-1' },
  pubcomp: { packet: 'PUBCOMP', place: P.pubcomp, allowed: A.pubrel, clause: 'MQTT-3.7.2-1' },
  suback: { packet: 'SUBACK', place: P.suback, allowed: A.suback, clause: 'MQTT-3.9.3-2' },
  unsuback: { packet: 'UNSUBACK', place: P.unsuback, allowed: A.unsuback, clause: 'MQTT-3.11.3-2' },
  disconnectFromClient: {
    packet: 'DISCONNECT',
    place: P.disconnectFromClient,
    allowed: A.disconnectFromClient,
    clause: 'MQTT-3.14.2-1',
  },
  disconnectFromServer: {
    packet: 'DISCONNECT',
    place: P.disconnectFromServer,
    allowed: A.disconnectFromServer,
    clause: 'MQTT-3.14.2-1',
  },
  authFromClient: { packet: 'AUTH', place: P.auth, allowed: A.authFromClient, clause: 'MQTT-3.15.2-1' },
  authFromServer: { packet: 'AUTH', place: P.auth, allowed: A.authFromServer, clause: 'MQTT-3.15.2-1' },
} as const satisfies Readonly<Record<string, ReasonRule>>;

type AckKind = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';

// Filled and read again before the next packet: an ack is four bytes and should not cost an object.
const ack: { -readonly [K in keyof AckPacket]: AckPacket[K] } = { packetId: 0, reasonCode: 0, properties: undefined };

/** The result is only valid until the next call. */
export function decodeAck(reader: PacketReader, kind: AckKind, context: DecodeContext): AckPacket {
  ack.packetId = decodePacketId(reader);
  ack.reasonCode = ReasonCode.success;
  ack.properties = undefined;
  if (reader.at === reader.end) return ack;
  if (context.version !== 5) reader.expectEnd(RULES[kind].packet);
  ack.reasonCode = decodeReasonCode(reader, RULES[kind]);
  if (reader.left > 0) ack.properties = decodeProperties(reader, RULES[kind].place, context.propertyCountMax);
  reader.expectEnd(RULES[kind].packet);
  return ack;
}

export function decodeSubscriptionAck(
  reader: PacketReader,
  kind: 'suback' | 'unsuback',
  context: DecodeContext,
): SubscriptionAckPacket {
  const packetId = decodePacketId(reader);
  if (context.version !== 5) {
    if (kind === 'unsuback') reader.expectEnd('UNSUBACK');
    return { packetId, reasonCodes: decodeCodes(reader, kind), properties: undefined };
  }
  const properties = decodeProperties(reader, RULES[kind].place, context.propertyCountMax);
  return { packetId, reasonCodes: decodeCodes(reader, kind), properties };
}

export function decodeDisconnect(
  reader: PacketReader,
  kind: 'disconnectFromClient' | 'disconnectFromServer',
  context: DecodeContext,
): DisconnectPacket {
  if (context.version !== 5) {
    reader.expectEnd('DISCONNECT');
    return { reasonCode: ReasonCode.normalDisconnection, properties: undefined };
  }
  return decodeReason(reader, RULES[kind], context);
}

export function decodeAuth(
  reader: PacketReader,
  kind: 'authFromClient' | 'authFromServer',
  context: DecodeContext,
): AuthPacket {
  const packet = decodeReason(reader, RULES[kind], context);
  if (packet.properties?.authenticationMethod === undefined) {
    throw protocolError('AUTH without an authentication method', 'MQTT5 §3.15.2.2.2');
  }
  checkAuthentication(packet.properties, 'MQTT5 §3.15.2.2.3');
  return packet;
}

function decodeReason(reader: PacketReader, rule: ReasonRule, context: DecodeContext): DisconnectPacket {
  if (reader.left === 0) return { reasonCode: ReasonCode.success, properties: undefined };
  const reasonCode = decodeReasonCode(reader, rule);
  if (reader.left === 0) return { reasonCode, properties: undefined };
  const properties = decodeProperties(reader, rule.place, context.propertyCountMax);
  reader.expectEnd(rule.packet);
  return { reasonCode, properties };
}

function decodeReasonCode(reader: PacketReader, { packet, allowed, clause }: ReasonRule): ReasonCode {
  const code = reader.u8('the reason code');
  if (!allowed.has(code)) throw protocolError(`${packet} does not carry reason code 0x${code.toString(16)}`, clause);
  return code as ReasonCode; // in a list of reason codes, as checked above
}

function decodeCodes(reader: PacketReader, kind: 'suback' | 'unsuback'): ReasonCode[] {
  const codes: ReasonCode[] = [];
  while (reader.left > 0) codes.push(decodeReasonCode(reader, RULES[kind]));
  return codes;
}
