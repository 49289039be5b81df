import type { QoS } from '../codec/packets.js';
import type { FilterSubscribers, Subscription } from './filter-subscribers.js';

/** One session in a result (S1). */
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

/**
 * One delivery per session out of the subscribers of every matching filter: the highest QoS, every
 * identifier, retain-as-published when one asks for it. Sessions keep the order of the filters found.
 */
export function mergeDeliveries<Session>(matching: readonly FilterSubscribers<Session>[]): Delivery<Session>[] {
  if (matching.length === 0) return [];
  const only = matching.length === 1 ? matching[0] : undefined;
  if (only !== undefined) return Array.from(only.values(), alone);
  const bySession = new Map<Session, Subscription<Session>[]>();
  for (const subscribers of matching) {
    for (const subscription of subscribers.values()) {
      const others = bySession.get(subscription.session);
      if (others === undefined) bySession.set(subscription.session, [subscription]);
      else others.push(subscription);
    }
  }
  return Array.from(bySession.values(), merged);
}

class MergedDelivery<Session> implements Delivery<Session> {
  readonly session: Session;
  readonly qos: Delivery<Session>['qos'];
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifiers: readonly number[] | undefined;
  readonly toPublisher: Delivery<Session> | undefined;

  constructor(merge: Merge<Session>, toPublisher: Delivery<Session> | 'itself' | undefined) {
    this.session = merge.session;
    this.qos = merge.qos;
    this.retainAsPublished = merge.retainAsPublished;
    this.subscriptionIdentifiers = merge.subscriptionIdentifiers;
    this.toPublisher = toPublisher === 'itself' ? this : toPublisher;
  }
}

type Merge<Session> = Omit<Delivery<Session>, 'toPublisher'>;

function alone<Session>(subscription: Subscription<Session>): Delivery<Session> {
  const { session, qos, retainAsPublished, subscriptionIdentifier } = subscription;
  const subscriptionIdentifiers = subscriptionIdentifier === undefined ? undefined : [subscriptionIdentifier];
  const merge = { session, qos, retainAsPublished, subscriptionIdentifiers };
  return new MergedDelivery(merge, subscription.noLocal ? undefined : 'itself');
}

function merged<Session>(subscriptions: readonly Subscription<Session>[]): Delivery<Session> {
  const foreign = subscriptions.filter((subscription) => !subscription.noLocal);
  const all = merge(subscriptions);
  if (foreign.length === subscriptions.length) return new MergedDelivery(all, 'itself');
  if (foreign.length === 0) return new MergedDelivery(all, undefined);
  return new MergedDelivery(all, new MergedDelivery(merge(foreign), 'itself'));
}

/** Of at least one subscription. */
function merge<Session>(subscriptions: readonly Subscription<Session>[]): Merge<Session> {
  const first = subscriptions[0] as Subscription<Session>; // at least one
  let { qos, retainAsPublished } = first;
  const identifiers: number[] = []; // with repeats, when two subscriptions have the same one (§3.3.4)
  for (const subscription of subscriptions) {
    if (subscription.qos > qos) qos = subscription.qos;
    retainAsPublished ||= subscription.retainAsPublished;
    if (subscription.subscriptionIdentifier !== undefined) identifiers.push(subscription.subscriptionIdentifier);
  }
  const subscriptionIdentifiers = identifiers.length === 0 ? undefined : identifiers;
  return { session: first.session, qos, retainAsPublished, subscriptionIdentifiers };
}
