import type { QoS } from '../codec/packets.js';
import type { Subscription } from './subscription.js';

/** One session in a result (S1 of subscription-index.ts). Immutable, and shared by results. */
export interface Delivery<Session> {
  readonly session: Session;
  /** The highest granted; the message goes out with the lower of this and its own. */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** Undefined when no matching subscription has one. */
  readonly subscriptionIdentifiers: readonly number[] | undefined;
  /**
   * The same for a message this very client published: itself when no matching subscription is no-local,
   * undefined when all are [MQTT-3.8.3-3], and otherwise what the remaining ones ask for.
   */
  readonly toPublisher: Delivery<Session> | undefined;
}

/** What a session gets that matches by one subscription. */
export function deliveryOf<Session>(subscription: Subscription<Session>): Delivery<Session> {
  const { session, qos, retainAsPublished, subscriptionIdentifier } = subscription;
  const subscriptionIdentifiers = subscriptionIdentifier === undefined ? undefined : [subscriptionIdentifier];
  const grant = { session, qos, retainAsPublished, subscriptionIdentifiers };
  return new SessionDelivery(grant, subscription.noLocal ? undefined : 'itself');
}

/**
 * One delivery per session out of those of every matching filter: the highest QoS, every identifier,
 * retain-as-published when one asks for it. Sessions keep the order in which they are found first.
 */
export function mergeDeliveries<Session>(byFilter: readonly (readonly Delivery<Session>[])[]): Delivery<Session>[] {
  const bySession = new Map<Session, Delivery<Session> | Delivery<Session>[]>();
  for (const deliveries of byFilter) {
    for (const delivery of deliveries) {
      const others = bySession.get(delivery.session);
      if (others === undefined) bySession.set(delivery.session, delivery);
      else if (Array.isArray(others)) others.push(delivery);
      else bySession.set(delivery.session, [others, delivery]);
    }
  }
  return Array.from(bySession.values(), (found) => (Array.isArray(found) ? mergeSession(found) : found));
}

type Grant<Session> = Omit<Delivery<Session>, 'toPublisher'>;

class SessionDelivery<Session> implements Delivery<Session> {
  readonly session: Session;
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifiers: readonly number[] | undefined;
  readonly toPublisher: Delivery<Session> | undefined;

  constructor(grant: Grant<Session>, toPublisher: Delivery<Session> | 'itself' | undefined) {
    this.session = grant.session;
    this.qos = grant.qos;
    this.retainAsPublished = grant.retainAsPublished;
    this.subscriptionIdentifiers = grant.subscriptionIdentifiers;
    this.toPublisher = toPublisher === 'itself' ? this : toPublisher;
  }
}

function mergeSession<Session>(deliveries: readonly Delivery<Session>[]): Delivery<Session> {
  const foreign = deliveries.filter(({ toPublisher }) => toPublisher !== undefined);
  const all = merge(deliveries);
  if (foreign.length === deliveries.length) return new SessionDelivery(all, 'itself');
  if (foreign.length === 0) return new SessionDelivery(all, undefined);
  return new SessionDelivery(all, new SessionDelivery(merge(foreign), 'itself'));
}

/** Of at least one delivery, all to one session. */
function merge<Session>(deliveries: readonly Delivery<Session>[]): Grant<Session> {
  const first = deliveries[0] as Delivery<Session>; // at least one
  let { qos, retainAsPublished } = first;
  const identifiers: number[] = []; // with repeats, when two subscriptions have the same one (§3.3.4)
  for (const delivery of deliveries) {
    if (delivery.qos > qos) qos = delivery.qos;
    retainAsPublished ||= delivery.retainAsPublished;
    if (delivery.subscriptionIdentifiers !== undefined) identifiers.push(...delivery.subscriptionIdentifiers);
  }
  const subscriptionIdentifiers = identifiers.length === 0 ? undefined : identifiers;
  return { session: first.session, qos, retainAsPublished, subscriptionIdentifiers };
}
