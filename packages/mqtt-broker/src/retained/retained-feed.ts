// Retained messages on their way to new subscriptions.
//
// A wildcard may match a hundred thousand: they go in pages, one per turn, and only as fast as the client's
// window and socket take them.
//
//   F1. A page that waited is checked again before it is sent: a message that was replaced meanwhile has
//       already reached the subscriber as a live one, and must not follow it as an older state.
//   F2. A filter of a session has one feed at a time, so a session has at most as many as subscriptions.

import type { Clock } from '@robustmq/stdx/clock';
import { StoredMessage } from '../codec/stored-message.js';
import type { DeliveryStats } from '../deliver/delivery-stats.js';
import { lowerQoS } from '../deliver/lower-qos.js';
import { OutgoingMessage } from '../deliver/outgoing-message.js';
import type { Grant } from '../deliver/session-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { Session } from '../session/session.js';
import type { SubscriptionRecord } from '../session/session-record.js';
import type { RetainedStore } from './retained-store.js';
import type { RetainedMatch } from './retained-trie.js';

/** Nodes of the trie visited in one turn, matching or not: about a millisecond. */
const VISITS_PER_TURN = 8192;

interface Feed {
  readonly topicFilter: string;
  readonly match: RetainedMatch<Buffer>;
  readonly grant: Grant;
  /** What was found and not sent yet; `at` is the next. */
  page: readonly Buffer[];
  at: number;
  rest: 'more' | 'done';
  /** Whether the page was found in an earlier turn. */
  waited: 'no' | 'yes';
}

export interface RetainedFeedDeps {
  readonly retained: RetainedStore;
  readonly stats: DeliveryStats;
  readonly clock: Clock;
  readonly options: ResolvedEngineOptions;
}

export class RetainedFeed {
  readonly #deps: RetainedFeedDeps;
  readonly #feeds = new Map<Session, Feed[]>();
  /** Sessions whose next page is due in the next turn. */
  #due = new Set<Session>();

  constructor(deps: RetainedFeedDeps) {
    this.#deps = deps;
  }

  /** Sends what is retained under the filter; SUBACK is in the outbox. */
  begin(session: Session, subscription: SubscriptionRecord): void {
    const { identifier, qos, topicFilter } = subscription;
    const feed: Feed = {
      topicFilter,
      match: this.#deps.retained.match(topicFilter),
      // RETAIN is set on what is sent because of a subscription. [MQTT-3.3.1-8]
      grant: {
        qos,
        retainAsPublished: true,
        subscriptionIdentifiers: identifier === undefined ? undefined : [identifier],
      },
      page: [],
      at: 0,
      rest: 'more',
      waited: 'no',
    };
    const feeds = this.#feeds.get(session) ?? [];
    this.#feeds.set(session, feeds);
    // Subscribed again before it was through: it begins again, once (F2).
    const before = feeds.findIndex((other) => other.topicFilter === topicFilter);
    if (before >= 0) feeds[before] = feed;
    else feeds.push(feed);
    this.resume(session);
  }

  /** There is room again, or a connection. */
  resume(session: Session): void {
    if (this.#feeds.size === 0 || !this.#feeds.has(session) || this.#due.has(session)) return;
    this.#due.add(session);
    if (this.#due.size === 1) this.#deps.clock.setImmediate(() => this.#turn());
  }

  /** The subscription is gone: what was not sent of it is not. */
  stop(session: Session, topicFilter: string): void {
    const feeds = this.#feeds.get(session)?.filter((feed) => feed.topicFilter !== topicFilter);
    if (feeds === undefined) return;
    if (feeds.length === 0) this.forget(session);
    else this.#feeds.set(session, feeds);
  }

  forget(session: Session): void {
    this.#feeds.delete(session);
    this.#due.delete(session);
  }

  #turn(): void {
    const due = this.#due;
    this.#due = new Set();
    let left = this.#deps.options.retainedPageMessages;
    for (const session of due) {
      if (left <= 0)
        this.resume(session); // the turn's share is used up
      else left -= this.#feed(session, left);
    }
  }

  /** Returns how many were sent; asks for another turn when more could be. */
  #feed(session: Session, most: number): number {
    const feeds = this.#feeds.get(session);
    const feed = feeds?.[0];
    if (feeds === undefined || feed === undefined) return 0;
    if (feed.at === feed.page.length && feed.rest === 'more') {
      const { values, state } = feed.match.next({ valuesMax: most, visitsMax: VISITS_PER_TURN });
      feed.page = values;
      feed.at = 0;
      feed.rest = state;
      feed.waited = 'no';
    }
    const sent = this.#sendPage(session, feed);
    if (sent === 'blocked') {
      feed.waited = 'yes';
      return 1; // resume() is called when there is room
    }
    if (feed.rest === 'done') {
      feeds.shift();
      if (feeds.length === 0) this.#feeds.delete(session);
    }
    this.resume(session);
    return sent;
  }

  #sendPage(session: Session, feed: Feed): number | 'blocked' {
    const nowMs = this.#deps.clock.wallTime();
    const from = feed.at;
    for (; feed.at < feed.page.length; feed.at++) {
      const bytes = feed.page[feed.at] as Buffer; // within the page
      const stored = new StoredMessage(bytes);
      if (feed.waited === 'yes' && !this.#deps.retained.isCurrent(stored.topicName, bytes)) continue; // F1
      if (stored.expiresAtMs !== undefined && stored.expiresAtMs <= nowMs) {
        this.#deps.retained.expire(stored); // [MQTT-3.3.2-5]
        continue;
      }
      const qos = lowerQoS(stored.qos, feed.grant.qos);
      const message = new OutgoingMessage(stored, nowMs, 'own');
      if (qos === 0) {
        if (this.#sendQoS0(session, message, feed.grant) === 'blocked') return 'blocked';
      } else {
        if (session.delivery.room === 0) return 'blocked';
        session.delivery.deliver(message, feed.grant, qos);
      }
    }
    return feed.at - from;
  }

  #sendQoS0(session: Session, message: OutgoingMessage, grant: Grant): 'sent' | 'blocked' {
    const port = session.link?.port;
    if (port === undefined || port.congested) return 'blocked';
    const { version } = port;
    const identifiers = version === 5 ? grant.subscriptionIdentifiers : undefined;
    const frame = message.frame({ version, qos: 0, retain: true, identifiers });
    if (frame.bytes > port.maximumPacketSize) this.#deps.stats.droppedTooLarge++;
    else {
      port.outbox.writeFrame(frame, 0);
      this.#deps.stats.delivered++;
    }
    return 'sent';
  }
}
