// What lives on from one connection of a client to the next: its subscriptions, what is in flight either
// way, its will. A session is durable when it was begun with an expiry interval above 0.

import type { Timer } from '@robustmq/stdx/clock';
import type { OutgoingMessage } from '../deliver/outgoing-message.js';
import type { Grant, SessionDelivery, StoredAt } from '../deliver/session-delivery.js';
import { type SubscriptionTarget, topicMatches } from '../route/topic-filter.js';
import type { ShareMember } from '../share/share-strategy.js';
import { IncomingPackets } from './incoming-packets.js';
import type { RecordWriter } from './record-writer.js';
import type { SessionPort } from './session-port.js';
import type { SessionRecord, SubscriptionRecord, WillRecord } from './session-record.js';

/** The live connection of a session. */
export interface LiveLink {
  readonly port: SessionPort;
}

/** A session that reads many topics asks for the same ones again and again. */
const GRANTS_KEPT = 256;

const NO_SUBSCRIPTIONS: ReadonlyMap<string, HeldSubscription> = new Map();

export interface HeldSubscription {
  readonly record: SubscriptionRecord;
  /** The filter with its prefix taken apart. */
  readonly target: SubscriptionTarget;
}

export interface SessionFields {
  readonly clientId: string;
  readonly lifetime: 'transient' | 'durable';
  /** Called once, by the constructor. */
  readonly delivery: (session: Session) => SessionDelivery;
  /** Called once, when there is something to keep: most clients without a durable session never have. */
  readonly writer: (session: Session) => RecordWriter;
  readonly record: 'kept' | 'none';
}

export class Session implements ShareMember {
  readonly clientId: string;
  readonly lifetime: 'transient' | 'durable';
  /** By topic filter as the client wrote it. */
  #subscriptions: Map<string, HeldSubscription> | undefined;
  /** Topics of the log and what they are granted, while the session reads there; gone when a subscription changes. */
  #grants: Map<string, Grant | undefined> | undefined;
  readonly incoming = new IncomingPackets();
  readonly delivery: SessionDelivery;
  readonly #makeWriter: (session: Session) => RecordWriter;
  #writer: RecordWriter | undefined;
  link: LiveLink | undefined;
  state: 'open' | 'ended' = 'open';
  /** The epoch it began with, and the newest: one more with every connection. */
  born = 0;
  /** Where the message shards ended when it began. */
  beginnings: readonly number[] = [];
  epoch = 0;
  expirySeconds = 0;
  offlineSinceMs: number | undefined;
  will: WillRecord | undefined;
  expiryTimer: Timer | undefined;
  willTimer: Timer | undefined;

  constructor({ clientId, lifetime, delivery, writer, record }: SessionFields) {
    this.clientId = clientId;
    this.lifetime = lifetime;
    this.delivery = delivery(this);
    this.#makeWriter = writer;
    if (record === 'kept') this.#writer = writer(this);
  }

  get writer(): RecordWriter {
    this.#writer ??= this.#makeWriter(this);
    return this.#writer;
  }

  /** Whether meta holds a record of it, or may. */
  get hasRecord(): boolean {
    return this.#writer?.exists === true;
  }

  get subscriptions(): ReadonlyMap<string, HeldSubscription> {
    return this.#subscriptions ?? NO_SUBSCRIPTIONS;
  }

  hold(subscription: HeldSubscription): void {
    this.#subscriptions ??= new Map();
    this.#subscriptions.set(subscription.record.topicFilter, subscription);
    this.#grants = undefined;
  }

  drop(topicFilter: string): void {
    this.#subscriptions?.delete(topicFilter);
    this.#grants = undefined;
  }

  get isLocal(): boolean {
    return this.link !== undefined;
  }

  get canTakeMessage(): boolean {
    return this.delivery.room > 0;
  }

  get inflightCount(): number {
    return this.delivery.inflight;
  }

  record(): SessionRecord {
    const { born, beginnings, epoch, expirySeconds, offlineSinceMs, will } = this;
    // What a transient session has is over with its connection; only its will is not.
    const subscriptions =
      this.lifetime === 'durable' ? Array.from(this.subscriptions.values(), ({ record }) => record) : [];
    return { born, beginnings, epoch, expirySeconds, offlineSinceMs, subscriptions, will };
  }

  /** How the plain subscriptions of this session want a message of the log; undefined when none does. */
  grantFor(message: OutgoingMessage, at: StoredAt): Grant | undefined {
    const { topicName } = message;
    if (this.#grants?.has(topicName)) return this.#grants.get(topicName);
    const found = this.#findGrant(message, at);
    // What depends on more than the topic is asked again for every message.
    if (message.publisherId === this.clientId || this.#beginsBehind(at)) return found;
    if (this.#grants === undefined || this.#grants.size >= GRANTS_KEPT) this.#grants = new Map();
    this.#grants.set(topicName, found);
    return found;
  }

  /** Some subscription begins above this place. */
  #beginsBehind({ shard, offset }: StoredAt): boolean {
    for (const { record } of this.subscriptions.values()) if ((record.since.get(shard) ?? 0) > offset) return true;
    return false;
  }

  #findGrant(message: OutgoingMessage, at: StoredAt): Grant | undefined {
    let found: Mutable<Grant> | undefined;
    let identifiers: number[] | undefined;
    const own = message.publisherId === this.clientId;
    for (const { record: subscription, target } of this.subscriptions.values()) {
      if (target.kind === 'shared') continue; // the group reads for its members
      if (own && subscription.noLocal) continue; // [MQTT-3.8.3-3]
      if ((subscription.since.get(at.shard) ?? 0) > at.offset) continue; // published before the client subscribed
      if (!topicMatches(target.filter, message.topicName)) continue;
      found ??= { qos: 0, retainAsPublished: false, subscriptionIdentifiers: undefined };
      if (subscription.qos > found.qos) found.qos = subscription.qos;
      found.retainAsPublished ||= subscription.retainAsPublished;
      if (subscription.identifier === undefined) continue;
      identifiers ??= [];
      if (!identifiers.includes(subscription.identifier)) identifiers.push(subscription.identifier);
      found.subscriptionIdentifiers = identifiers;
    }
    return found;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
