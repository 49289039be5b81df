// What travels between a client and the broker, as values.
//
// One shape serves all three protocol versions: what only MQTT 5 has is optional, and reason codes are
// those of MQTT 5 (reason-codes.ts says how they map). Packets are plain values; nothing here holds a
// socket, a session or a clock.

import type { ReasonCode } from './reason-codes.js';

/** The protocol level on the wire: 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type ProtocolVersion = 3 | 4 | 5;

export type QoS = 0 | 1 | 2;

/** 1 to 65535; 0 stands for "none", which only a QoS 0 PUBLISH has. */
export type PacketId = number;

/** Name and value in the order of the wire; names may repeat [MQTT-3.3.2-18]. */
export type UserProperties = readonly (readonly [name: string, value: string])[];

/**
 * Every property of MQTT 5 (§2.2.2.2). Intervals are in seconds, sizes in bytes. Which ones a packet may
 * carry is in property-rules.ts; the decoder lets no other through.
 */
export interface Properties {
  readonly payloadFormatIndicator?: 0 | 1;
  readonly messageExpiryInterval?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Buffer;
  /** One for each matching subscription in a delivered PUBLISH, exactly one in SUBSCRIBE. */
  readonly subscriptionIdentifiers?: readonly number[];
  readonly sessionExpiryInterval?: number;
  readonly assignedClientIdentifier?: string;
  readonly serverKeepAlive?: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Buffer;
  readonly requestProblemInformation?: 0 | 1;
  readonly willDelayInterval?: number;
  readonly requestResponseInformation?: 0 | 1;
  readonly responseInformation?: string;
  readonly serverReference?: string;
  readonly reasonString?: string;
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  readonly topicAlias?: number;
  readonly maximumQoS?: 0 | 1;
  readonly retainAvailable?: 0 | 1;
  readonly userProperties?: UserProperties;
  readonly maximumPacketSize?: number;
  readonly wildcardSubscriptionAvailable?: 0 | 1;
  readonly subscriptionIdentifiersAvailable?: 0 | 1;
  readonly sharedSubscriptionAvailable?: 0 | 1;
}

/** The properties that belong to a message and travel with it to every subscriber, unchanged. */
export type MessageProperties = Pick<
  Properties,
  'payloadFormatIndicator' | 'contentType' | 'responseTopic' | 'correlationData' | 'userProperties'
>;

export interface Will {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties | undefined;
}

export interface ConnectPacket {
  readonly protocolVersion: ProtocolVersion;
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** Seconds; 0 switches the check off. */
  readonly keepAlive: number;
  readonly will: Will | undefined;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  readonly properties: Properties | undefined;
  /** The peer is another broker: the high bit of the protocol level, a convention of Mosquitto's bridges. */
  readonly bridge: boolean;
}

export interface ConnackPacket {
  readonly sessionPresent: boolean;
  readonly reasonCode: ReasonCode;
  readonly properties?: Properties | undefined;
}

/**
 * As decoded, `payload` and `properties.correlationData` are views of the chunk that was read: whoever
 * keeps the packet beyond the current turn copies them, lest ten bytes keep 64 KiB alive.
 */
export interface PublishPacket {
  /** Empty only in MQTT 5 when `properties.topicAlias` stands for it. */
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 for QoS 0. */
  readonly packetId: PacketId;
  readonly properties: Properties | undefined;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP have one shape. */
export interface AckPacket {
  readonly packetId: PacketId;
  readonly reasonCode: ReasonCode;
  readonly properties?: Properties | undefined;
}

/** 0: send retained messages; 1: only when the subscription is new; 2: never (§3.8.3.1). */
export type RetainHandling = 0 | 1 | 2;

export interface SubscriptionRequest {
  readonly topicFilter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: RetainHandling;
}

export interface SubscribePacket {
  readonly packetId: PacketId;
  /** At least one. Filters have passed the rules of encoding, not yet those of topic-filter.ts. */
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly properties: Properties | undefined;
}

export interface UnsubscribePacket {
  readonly packetId: PacketId;
  readonly topicFilters: readonly string[];
  readonly properties: Properties | undefined;
}

/** SUBACK and UNSUBACK: one code per filter, in the order of the request [MQTT-3.9.3-1]. */
export interface SubscriptionAckPacket {
  readonly packetId: PacketId;
  readonly reasonCodes: readonly ReasonCode[];
  readonly properties?: Properties | undefined;
}

export interface DisconnectPacket {
  readonly reasonCode: ReasonCode;
  readonly properties?: Properties | undefined;
}

export interface AuthPacket {
  readonly reasonCode: ReasonCode;
  readonly properties?: Properties | undefined;
}

/** The packet types as the high four bits of the first byte (§2.1.2). */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

export type PacketType = (typeof PacketType)[keyof typeof PacketType];

export type AckType =
  | typeof PacketType.puback
  | typeof PacketType.pubrec
  | typeof PacketType.pubrel
  | typeof PacketType.pubcomp;

/** The largest value of a variable byte integer, and so of a remaining length (§1.5.5). */
export const VARIABLE_BYTE_INTEGER_MAX = 268_435_455;

/** A session that never expires (§3.1.2.11.2). */
export const SESSION_NEVER_EXPIRES = 0xffff_ffff;

/**
 * What a server receives, one method per packet. The decoder calls them in wire order, never from
 * another turn than the push or resume that delivered the bytes, and nothing after a method that paused it.
 * A method may throw MqttError to refuse the packet as the decoder itself would.
 */
export interface ServerPacketHandler {
  onConnect(packet: ConnectPacket): void;
  onPublish(packet: PublishPacket): void;
  onPuback(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubrec(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubrel(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubcomp(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onSubscribe(packet: SubscribePacket): void;
  onUnsubscribe(packet: UnsubscribePacket): void;
  onPingreq(): void;
  onDisconnect(packet: DisconnectPacket): void;
  onAuth(packet: AuthPacket): void;
}

/** What a client receives; for the load generator, bridges and tests. */
export interface ClientPacketHandler {
  onConnack(packet: ConnackPacket): void;
  onPublish(packet: PublishPacket): void;
  onPuback(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubrec(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubrel(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onPubcomp(packetId: PacketId, reasonCode: ReasonCode, properties: Properties | undefined): void;
  onSuback(packet: SubscriptionAckPacket): void;
  onUnsuback(packet: SubscriptionAckPacket): void;
  onPingresp(): void;
  onDisconnect(packet: DisconnectPacket): void;
  onAuth(packet: AuthPacket): void;
}
