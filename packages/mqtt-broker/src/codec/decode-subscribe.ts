// SUBSCRIBE (MQTT5 §3.8) and UNSUBSCRIBE (§3.10): a packet id, properties in MQTT 5, then filters.
// The rules inside a filter (wildcards, $share) are those of route/topic-filter.ts: a filter that breaks
// them is answered in SUBACK, one that breaks the encoding ends the connection.

import { MqttError } from '../errors.js';
import { decodeProperties } from './decode-properties.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import type {
  ProtocolVersion,
  QoS,
  RetainHandling,
  SubscribePacket,
  SubscriptionRequest,
  UnsubscribePacket,
} from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { ReasonCode } from './reason-codes.js';

export interface DecodeContext {
  readonly version: ProtocolVersion;
  readonly propertyCountMax: number;
  readonly filterCountMax: number;
}

export function decodeSubscribe(reader: PacketReader, context: DecodeContext): SubscribePacket {
  const packetId = decodePacketId(reader);
  const properties =
    context.version === 5 ? decodeProperties(reader, PropertyPlace.subscribe, context.propertyCountMax) : undefined;
  if (reader.left === 0) throw protocolError('SUBSCRIBE without a topic filter', 'MQTT-3.8.3-2');
  const subscriptions: SubscriptionRequest[] = [];
  while (reader.left > 0) {
    refuseTooMany(subscriptions.length, context);
    subscriptions.push(decodeRequest(reader, context.version));
  }
  return { packetId, subscriptions, properties };
}

export function decodeUnsubscribe(reader: PacketReader, context: DecodeContext): UnsubscribePacket {
  const packetId = decodePacketId(reader);
  const properties =
    context.version === 5 ? decodeProperties(reader, PropertyPlace.unsubscribe, context.propertyCountMax) : undefined;
  if (reader.left === 0) throw protocolError('UNSUBSCRIBE without a topic filter', 'MQTT-3.10.3-2');
  const topicFilters: string[] = [];
  while (reader.left > 0) {
    refuseTooMany(topicFilters.length, context);
    topicFilters.push(decodeFilter(reader));
  }
  return { packetId, topicFilters, properties };
}

/** Never 0 [MQTT-2.2.1-3]. */
export function decodePacketId(reader: PacketReader): number {
  const packetId = reader.u16('the packet identifier');
  if (packetId === 0) throw protocolError('the packet identifier is 0', 'MQTT-2.2.1-3');
  return packetId;
}

/** A filter of one byte becomes an object of a hundred: the packet size alone does not bound the memory. */
function refuseTooMany(count: number, { filterCountMax }: DecodeContext): void {
  if (count < filterCountMax) return;
  throw new MqttError('PACKET_TOO_LARGE', `more than ${filterCountMax} topic filters in one packet`, {
    reasonCode: ReasonCode.quotaExceeded,
  });
}

function decodeFilter(reader: PacketReader): string {
  const topicFilter = reader.text('a topic filter', 'name'); // [MQTT-3.8.3-1] [MQTT-3.10.3-1]
  if (topicFilter === '') throw malformed('a topic filter is empty', 'MQTT-4.7.3-1');
  return topicFilter;
}

/** Options: QoS 03, no local 04, retain as published 08, retain handling 30, reserved C0 (§3.8.3.1). */
function decodeRequest(reader: PacketReader, version: ProtocolVersion): SubscriptionRequest {
  const topicFilter = decodeFilter(reader);
  const options = reader.u8('the subscription options');
  const qos = options & 3;
  if (qos === 3) throw protocolError('the requested QoS is 3', version === 5 ? 'MQTT5 §3.8.3.1' : 'MQTT311-3.8.3-4');
  if (version !== 5) {
    if (options > 2) throw malformed('reserved bits of the requested QoS are set', 'MQTT311-3.8.3-4');
    return { topicFilter, qos: qos as QoS, noLocal: false, retainAsPublished: false, retainHandling: 0 }; // not 3
  }
  if ((options & 0xc0) !== 0) throw malformed('reserved subscription option bits are set', 'MQTT-3.8.3-5');
  const retainHandling = (options >> 4) & 3;
  if (retainHandling === 3) throw protocolError('the retain handling is 3', 'MQTT5 §3.8.3.1');
  const noLocal = (options & 0x04) !== 0;
  if (noLocal && topicFilter.startsWith('$share/')) {
    throw protocolError('no local on a shared subscription', 'MQTT-3.8.3-4');
  }
  return {
    topicFilter,
    qos: qos as QoS, // not 3, as checked above
    noLocal,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as RetainHandling, // not 3, as checked above
  };
}
