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

function rule(packet: string, place: PropertyPlace, allowed: ReadonlySet<number>, clause: string): ReasonRule {
  return { packet, place, allowed, clause };
}

const A = ALLOWED_REASON_CODES;
const P = PropertyPlace;

const RULES = {
  puback: rule('PUBACK', P.puback, A.puback, 'MQTT-3.4.2-1'),
  pubrec: rule('PUBREC', P.pubrec, A.puback, 'MQTT-3.5.2-1'),
  pubrel: rule('PUBREL', P.pubrel, A.pubrel, 'MQTT-3.6.2-1'),
  pubcomp: rule('PUBCOMP', P.pubcomp, A.pubrel, 'MQTT-3.7.2-1'),
  suback: rule('SUBACK', P.suback, A.suback, 'MQTT-3.9.3-2'),
  unsuback: rule('UNSUBACK', P.unsuback, A.unsuback, 'MQTT-3.11.3-2'),
  disconnectFromClient: rule('DISCONNECT', P.disconnectFromClient, A.disconnectFromClient, 'MQTT-3.14.2-1'),
  disconnectFromServer: rule('DISCONNECT', P.disconnectFromServer, A.disconnectFromServer, 'MQTT-3.14.2-1'),
  authFromClient: rule('AUTH', P.auth, A.authFromClient, 'MQTT-3.15.2-1'),
  authFromServer: rule('AUTH', P.auth, A.authFromServer, 'MQTT-3.15.2-1'),
} as const;

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
