import type { ReasonCode } from '../codec/reason-codes.js';
import type { OutgoingMessage } from '../deliver/outgoing-message.js';
import type { StoredAt } from '../deliver/session-delivery.js';
import type { Session } from '../session/session.js';
import type { AckQueue, PendingAck } from './ack-queue.js';

/** Who waits for a message that was published by code in this process. */
export interface LocalWaiter {
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * A message on its way in that cannot be answered yet: it waits for a message shard, for the retained shard,
 * or for an earlier message of its publisher.
 */
export class Publication implements PendingAck {
  readonly message: OutgoingMessage;
  /** 0 for QoS 0 and for the broker's own messages. */
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** The publisher; undefined for the broker itself. */
  readonly session: Session | undefined;
  readonly waiter: LocalWaiter | undefined;
  /** Where the answer goes; another queue when the client came back meanwhile. */
  acks: AckQueue | undefined;
  answer: ReasonCode | undefined;
  /** How many appends it waits for. */
  pending = 0;
  at: StoredAt | undefined;
  failure: unknown;

  constructor(
    message: OutgoingMessage,
    from: {
      readonly packetId?: number;
      readonly session?: Session;
      readonly acks?: AckQueue;
      readonly waiter?: LocalWaiter;
    },
  ) {
    this.message = message;
    this.packetId = from.packetId ?? 0;
    this.qos = message.qos === 2 ? 2 : 1;
    this.session = from.session;
    this.acks = from.acks;
    this.waiter = from.waiter;
  }
}
