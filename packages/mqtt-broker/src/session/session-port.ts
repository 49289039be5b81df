// The seam between a connection (bytes of one socket) and the engine (what MQTT means).
//
// The connection knows sockets, frames and flow of bytes; the engine knows sessions, subscriptions,
// messages and storage. Neither reaches behind this file.

import type { ConnectPacket, PublishPacket, SubscribePacket, UnsubscribePacket } from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { Outbox } from '../connection/outbox.js';

/** What a session sees of its live connection. */
export interface SessionPort {
  readonly clientId: string;
  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
  readonly version: 3 | 4 | 5;
  /** How many QoS 1 and 2 messages may be unacknowledged towards the client. [MQTT-3.3.4-7] */
  readonly receiveMaximum: number;
  /** A larger packet is never sent, in bytes. [MQTT-3.1.2-24] */
  readonly maximumPacketSize: number;
  /** Topic aliases the client accepts; 0 is none. [MQTT-3.1.2-26] */
  readonly topicAliasMaximum: number;
  /** Who the client proved to be; undefined for an anonymous one. */
  readonly username: string | undefined;
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
  /** The packet's payload may be a view of the read chunk: the session copies what it keeps. */
  onPublish(packet: PublishPacket): void;
  onPuback(packetId: number, reason: ReasonCode): void;
  onPubrec(packetId: number, reason: ReasonCode): void;
  onPubrel(packetId: number, reason: ReasonCode): void;
  onPubcomp(packetId: number, reason: ReasonCode): void;
  onSubscribe(packet: SubscribePacket): void;
  onUnsubscribe(packet: UnsubscribePacket): void;
  /** The outbox has drained below its mark: deliveries that waited go on. */
  onWritable(): void;
  /** The connection is gone; the session lives on for its expiry interval. Resolves when that is kept. */
  detach(reason: DetachReason): Promise<void>;
}

/** The engine as connections see it. */
export interface SessionEngine {
  /**
   * Claims the client id: takes the session over from a live connection (which gets 0x8E [MQTT-3.1.4-3]),
   * resumes or replaces the stored one. Resolves when CONNACK may be sent.
   */
  attach(request: AttachRequest): Promise<AttachOutcome>;
}
