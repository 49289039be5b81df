import type { StoredAt } from './session-delivery.js';

/**
 * Where a durable session writes down how far its QoS 2 deliveries have come, before the client can know
 * (D4 of durable-delivery.ts). `then` runs when it is kept; it does not run when it cannot be.
 */
export interface OutboundLog {
  /** The packet id is bound to the message. Messages that lie in no message shard are not written down. */
  sent(packetId: number, at: StoredAt | undefined, then: () => void): void;
  /** PUBREC came: the client has it. */
  received(packetId: number, at: StoredAt | undefined, then: () => void): void;
  /** PUBCOMP came, or the client refused it. Needs no answer, so nobody waits for it. */
  completed(packetId: number, at: StoredAt | undefined): void;
}
