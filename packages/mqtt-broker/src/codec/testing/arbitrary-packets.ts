// Arbitrary packets for property tests: anything the types allow and the protocol does too.

import fc from 'fast-check';
import type {
  AuthPacket,
  ConnackPacket,
  ConnectPacket,
  DisconnectPacket,
  Properties,
  ProtocolVersion,
  PublishPacket,
  QoS,
  SubscribePacket,
  SubscriptionAckPacket,
  UnsubscribePacket,
} from '../packets.js';
import { PropertyPlace as Place, type PropertyPlace, type PropertyRule, RULES_BY_PLACE } from '../property-rules.js';
import { ALLOWED_REASON_CODES, ReasonCode } from '../reason-codes.js';

const text = fc.string({ unit: 'grapheme', maxLength: 24 }).filter((value) => !value.includes('\u0000'));
const letters = fc.constantFrom('a', 'B', '0', '/', '$', ' ', 'é', '中', '🙂');
const name = fc.string({ unit: letters, minLength: 1, maxLength: 40 });
const filter = fc.oneof(name, fc.constantFrom('#', '+', 'a/#', '+/b/+', '$share/g/a/#', '/'));
const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value));
/** Now and then one that is not copied into its frame (publish-frame.ts). */
const payload = fc.oneof({ weight: 9, arbitrary: bytes }, { weight: 1, arbitrary: fc.constant(Buffer.alloc(5000, 7)) });
const packetId = fc.integer({ min: 1, max: 65_535 });
const qos = fc.constantFrom<QoS>(0, 1, 2);

function propertyValue(rule: PropertyRule, place: PropertyPlace): fc.Arbitrary<unknown> {
  switch (rule.encoding) {
    case 'flag':
      return fc.constantFrom(0, 1);
    case 'u16':
      return fc.integer({ min: rule.min, max: 0xffff });
    case 'u32':
      return fc.integer({ min: rule.min, max: 0xffff_ffff });
    case 'variable byte integer':
      return fc.array(fc.integer({ min: 1, max: 268_435_455 }), {
        minLength: 1,
        maxLength: place === Place.subscribe ? 1 : 3,
      });
    case 'text':
      return text;
    case 'topic name':
      return name;
    case 'binary':
      return bytes;
    case 'text pair':
      return fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 });
  }
}

export function properties(place: PropertyPlace): fc.Arbitrary<Properties | undefined> {
  const rules = (RULES_BY_PLACE.get(place) ?? []).filter(
    (rule) => !(place === Place.publishFromClient && rule.name === 'subscriptionIdentifiers'),
  );
  const values = Object.fromEntries(rules.map((rule) => [rule.name, propertyValue(rule, place)]));
  return fc.record(values, { requiredKeys: [] }).map((record) => {
    const { authenticationData, ...rest } = record;
    const withMethod = 'authenticationMethod' in record && authenticationData !== undefined;
    const legal = withMethod ? record : rest;
    return Object.keys(legal).length === 0 ? undefined : (legal as Properties); // built from the rules of its names
  });
}

const only = <T>(version: ProtocolVersion, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  version === 5 ? arbitrary : fc.constant(undefined);

export function connectPackets(version: ProtocolVersion): fc.Arbitrary<ConnectPacket> {
  const will = fc.record({
    topicName: name,
    payload: bytes,
    qos,
    retain: fc.boolean(),
    properties: only(version, properties(Place.will)),
  });
  return fc
    .record({
      protocolVersion: fc.constant(version),
      clientId: name,
      cleanStart: fc.boolean(),
      keepAlive: fc.integer({ min: 0, max: 0xffff }),
      will: fc.option(will, { nil: undefined }),
      username: fc.option(name, { nil: undefined }),
      password: fc.option(bytes, { nil: undefined }),
      properties: only(version, properties(Place.connect)),
      bridge: version === 5 ? fc.constant(false) : fc.boolean(),
    })
    .map((packet) => (version !== 5 && packet.username === undefined ? { ...packet, password: undefined } : packet));
}

export function publishPackets(
  version: ProtocolVersion,
  place: typeof Place.publishFromClient | typeof Place.publishFromServer,
): fc.Arbitrary<PublishPacket> {
  return fc
    .record({
      topicName: name,
      payload,
      qos,
      retain: fc.boolean(),
      dup: fc.boolean(),
      packetId,
      properties: only(version, properties(place)),
    })
    .map((packet) => (packet.qos === 0 ? { ...packet, dup: false, packetId: 0 } : packet));
}

export function subscribePackets(version: ProtocolVersion): fc.Arbitrary<SubscribePacket> {
  const request = fc
    .record({
      topicFilter: filter,
      qos,
      noLocal: version === 5 ? fc.boolean() : fc.constant(false),
      retainAsPublished: version === 5 ? fc.boolean() : fc.constant(false),
      retainHandling: version === 5 ? fc.constantFrom(0 as const, 1 as const, 2 as const) : fc.constant(0 as const),
    })
    .map((asked) => (asked.topicFilter.startsWith('$share/') ? { ...asked, noLocal: false } : asked));
  return fc.record({
    packetId,
    subscriptions: fc.array(request, { minLength: 1, maxLength: 8 }),
    properties: only(version, properties(Place.subscribe)),
  });
}

export function unsubscribePackets(version: ProtocolVersion): fc.Arbitrary<UnsubscribePacket> {
  return fc.record({
    packetId,
    topicFilters: fc.array(filter, { minLength: 1, maxLength: 8 }),
    properties: only(version, properties(Place.unsubscribe)),
  });
}

const codeOf = (list: keyof typeof ALLOWED_REASON_CODES): fc.Arbitrary<ReasonCode> =>
  fc.constantFrom(...(ALLOWED_REASON_CODES[list] as ReadonlySet<ReasonCode>)); // built from reason codes

export const connackPackets: fc.Arbitrary<ConnackPacket> = fc
  .record({ sessionPresent: fc.boolean(), reasonCode: codeOf('connack'), properties: properties(Place.connack) })
  .map((packet) => (packet.reasonCode === ReasonCode.success ? packet : { ...packet, sessionPresent: false }));

export function subscriptionAcks(kind: 'suback' | 'unsuback'): fc.Arbitrary<SubscriptionAckPacket> {
  return fc.record({
    packetId,
    reasonCodes: fc.array(codeOf(kind), { minLength: 1, maxLength: 8 }),
    properties: properties(Place[kind]),
  });
}

export function disconnectPackets(sender: 'Client' | 'Server'): fc.Arbitrary<DisconnectPacket> {
  const place = Place[`disconnectFrom${sender}`];
  return fc.record({ reasonCode: codeOf(`disconnectFrom${sender}`), properties: properties(place) });
}

export const authPackets: fc.Arbitrary<AuthPacket> = fc.record({
  reasonCode: codeOf('authFromClient'),
  properties: properties(Place.auth).map((some) => ({ authenticationMethod: 'SCRAM', ...some })),
});
