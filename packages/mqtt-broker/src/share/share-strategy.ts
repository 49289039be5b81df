// How a shared group chooses among its members. A strategy sees members and a message, nothing else; its
// own state (a cursor, a favourite) lives as long as the group.

import { unreachable } from '@robustmq/stdx/assert';
import type { Prng } from '@robustmq/stdx/prng';

/** What a strategy may know of a member; a session answers by getters, so that nothing is copied per message. */
export interface ShareMember {
  readonly clientId: string;
  /** Connected, with room in its window and on its socket. */
  readonly canTakeMessage: boolean;
  /** QoS 1 and 2 messages sent and not yet acknowledged. */
  readonly inflightCount: number;
  /** Connected to this node. */
  readonly isLocal: boolean;
}

export interface ShareMessage {
  readonly topicName: string;
  readonly publisherId: string;
}

export interface ShareChoice<Session> {
  readonly message: ShareMessage;
  readonly eligible: (session: Session) => boolean;
}

type Members<Session> = readonly { readonly session: Session }[];

export interface ShareStrategy {
  /** The place of the chosen member among `members`, or -1 when none is eligible. */
  pick<Session extends ShareMember>(members: Members<Session>, choice: ShareChoice<Session>): number;
}

/**
 *   round_robin     each in turn
 *   random          any
 *   sticky          the same one until it can take no more
 *   hash_client     by publisher: one publisher's messages stay with one member, in order
 *   hash_topic      by topic name: one topic's messages stay with one member, in order
 *   least_inflight  the one with the fewest unacknowledged messages
 *   local_first     in turn among the members on this node, then among the others
 */
export const SHARE_STRATEGIES = [
  'round_robin',
  'random',
  'sticky',
  'hash_client',
  'hash_topic',
  'least_inflight',
  'local_first',
] as const;

export type ShareStrategyName = (typeof SHARE_STRATEGIES)[number];

/** One per group, because of its state. */
export function createShareStrategy(name: ShareStrategyName, prng: Prng): ShareStrategy {
  switch (name) {
    case 'round_robin':
      return new RoundRobin();
    case 'random':
      return new Random(prng);
    case 'sticky':
      return new Sticky(prng);
    case 'hash_client':
      return new Hashed((message) => message.publisherId);
    case 'hash_topic':
      return new Hashed((message) => message.topicName);
    case 'least_inflight':
      return new LeastInflight();
    case 'local_first':
      return new LocalFirst();
    default:
      return unreachable(name);
  }
}

/** The first eligible member from `start` on, around the list. */
function eligibleFrom<Session>(
  members: Members<Session>,
  start: number,
  eligible: (session: Session) => boolean,
): number {
  for (let i = 0; i < members.length; i++) {
    const at = (start + i) % members.length;
    const member = members[at];
    if (member !== undefined && eligible(member.session)) return at;
  }
  return -1;
}

class RoundRobin implements ShareStrategy {
  #cursor = 0;

  pick<Session extends ShareMember>(members: Members<Session>, { eligible }: ShareChoice<Session>): number {
    const at = eligibleFrom(members, this.#cursor, eligible);
    if (at >= 0) this.#cursor = at + 1;
    return at;
  }
}

class Random implements ShareStrategy {
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  pick<Session extends ShareMember>(members: Members<Session>, { eligible }: ShareChoice<Session>): number {
    if (members.length === 0) return -1;
    return eligibleFrom(members, this.#prng.between(0, members.length - 1), eligible);
  }
}

class Sticky implements ShareStrategy {
  readonly #prng: Prng;
  #favourite: ShareMember | undefined;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  pick<Session extends ShareMember>(members: Members<Session>, { eligible }: ShareChoice<Session>): number {
    if (members.length === 0) return -1;
    const known = members.findIndex((member) => member.session === this.#favourite);
    const start = known >= 0 ? known : this.#prng.between(0, members.length - 1);
    const at = eligibleFrom(members, start, eligible);
    this.#favourite = members[at]?.session ?? this.#favourite;
    return at;
  }
}

/** Rendezvous hashing: when a member comes or goes, only its own keys move. */
class Hashed implements ShareStrategy {
  readonly #keyOf: (message: ShareMessage) => string;
  readonly #seeds = new WeakMap<ShareMember, number>();

  constructor(keyOf: (message: ShareMessage) => string) {
    this.#keyOf = keyOf;
  }

  pick<Session extends ShareMember>(members: Members<Session>, { message, eligible }: ShareChoice<Session>): number {
    const key = hashText(this.#keyOf(message));
    let best = -1;
    let bestScore = -1;
    for (let i = 0; i < members.length; i++) {
      const session = members[i]?.session;
      if (session === undefined || !eligible(session)) continue;
      const score = mix(key ^ this.#seedOf(session));
      if (score > bestScore) {
        best = i;
        bestScore = score;
      }
    }
    return best;
  }

  #seedOf(member: ShareMember): number {
    const known = this.#seeds.get(member);
    if (known !== undefined) return known;
    const seed = hashText(member.clientId);
    this.#seeds.set(member, seed);
    return seed;
  }
}

class LeastInflight implements ShareStrategy {
  #cursor = 0;

  pick<Session extends ShareMember>(members: Members<Session>, { eligible }: ShareChoice<Session>): number {
    let best = -1;
    let fewest = Number.POSITIVE_INFINITY;
    // From a moving start, so that equals take turns.
    for (let i = 0; i < members.length; i++) {
      const at = (this.#cursor + i) % members.length;
      const session = members[at]?.session;
      if (session === undefined || session.inflightCount >= fewest || !eligible(session)) continue;
      best = at;
      fewest = session.inflightCount;
    }
    if (best >= 0) this.#cursor = best + 1;
    return best;
  }
}

class LocalFirst implements ShareStrategy {
  readonly #local = new RoundRobin();
  readonly #any = new RoundRobin();

  pick<Session extends ShareMember>(members: Members<Session>, choice: ShareChoice<Session>): number {
    const eligible = (session: Session) => session.isLocal && choice.eligible(session);
    const local = this.#local.pick(members, { ...choice, eligible });
    return local >= 0 ? local : this.#any.pick(members, choice);
  }
}

/** FNV-1a over the code units, 32 bits. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the result. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
