// SUBSCRIBE and UNSUBSCRIBE: what is asked, what is granted, what is kept.
//
// Invariants:
//   U1. A subscription of a durable session is durable before SUBACK says so; it takes effect at once, so
//       that a client which publishes behind its SUBSCRIBE gets its own message.
//   U2. One code per filter, in the order of the request. [MQTT-3.8.4-6]
//   U3. Retained messages follow SUBACK, and show what was published before the SUBSCRIBE.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { encodeSuback, encodeUnsuback } from '../codec/encode.js';
import type { SubscribePacket, SubscriptionRequest, UnsubscribePacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import { lowerQoS } from '../deliver/lower-qos.js';
import type { DeliveryLink } from '../deliver/session-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { RetainedFeed } from '../retained/retained-feed.js';
import type { RetainedStore } from '../retained/retained-store.js';
import type { SubscriptionIndex } from '../route/subscription-index.js';
import { parseTopicFilter, type SubscriptionTarget } from '../route/topic-filter.js';
import type { Session } from './session.js';
import type { SubscriptionRecord } from './session-record.js';
import type { ShareKeeper } from './share-keeper.js';

/** A connection as far as its subscriptions are concerned. */
export interface SubscriberLink extends DeliveryLink {
  readonly session: Session;
}

export interface SubscriptionDeskDeps {
  readonly options: ResolvedEngineOptions;
  readonly logger: Logger;
  readonly index: SubscriptionIndex<Session>;
  readonly retained: RetainedStore;
  readonly feed: RetainedFeed;
  /** The ends of the message shards that the session has not read to: what a new subscription begins at. */
  readonly sinceFor: (session: Session) => ReadonlyMap<number, number>;
  readonly shareKeeper: ShareKeeper;
}

interface Granted {
  readonly kept: Promise<void>;
  readonly subscription: SubscriptionRecord;
  readonly retained: 'send' | 'skip';
}

export class SubscriptionDesk {
  readonly #deps: SubscriptionDeskDeps;
  /** Who holds an exclusive filter on this node. */
  readonly #exclusive = new Map<string, Session>();

  constructor(deps: SubscriptionDeskDeps) {
    this.#deps = deps;
  }

  async subscribe(
    link: SubscriberLink,
    packet: SubscribePacket,
    refusals: readonly (ReasonCode | undefined)[] | undefined,
  ): Promise<void> {
    const { session } = link;
    const codes: ReasonCode[] = [];
    const granted: Granted[] = [];
    const since = this.#deps.sinceFor(session);
    const identifier = packet.properties?.subscriptionIdentifiers?.[0];
    for (const [i, request] of packet.subscriptions.entries()) {
      const outcome = refusals?.[i] ?? this.#grant(session, request, { identifier, since });
      if (outcome === 'protocolError') {
        link.port.disconnect(ReasonCode.protocolError, 'No Local is set on a shared subscription');
        return;
      }
      if (typeof outcome === 'number') codes.push(outcome);
      else {
        granted.push(outcome);
        codes.push(outcome.subscription.qos);
      }
    }
    const kept = granted.length === 0 || (await this.#keep(session, granted)) === 'kept'; // U1
    if (!kept) for (const { subscription } of granted) this.#withdraw(session, subscription.topicFilter);
    const reasonCodes = kept ? codes : codes.map((code) => (code < 0x80 ? ReasonCode.unspecifiedError : code));
    const suback = encodeSuback({ packetId: packet.packetId, reasonCodes }, link.profile); // U2
    if (suback) link.port.outbox.write(suback);
    if (kept) await this.#sendRetained(link, granted);
  }

  async unsubscribe(link: SubscriberLink, packet: UnsubscribePacket): Promise<void> {
    const { session } = link;
    const reasonCodes: ReasonCode[] = packet.topicFilters.map((topicFilter) =>
      this.#withdraw(session, topicFilter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted,
    );
    // A crash before this is kept brings the subscription back, and UNSUBACK was not seen: the client asks again.
    const kept = !reasonCodes.includes(ReasonCode.success) || (await this.#keep(session, [])) === 'kept';
    const codes = kept ? reasonCodes : reasonCodes.map(() => ReasonCode.unspecifiedError);
    const unsuback = encodeUnsuback({ packetId: packet.packetId, reasonCodes: codes }, link.profile);
    if (unsuback) link.port.outbox.write(unsuback);
  }

  /** Puts the subscriptions of a session that was read from storage in force. */
  async restore(session: Session, subscriptions: readonly SubscriptionRecord[]): Promise<void> {
    for (const subscription of subscriptions) {
      const target = this.#parse(subscription.topicFilter);
      if (target.kind === 'invalid') {
        this.#deps.logger.warn(
          { clientId: session.clientId, why: target.why },
          'a stored subscription is not valid now; dropped',
        );
        continue;
      }
      await this.#enforce(session, target, subscription);
    }
  }

  /** All subscriptions end with the session. */
  withdrawAll(session: Session): void {
    for (const topicFilter of [...session.subscriptions.keys()]) this.#withdraw(session, topicFilter);
  }

  /** Ends subscriptions that `matches`, and their retained messages, without the client having asked. */
  withdrawWhere(session: Session, matches: (target: SubscriptionTarget) => boolean): void {
    let withdrawn = 0;
    for (const [topicFilter, { target }] of [...session.subscriptions]) {
      if (!matches(target)) continue;
      this.#withdraw(session, topicFilter);
      this.#deps.feed.stop(session, target.filter);
      this.#deps.logger.warn(
        { clientId: session.clientId, topicFilter },
        'a subscription is not allowed any more: ended',
      );
      withdrawn++;
    }
    if (withdrawn > 0) void this.#keep(session, []); // a crash before it is kept brings them back, to be asked again
  }

  #grant(
    session: Session,
    request: SubscriptionRequest,
    given: { readonly identifier: number | undefined; readonly since: ReadonlyMap<number, number> },
  ): Granted | ReasonCode | 'protocolError' {
    const { topicFilter, noLocal, retainAsPublished, retainHandling } = request;
    const target = this.#parse(topicFilter);
    if (target.kind === 'invalid') return target.reasonCode;
    if (target.kind === 'shared' && noLocal) return 'protocolError'; // [MQTT-3.8.3-4]
    const known = session.subscriptions.get(topicFilter)?.record;
    if (known === undefined && session.subscriptions.size >= this.#deps.options.subscriptionsMax)
      return ReasonCode.quotaExceeded;
    if (target.kind === 'exclusive' && (this.#exclusive.get(target.filter) ?? session) !== session)
      return ReasonCode.quotaExceeded;
    const qos = lowerQoS(request.qos, this.#deps.options.maximumQoS);
    const since = known?.since ?? given.since;
    const { identifier } = given;
    const subscription = { topicFilter, qos, noLocal, retainAsPublished, retainHandling, identifier, since };
    const kept = this.#enforce(session, target, subscription);
    kept.catch(() => {}); // reported by keep()
    const wanted = retainHandling === 0 || (retainHandling === 1 && known === undefined);
    // A shared subscription gets no retained messages (MQTT5 §4.8.2).
    return { kept, subscription, retained: wanted && target.kind !== 'shared' ? 'send' : 'skip' };
  }

  #parse(topicFilter: string) {
    const { topicBytesMax: bytesMax, topicLevelsMax: levelsMax } = this.#deps.options;
    return parseTopicFilter(topicFilter, { bytesMax, levelsMax });
  }

  /** Takes effect at once; resolves when what it needs besides the session's record is kept. */
  async #enforce(session: Session, target: SubscriptionTarget, record: SubscriptionRecord): Promise<void> {
    session.hold({ record, target });
    const { qos, noLocal, retainAsPublished, identifier: subscriptionIdentifier } = record;
    const subscription = { session, qos, noLocal, retainAsPublished, subscriptionIdentifier };
    if (target.kind === 'shared') {
      this.#deps.index.addShared(target, subscription);
      return this.#deps.shareKeeper.changed(target);
    }
    if (target.kind === 'exclusive') this.#exclusive.set(target.filter, session);
    this.#deps.index.add(target.filter, subscription);
  }

  #withdraw(session: Session, topicFilter: string): boolean {
    const held = session.subscriptions.get(topicFilter);
    if (held === undefined) return false;
    session.drop(topicFilter);
    const { target } = held;
    if (target.kind === 'shared') {
      this.#deps.index.removeShared(target, session);
      this.#deps.shareKeeper.noteChange(target);
    } else {
      if (target.kind === 'exclusive') this.#exclusive.delete(target.filter);
      this.#deps.index.remove(target.filter, session);
    }
    return true;
  }

  async #keep(session: Session, granted: readonly Granted[]): Promise<'kept' | 'failed'> {
    if (session.lifetime === 'transient') return 'kept';
    try {
      await session.writer.save();
      for (const { kept } of granted) await kept;
      return 'kept';
    } catch (error) {
      this.#deps.logger.error(
        { clientId: session.clientId, error: errorMessage(error) },
        'a subscription could not be kept',
      );
      return 'failed';
    }
  }

  async #sendRetained(link: SubscriberLink, granted: readonly Granted[]): Promise<void> {
    const wanted = granted.filter(({ retained }) => retained === 'send');
    if (wanted.length === 0) return;
    await this.#deps.retained.settled(); // U3
    for (const { subscription } of wanted)
      if (link.session.subscriptions.get(subscription.topicFilter)?.record === subscription)
        this.#deps.feed.begin(link.session, this.#plain(subscription));
  }

  /** The filter without its prefix. */
  #plain(subscription: SubscriptionRecord): SubscriptionRecord {
    const target = this.#parse(subscription.topicFilter);
    return target.kind === 'exclusive' ? { ...subscription, topicFilter: target.filter } : subscription;
  }
}
