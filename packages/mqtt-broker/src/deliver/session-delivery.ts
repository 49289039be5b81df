import type { WireProfile } from '../codec/encode.js';
import type { QoS } from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { SessionPort } from '../session/session-port.js';
import type { OutgoingMessage } from './outgoing-message.js';

/** How one client wants a message: its matching subscriptions merged (route/subscription-index.ts). */
export interface Grant {
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifiers: readonly number[] | undefined;
}

/** Where a stored message lies. */
export interface StoredAt {
  readonly shard: number;
  readonly offset: number;
}

/** One connection as the delivery side uses it. */
export interface DeliveryLink {
  readonly port: SessionPort;
  readonly profile: WireProfile;
}

/** What a share group must know of the messages it leased to a member. */
export interface LeaseOwner {
  /** The member has it, or it can never be delivered: the lease ends. */
  settled(at: StoredAt | undefined): void;
  /** The member is gone without having acknowledged it: it goes to another. */
  returned(lease: Lease): void;
}

/** A message of a shared subscription that one member has to deliver. */
export interface Lease {
  readonly owner: LeaseOwner;
  readonly message: OutgoingMessage;
  readonly grant: Grant;
  /** Undefined when it was not stored. */
  readonly at: StoredAt | undefined;
}

/**
 * The way of QoS 1 and 2 messages to one client: packet ids, window, resend. Two kinds: in memory for a
 * session that ends with its connection (transient-delivery.ts), from the log for one that outlives it
 * (durable-delivery.ts).
 */
export interface SessionDelivery {
  /** A connection is there; nothing is sent before start(). */
  attach(link: DeliveryLink): void;
  start(): void;
  detach(): void;
  /** The session is over: everything held is given up. */
  end(): void;
  /** A message nobody stored. */
  deliver(message: OutgoingMessage, grant: Grant, qos: QoS): void;
  deliverStored(message: OutgoingMessage, grant: Grant, at: StoredAt): void;
  /** `refused` when the client cannot take one more now: the group asks another member. */
  deliverLease(lease: Lease): 'taken' | 'refused';
  onPuback(packetId: number, reason: ReasonCode): void;
  onPubrec(packetId: number, reason: ReasonCode): void;
  onPubcomp(packetId: number): void;
  onWritable(): void;
  /** How many more QoS 1 and 2 messages may be sent now. */
  readonly room: number;
  readonly inflight: number;
}
