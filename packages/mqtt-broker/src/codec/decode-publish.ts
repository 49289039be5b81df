// PUBLISH (MQTT5 §3.3): topic name, packet id above QoS 0, properties in MQTT 5, payload.

import { decodeProperties } from './decode-properties.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import type { PacketId, Properties, PublishPacket, QoS } from './packets.js';
import type { PropertyPlace } from './property-rules.js';
import { readTopicName } from './topic-names.js';

/** One shape for every PUBLISH, so that the code that handles them stays monomorphic. */
class DecodedPublish implements PublishPacket {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: PacketId;
  readonly properties: Properties | undefined;

  constructor(first: number, head: PublishHead, payload: Buffer) {
    this.topicName = head.topicName;
    this.payload = payload;
    this.qos = ((first >> 1) & 3) as QoS; // 3 was refused
    this.retain = (first & 1) !== 0;
    this.dup = (first & 8) !== 0;
    this.packetId = head.packetId;
    this.properties = head.properties;
  }
}

interface PublishHead {
  topicName: string;
  packetId: number;
  properties: Properties | undefined;
}

export interface PublishContext {
  readonly version: number;
  readonly place: typeof PropertyPlace.publishFromClient | typeof PropertyPlace.publishFromServer;
  readonly propertyCountMax: number;
}

// Filled and read again within one call.
const head: PublishHead = { topicName: '', packetId: 0, properties: undefined };

export function decodePublish(first: number, reader: PacketReader, context: PublishContext): PublishPacket {
  const qos = (first >> 1) & 3;
  if (qos === 3) throw malformed('the QoS of a PUBLISH is 3', 'MQTT-3.3.1-4');
  if (qos === 0 && (first & 8) !== 0) throw malformed('DUP is set on a QoS 0 PUBLISH', 'MQTT-3.3.1-2');

  head.topicName = readTopicName(reader);
  head.packetId = 0;
  if (qos > 0) {
    head.packetId = reader.u16('the packet identifier');
    if (head.packetId === 0) throw protocolError('the packet identifier is 0', 'MQTT-2.2.1-3');
  }
  head.properties = undefined;
  if (context.version === 5) {
    // Most messages carry none: one zero byte.
    if (reader.at < reader.end && reader.buffer[reader.at] === 0) reader.at++;
    else head.properties = decodeProperties(reader, context.place, context.propertyCountMax);
  }
  if (head.topicName === '' && head.properties?.topicAlias === undefined) {
    if (context.version !== 5) throw malformed('the topic name is empty', 'MQTT311-4.7.3-1');
    throw protocolError('the topic name is empty and there is no topic alias', 'MQTT5 §3.3.2.1');
  }
  return new DecodedPublish(first, head, reader.rest());
}
