import type { QoS } from '../codec/packets.js';

/** One session's subscription to one filter, as granted. */
export interface Subscription<Session> {
  readonly session: Session;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifier: number | undefined;
}
