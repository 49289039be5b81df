import { MqttError } from '../errors.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import type { Properties } from './packets.js';
import { PropertyPlace, type PropertyRule, RULE_BY_ID } from './property-rules.js';
import { ReasonCode } from './reason-codes.js';

type Value = number | string | Buffer;
/** While decoding; frozen in type, not at run time, when handed on. */
type Draft = { -readonly [Name in keyof Properties]: Properties[Name] };

/**
 * Reads a property length and the properties it covers; undefined when there are none.
 * `countMax` bounds how many a packet may carry, because each one costs an object.
 */
export function decodeProperties(reader: PacketReader, place: PropertyPlace, countMax: number): Properties | undefined {
  const length = reader.variableByteInteger('the property length');
  if (length === 0) return undefined;
  const packetEnd = reader.end;
  const end = reader.at + length;
  if (end > packetEnd) throw malformed('the property length reaches beyond the packet', 'MQTT5 §2.2.2.1');

  reader.end = end; // a value cannot reach out of the properties
  const draft: Draft = {};
  for (let count = 1; reader.at < end; count++) {
    if (count > countMax) {
      throw new MqttError('PACKET_TOO_LARGE', `more than ${countMax} properties in one packet`, {
        reasonCode: ReasonCode.quotaExceeded,
      });
    }
    decodeProperty(reader, place, draft);
  }
  reader.end = packetEnd;
  return draft;
}

function decodeProperty(reader: PacketReader, place: PropertyPlace, draft: Draft): void {
  const id = reader.variableByteInteger('a property identifier');
  const rule = RULE_BY_ID[id];
  if (rule === undefined) throw malformed(`there is no property ${id}`, 'MQTT5 §2.2.2.2');
  if ((rule.places & place) === 0)
    throw malformed(`property ${rule.name} is not allowed in this packet`, 'MQTT5 §2.2.2.2');

  if (rule.name === 'userProperties') addUserProperty(reader, draft);
  else if (rule.name === 'subscriptionIdentifiers') addSubscriptionIdentifier(reader, place, draft);
  else {
    if (draft[rule.name] !== undefined) throw protocolError(`property ${rule.name} occurs twice`, rule.section);
    // The table pairs each name with the encoding of its type, which the compiler cannot follow.
    (draft as Record<string, Value>)[rule.name] = decodeValue(reader, rule);
  }
}

function decodeValue(reader: PacketReader, rule: PropertyRule): Value {
  switch (rule.encoding) {
    case 'flag': {
      const value = reader.u8(rule.name);
      if (value > 1) throw protocolError(`${rule.name} is ${value}, which is neither 0 nor 1`, rule.section);
      return value;
    }
    case 'u16':
      return atLeast(reader.u16(rule.name), rule);
    case 'u32':
      return atLeast(reader.u32(rule.name), rule);
    case 'topic name': {
      const topicName = reader.text(rule.name, 'name');
      if (topicName === '') throw protocolError(`${rule.name} is empty`, 'MQTT-4.7.3-1');
      if (topicName.includes('+') || topicName.includes('#')) {
        throw protocolError(`${rule.name} holds a wildcard`, 'MQTT-3.3.2-14');
      }
      return topicName;
    }
    case 'text':
      return reader.text(rule.name, 'free text');
    case 'binary':
      return reader.binary(rule.name);
    default:
      return atLeast(reader.variableByteInteger(rule.name), rule);
  }
}

function atLeast(value: number, rule: PropertyRule): number {
  if (value >= rule.min) return value;
  if (rule.name === 'topicAlias') {
    throw new MqttError('TOPIC_ALIAS_INVALID', 'the topic alias is 0', { clause: 'MQTT-3.3.2-8' });
  }
  throw protocolError(`${rule.name} is ${value}`, rule.section);
}

function addUserProperty(reader: PacketReader, draft: Draft): void {
  const pair = [
    reader.text('a user property name', 'free text'),
    reader.text('a user property value', 'free text'),
  ] as const;
  if (draft.userProperties === undefined) draft.userProperties = [pair];
  else (draft.userProperties as (readonly [string, string])[]).push(pair); // ours until the packet is handed on
}

function addSubscriptionIdentifier(reader: PacketReader, place: PropertyPlace, draft: Draft): void {
  const clientPublish = place === PropertyPlace.publishFromClient;
  if (clientPublish) throw protocolError('a client sent a subscription identifier in PUBLISH', 'MQTT-3.3.4-6');
  const identifier = reader.variableByteInteger('the subscription identifier');
  if (identifier === 0) throw protocolError('the subscription identifier is 0', 'MQTT5 §3.8.2.1.2');
  if (draft.subscriptionIdentifiers === undefined) draft.subscriptionIdentifiers = [identifier];
  else if (place === PropertyPlace.subscribe) {
    throw protocolError('property subscriptionIdentifiers occurs twice', 'MQTT5 §3.8.2.1.2');
  } else (draft.subscriptionIdentifiers as number[]).push(identifier); // ours until the packet is handed on
}
