// The seam between a connection (bytes of one socket) and the engine (what MQTT means).
//
// The connection knows sockets, frames and flow of bytes; the engine knows sessions, subscriptions,
// messages and storage. Neither reaches behind this file.
//
// Who does what:
//   - The connection resolves inbound topic aliases, checks sizes and rates, and asks for permission (which may
//     take time: it calls the session in the order of the packets all the same). What it refuses it still
//     hands over, with the reason: the answer must take its place in the order of acks. [MQTT-4.6.0-2]
//   - The engine writes every answer and every delivery to the port's outbox, in the order they are due.

import type { ClientIdentity } from '../auth/authorizer.js';
import type {
  ConnectPacket,
  MessageProperties,
  PublishPacket,
  QoS,
  SubscribePacket,
  UnsubscribePacket,
  Will,
} from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { Outbox } from '../connection/outbox.js';

/** What a session sees of its live connection. */
export interface SessionPort extends ClientIdentity {
  /** How many QoS 1 and 2 messages may be unacknowledged towards the client. [MQTT-3.3.4-9] */
  readonly receiveMaximum: number;
  /** How many QoS 1 and 2 messages the client may have unacknowledged by us; the session counts. [MQTT-3.3.4-7] */
  readonly receiveMaximumOfServer: number;
  /** A larger packet is never sent, in bytes. [MQTT-3.1.2-24] */
  readonly maximumPacketSize: number;
  /** Topic aliases the client accepts; 0 is none. [MQTT-3.1.2-26] */
  readonly topicAliasMaximum: number;
  /** Where encoded packets go; written to the socket once per turn. */
  readonly outbox: Outbox;
  /** The socket holds more than its high-water mark: QoS 0 is dropped and counted, QoS 1 and 2 wait in the log. */
  readonly congested: boolean;
  /** Stops and restarts reading from the socket: how the engine pushes back on a publisher. */
  pauseReading(): void;
  resumeReading(): void;
  /** Sends DISCONNECT where the version has one, then closes. */
  disconnect(reason: ReasonCode, text?: string): void;
}

export interface AttachRequest {
  readonly port: SessionPort;
  /** As decoded; the client id in it is final (assigned where the client sent none). */
  readonly connect: ConnectPacket;
  /** Granted by the connection within the configured maximum, in seconds; 0 ends with the connection. */
  readonly sessionExpirySeconds: number;
}

export interface AttachOutcome {
  readonly sessionPresent: boolean;
  readonly session: AttachedSession;
}

export type DetachReason =
  /** A DISCONNECT packet: the will is discarded unless it says 0x04. [MQTT-3.14.4-3] */
  | { readonly kind: 'disconnect'; readonly keepsWill: 'yes' | 'no'; readonly sessionExpirySeconds: number | undefined }
  /** Anything else: the socket ended, keep-alive ran out, a protocol error, the server closes. The will is due. */
  | { readonly kind: 'lost'; readonly cause: string };

/**
 * What a connection sees of its session. All answers (PUBACK, SUBACK, …) go to the port's outbox, in
 * the order the protocol asks for; a refusal that ends the connection goes through port.disconnect().
 */
export interface AttachedSession {
  /** To be called once CONNACK is in the outbox: resends what is in flight, then delivers. */
  start(): void;
  /**
   * The packet's payload may be a view of the read chunk: the session copies what it keeps. The topic name is
   * the real one, never empty. With `refusal` the message goes nowhere and only the ack says so.
   */
  onPublish(packet: PublishPacket, refusal?: ReasonCode): void;
  onPuback(packetId: number, reason: ReasonCode): void;
  onPubrec(packetId: number, reason: ReasonCode): void;
  onPubrel(packetId: number, reason: ReasonCode): void;
  onPubcomp(packetId: number, reason: ReasonCode): void;
  /** `refusals[i]` refuses the i-th filter; undefined, or no list, permits it. */
  onSubscribe(packet: SubscribePacket, refusals?: readonly (ReasonCode | undefined)[]): void;
  onUnsubscribe(packet: UnsubscribePacket): void;
  /** The outbox has drained below its mark: deliveries that waited go on. */
  onWritable(): void;
  /** The connection is gone; the session lives on for its expiry interval. Resolves when that is kept. */
  detach(reason: DetachReason): Promise<void>;
}

/** A message that code in this process publishes: rules, $SYS, broker.publish(). */
export interface LocalMessage {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties?: MessageProperties | undefined;
  /** Seconds it may wait for delivery; for ever when absent. */
  readonly messageExpiryInterval?: number | undefined;
}

/** What a listener in this process gets; the payload is the listener's to keep. */
export interface DeliveredMessage {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: MessageProperties | undefined;
}

/** Called in the turn of the publish; must not throw and must return at once. */
export type MessageListener = (message: DeliveredMessage) => void;

/** Asked again for subscriptions that are held, because rights may have gone since SUBSCRIBE. */
export type SubscriptionPolicy = (client: ClientIdentity, topicFilter: string) => 'allow' | 'deny';

/** Asked again when a will comes due, because rights may have gone since CONNECT. */
export type WillPolicy = (
  who: { readonly clientId: string; readonly username: string | undefined },
  will: Will,
) => 'allow' | 'deny';

/** Plain numbers, read when somebody scrapes. */
export interface EngineStats {
  readonly sessions: number;
  readonly sessionsOnline: number;
  readonly subscriptions: number;
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  readonly messagesReceived: number;
  readonly messagesDelivered: number;
  readonly messagesStored: number;
  /** Why a message did not reach a session it matched. */
  readonly messagesDropped: Readonly<Record<'congested' | 'queueFull' | 'tooLarge' | 'expired', number>>;
}

/** The engine as connections see it. */
export interface SessionEngine {
  /**
   * Claims the client id: takes the session over from a live connection (which gets 0x8E [MQTT-3.1.4-3]),
   * resumes or replaces the stored one. Resolves when CONNACK may be sent.
   */
  attach(request: AttachRequest): Promise<AttachOutcome>;
  /** Resolves when a QoS 1 or 2 message is as safe as its durable subscribers need it; at once for QoS 0. */
  publish(message: LocalMessage): Promise<void>;
  /** Every message that matches, as published; returns the way to stop. No retained messages. */
  subscribe(topicFilter: string, listener: MessageListener): () => void;
  /** Withdraws the subscriptions that the policy denies clients that are here. Others are asked for when they come. */
  recheckSubscriptions(): void;
  readonly stats: EngineStats;
  /**
   * Keeps what is to be kept (cursors, sessions) and ends. Connections are closed first: a session that is
   * still attached is treated as lost.
   */
  close(): Promise<void>;
}
