// Who gets a message: all subscriptions of this node, found by topic name.
//
//   S1. A session appears once in a result, however many of its filters match: with the highest QoS of
//       them [MQTT-3.3.4-2] and all their subscription identifiers [MQTT-3.3.4-4].
//   S2. Shared subscriptions stand beside: a result names the groups, and each group picks a member.
//   S3. A result is kept by topic name and is the same object until a subscription changes that could
//       match the topic, so a caller may hang its own work on it (`attachment`).
//   S4. The cache is bounded (match-cache.ts). Losing a result costs a match, nothing else.
//
// When is a kept result out of date? A change of a filter without wildcards concerns one topic, whose
// result is dropped. A change of a filter with wildcards counts up a generation: the one of its first two
// levels when both are literal, else of its first level, else of all. A result notes the sum of the three
// generations that concern its topic; each only grows, so equal sums mean that none has changed.

import type { ShareMember, ShareStrategy } from '../share/share-strategy.js';
import { SharedGroup, type SharedSubscription } from '../share/shared-group.js';
import { type Delivery, mergeDeliveries } from './delivery.js';
import { FilterSubscribers } from './filter-subscribers.js';
import { MatchCache } from './match-cache.js';
import type { Subscription } from './subscription.js';
import { endOfLevel, hasWildcard } from './topic-filter.js';
import { TopicTrie } from './topic-trie.js';

export type { Delivery } from './delivery.js';
export type { Subscription } from './subscription.js';

export class MatchResult<Session extends ShareMember> {
  readonly topicName: string;
  readonly deliveries: readonly Delivery<Session>[];
  readonly groups: readonly SharedGroup<Session>[];
  /** For the caller's use (S3); lives and dies with the result. */
  attachment: unknown = undefined;
  /** @internal What the cache holds for it, in receivers. */
  readonly weight: number;
  /** @internal The sum of the generations when this was found, and where two of them stand. */
  readonly stamp: MatchStamp;

  constructor(topicName: string, found: Found<Session>, stamp: MatchStamp) {
    this.topicName = topicName;
    this.deliveries = found.deliveries;
    this.groups = found.groups;
    this.weight = RESULT_WEIGHT + found.deliveries.length + found.groups.length;
    this.stamp = stamp;
  }

  get isEmpty(): boolean {
    return this.deliveries.length === 0 && this.groups.length === 0;
  }
}

interface Found<Session extends ShareMember> {
  readonly deliveries: readonly Delivery<Session>[];
  readonly groups: readonly SharedGroup<Session>[];
}

interface MatchStamp {
  sum: number;
  readonly oneLevel: number;
  readonly twoLevels: number;
}

export interface SubscriptionIndexOptions {
  /**
   * Results kept, by the sum of their receivers and sixteen for each result itself. Default 1,048,576: at most a few
   * tens of megabytes, and above the topics that are hot at one time on one node.
   */
  readonly cachedReceiversMax?: number;
  /** Chooses how the members of a new shared group take turns. */
  readonly strategyFor: (group: string, filter: string) => ShareStrategy;
}

const GENERATIONS = 1024;
/** What a result costs beside its receivers, in the size of a receiver: some 250 bytes to 16. */
const RESULT_WEIGHT = 16;
const NO_GROUPS: readonly never[] = [];
const NOBODY: readonly never[] = [];

export class SubscriptionIndex<Session extends ShareMember> {
  readonly #plain = new TopicTrie<FilterSubscribers<Session>>();
  /** Filter → group name → group. */
  readonly #shared = new TopicTrie<Map<string, SharedGroup<Session>>>();
  readonly #strategyFor: SubscriptionIndexOptions['strategyFor'];
  readonly #cache: MatchCache<MatchResult<Session>>;
  #generation = 0;
  readonly #oneLevel = new Float64Array(GENERATIONS);
  readonly #twoLevels = new Float64Array(GENERATIONS);
  #subscriptions = 0;
  // Reused by every match.
  readonly #foundPlain: FilterSubscribers<Session>[] = [];
  readonly #foundShared: Map<string, SharedGroup<Session>>[] = [];

  constructor(options: SubscriptionIndexOptions) {
    this.#strategyFor = options.strategyFor;
    this.#cache = new MatchCache(options.cachedReceiversMax ?? 1_048_576);
  }

  /** Subscriptions held, plain and shared. */
  get size(): number {
    return this.#subscriptions;
  }

  get cachedTopics(): number {
    return this.#cache.size;
  }

  /** Adds a subscription, or replaces the session's one to the same filter [MQTT-3.8.4-3]. */
  add(filter: string, subscription: Subscription<Session>): 'added' | 'replaced' {
    const subscribers = this.#plain.get(filter);
    if (subscribers === undefined) this.#plain.set(filter, new FilterSubscribers(subscription));
    const outcome = subscribers?.set(subscription) ?? 'added';
    if (outcome === 'added') this.#subscriptions++;
    this.#invalidate(filter);
    return outcome;
  }

  remove(filter: string, session: Session): boolean {
    const subscribers = this.#plain.get(filter);
    if (subscribers === undefined || !subscribers.delete(session)) return false;
    if (subscribers.size === 0) this.#plain.delete(filter);
    this.#subscriptions--;
    this.#invalidate(filter);
    return true;
  }

  addShared(
    name: { readonly group: string; readonly filter: string },
    subscription: SharedSubscription<Session>,
  ): 'added' | 'replaced' {
    const groups = this.#shared.get(name.filter) ?? new Map<string, SharedGroup<Session>>();
    const group = groups.get(name.group) ?? new SharedGroup(name, this.#strategyFor(name.group, name.filter));
    if (groups.size === 0) this.#shared.set(name.filter, groups);
    groups.set(name.group, group);
    const outcome = group.set(subscription);
    if (outcome === 'added') this.#subscriptions++;
    this.#invalidate(name.filter);
    return outcome;
  }

  /** The group while it has members. */
  groupOf(name: { readonly group: string; readonly filter: string }): SharedGroup<Session> | undefined {
    return this.#shared.get(name.filter)?.get(name.group);
  }

  removeShared(name: { readonly group: string; readonly filter: string }, session: Session): boolean {
    const groups = this.#shared.get(name.filter);
    const group = groups?.get(name.group);
    if (groups === undefined || group === undefined || !group.remove(session)) return false;
    if (group.members.length === 0) groups.delete(name.group);
    if (groups.size === 0) this.#shared.delete(name.filter);
    this.#subscriptions--;
    this.#invalidate(name.filter);
    return true;
  }

  /** Valid within this turn; the next message asks again and, as a rule, gets the same object (S3). */
  match(topicName: string): MatchResult<Session> {
    const cached = this.#cache.get(topicName);
    if (cached !== undefined && cached.stamp.sum === this.#sum(cached.stamp)) return cached;
    const result = this.#find(topicName);
    this.#cache.set(topicName, result);
    return result;
  }

  #find(topicName: string): MatchResult<Session> {
    this.#plain.collect(topicName, this.#foundPlain);
    this.#shared.collect(topicName, this.#foundShared);
    const deliveries = deliveriesOf(this.#foundPlain);
    const groups =
      this.#foundShared.length === 0 ? NO_GROUPS : this.#foundShared.flatMap((byName) => Array.from(byName.values()));
    this.#foundPlain.length = 0;
    this.#foundShared.length = 0;
    return new MatchResult(topicName, { deliveries, groups }, this.#stamp(topicName));
  }

  #invalidate(filter: string): void {
    if (!hasWildcard(filter)) {
      this.#cache.delete(filter);
      return;
    }
    const first = endOfLevel(filter, 0);
    if (hasWildcard(filter.slice(0, first))) {
      this.#generation++;
      return;
    }
    const second = first === filter.length ? first : endOfLevel(filter, first + 1);
    if (hasWildcard(filter.slice(0, second))) bump(this.#oneLevel, slot(filter, first));
    else bump(this.#twoLevels, slot(filter, second));
  }

  #stamp(topicName: string): MatchStamp {
    const first = endOfLevel(topicName, 0);
    const second = first === topicName.length ? first : endOfLevel(topicName, first + 1);
    const stamp = { sum: 0, oneLevel: slot(topicName, first), twoLevels: slot(topicName, second) };
    stamp.sum = this.#sum(stamp);
    return stamp;
  }

  #sum(slots: MatchStamp): number {
    return this.#generation + (this.#oneLevel[slots.oneLevel] ?? 0) + (this.#twoLevels[slots.twoLevels] ?? 0);
  }
}

/** Where one filter matches, the list is its own, shared by all topics: a message to many costs no list. */
function deliveriesOf<Session>(found: readonly FilterSubscribers<Session>[]): readonly Delivery<Session>[] {
  const [first] = found;
  if (first === undefined) return NOBODY;
  if (found.length === 1) return first.deliveries();
  return mergeDeliveries(found.map((subscribers) => subscribers.deliveries()));
}

function bump(generations: Float64Array, at: number): void {
  generations[at] = (generations[at] ?? 0) + 1;
}

/** FNV-1a over the first `length` code units. Two prefixes in one slot only invalidate more than they must. */
function slot(text: string, length: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % GENERATIONS;
}
