// Hands a message to everybody on this node who wants it, in the turn it may be delivered: at once when nobody
// durable wants it, otherwise when it is kept.

import type { Outbox } from '../connection/outbox.js';
import { SharedBatch } from '../connection/shared-batch.js';
import { topicShard } from '../publish/topic-shard.js';
import type { Delivery, MatchResult, SubscriptionIndex } from '../route/subscription-index.js';
import { TopicTrie } from '../route/topic-trie.js';
import type { Session } from '../session/session.js';
import type { MessageListener } from '../session/session-port.js';
import type { DeliveryStats } from './delivery-stats.js';
import { lowerQoS } from './lower-qos.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { StoredAt } from './session-delivery.js';
import type { ShareDispatcher } from './share-dispatcher.js';

/** From so many receivers on, QoS 0 is gathered once for all of them. */
const WIDE = 8;
/** A batch copies each frame once; larger ones go by reference. */
const BATCHED_FRAME_BYTES_MAX = 4096;

/** What is known of a topic's receivers; kept with the match result, gone when a subscription changes. */
export class Audience {
  readonly shard: number;
  /** `durable` when a durable session is to get it at QoS 1 or 2: then such a message is stored (D8). */
  readonly kind: 'durable' | 'transient';
  batches: WideBatches | undefined;

  constructor(shard: number, kind: 'durable' | 'transient') {
    this.shard = shard;
    this.kind = kind;
  }
}

interface WideBatches {
  /** The number of connections made when the members were listed. */
  readonly asOf: number;
  readonly batches: readonly { readonly version: 4 | 5; readonly batch: SharedBatch; readonly members: number }[];
  readonly others: readonly Delivery<Session>[];
}

export class Dispatcher {
  readonly #index: SubscriptionIndex<Session>;
  readonly #shares: ShareDispatcher;
  readonly #stats: DeliveryStats;
  readonly #shards: number;
  readonly #listeners = new TopicTrie<Set<MessageListener>>();
  readonly #foundListeners: Set<MessageListener>[] = [];
  /** Counts connections that were attached: a wide batch lists its members anew when there are new ones. */
  #connections = 0;

  constructor(deps: {
    readonly index: SubscriptionIndex<Session>;
    readonly shares: ShareDispatcher;
    readonly stats: DeliveryStats;
    readonly shards: number;
  }) {
    this.#index = deps.index;
    this.#shares = deps.shares;
    this.#stats = deps.stats;
    this.#shards = deps.shards;
  }

  match(topicName: string): MatchResult<Session> {
    return this.#index.match(topicName);
  }

  audience(match: MatchResult<Session>): Audience {
    if (match.attachment instanceof Audience) return match.attachment;
    const audience = new Audience(
      topicShard(match.topicName, this.#shards),
      isDurable(match) ? 'durable' : 'transient',
    );
    match.attachment = audience;
    return audience;
  }

  /** A session with subscriptions has a connection again. */
  connected(): void {
    this.#connections++;
  }

  hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  listen(topicFilter: string, listener: MessageListener): () => void {
    const listeners = this.#listeners.get(topicFilter) ?? new Set();
    if (listeners.size === 0) this.#listeners.set(topicFilter, listeners);
    listeners.add(listener);
    return () => {
      if (listeners.delete(listener) && listeners.size === 0) this.#listeners.delete(topicFilter);
    };
  }

  dispatch(message: OutgoingMessage, match: MatchResult<Session>, at?: StoredAt): void {
    const { deliveries } = match;
    if (message.qos === 0 && deliveries.length >= WIDE && !message.retain) this.#dispatchWide(message, match);
    else for (let i = 0; i < deliveries.length; i++) this.#deliver(message, deliveries[i] as Delivery<Session>, at); // i is within the list
    for (const group of match.groups) this.#shares.dispatch(message, group, at);
    if (this.#listeners.size > 0) this.#tellListeners(message);
  }

  #deliver(message: OutgoingMessage, delivery: Delivery<Session>, at: StoredAt | undefined): void {
    const { session } = delivery;
    const grant = session.clientId === message.publisherId ? delivery.toPublisher : delivery;
    if (grant === undefined) {
      // No Local; a durable session still has to move past it, which its position does by itself.
      return;
    }
    const qos = lowerQoS(message.qos, grant.qos);
    if (qos === 0) this.#deliverQoS0(message, grant);
    else if (at === undefined) session.delivery.deliver(message, grant, qos);
    else session.delivery.deliverStored(message, grant, at);
  }

  #deliverQoS0(message: OutgoingMessage, delivery: Delivery<Session>): void {
    const port = delivery.session.link?.port;
    if (port === undefined) return; // QoS 0 does not wait for anybody
    if (port.congested) {
      this.#stats.droppedCongested++;
      return;
    }
    const { version } = port;
    const frame = message.frame({
      version,
      qos: 0,
      retain: message.retain && delivery.retainAsPublished,
      identifiers: version === 5 ? delivery.subscriptionIdentifiers : undefined,
    });
    if (frame.bytes > port.maximumPacketSize) {
      this.#stats.droppedTooLarge++; // [MQTT-3.1.2-25]
      return;
    }
    port.outbox.writeFrame(frame, 0);
    this.#stats.delivered++;
  }

  #dispatchWide(message: OutgoingMessage, match: MatchResult<Session>): void {
    const audience = this.audience(match);
    if (audience.batches?.asOf !== this.#connections) audience.batches = this.#gatherWide(match);
    const { batches, others } = audience.batches;
    for (const { version, batch, members } of batches) {
      const frame = message.frame({ version, qos: 0, retain: false, identifiers: undefined });
      if (frame.bytes > BATCHED_FRAME_BYTES_MAX) {
        this.#deliverEach(message, match.deliveries);
        return;
      }
      batch.append(frame.head, 0, frame.head.length);
      this.#stats.delivered += members;
    }
    this.#deliverEach(message, others);
  }

  #deliverEach(message: OutgoingMessage, deliveries: readonly Delivery<Session>[]): void {
    for (const delivery of deliveries) this.#deliver(message, delivery, undefined);
  }

  /** Sorts the receivers of a wide topic: who gets the same bytes as many others, and who is special. */
  #gatherWide(match: MatchResult<Session>): WideBatches {
    const v4: Outbox[] = [];
    const v5: Outbox[] = [];
    const others: Delivery<Session>[] = [];
    for (const delivery of match.deliveries) {
      const port = delivery.session.link?.port;
      if (port === undefined) continue;
      const plain = delivery.toPublisher === delivery && delivery.subscriptionIdentifiers === undefined;
      if (!plain || port.maximumPacketSize < BATCHED_FRAME_BYTES_MAX) others.push(delivery);
      else if (port.version === 5) v5.push(port.outbox);
      else v4.push(port.outbox);
    }
    const stats = this.#stats;
    const onDropped = (members: number) => {
      stats.droppedCongested += members;
      stats.delivered -= members;
    };
    const batches: WideBatches['batches'][number][] = [];
    if (v4.length > 0) batches.push({ version: 4, batch: shared(v4, onDropped), members: v4.length });
    if (v5.length > 0) batches.push({ version: 5, batch: shared(v5, onDropped), members: v5.length });
    return { asOf: this.#connections, batches, others };
  }

  #tellListeners(message: OutgoingMessage): void {
    this.#listeners.collect(message.topicName, this.#foundListeners);
    if (this.#foundListeners.length === 0) return;
    message.own(); // the listener may keep it
    const { topicName, payload, qos, retain, properties } = message;
    for (const listeners of this.#foundListeners)
      for (const listener of listeners) listener({ topicName, payload, qos, retain, properties });
    this.#foundListeners.length = 0;
  }
}

/** Of at least one outbox. */
function shared(members: readonly Outbox[], onDropped: (members: number) => void): SharedBatch {
  const [first] = members as [Outbox, ...Outbox[]]; // see above
  return new SharedBatch(first.turn, { members, onDropped });
}

function isDurable(match: MatchResult<Session>): boolean {
  for (const { session, qos } of match.deliveries) if (qos > 0 && session.lifetime === 'durable') return true;
  for (const { members } of match.groups)
    for (const { session, qos } of members) if (qos > 0 && session.lifetime === 'durable') return true;
  return false;
}
