// The members of one shared subscription on this node, and who gets the next message (MQTT5 §4.8.2).

import type { QoS } from '../codec/packets.js';
import type { ShareMember, ShareMessage, ShareStrategy } from './share-strategy.js';

/** One member's subscription, as granted. */
export interface SharedSubscription<Session> {
  readonly session: Session;
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifier: number | undefined;
}

export class SharedGroup<Session extends ShareMember> {
  readonly group: string;
  readonly filter: string;
  readonly #strategy: ShareStrategy;
  readonly #members: SharedSubscription<Session>[] = [];

  constructor(name: { readonly group: string; readonly filter: string }, strategy: ShareStrategy) {
    this.group = name.group;
    this.filter = name.filter;
    this.#strategy = strategy;
  }

  get members(): readonly SharedSubscription<Session>[] {
    return this.#members;
  }

  /** Adds a member, or replaces its subscription [MQTT-3.8.4-3]. */
  set(subscription: SharedSubscription<Session>): 'added' | 'replaced' {
    const at = this.#indexOf(subscription.session);
    if (at >= 0) {
      this.#members[at] = subscription;
      return 'replaced';
    }
    this.#members.push(subscription);
    return 'added';
  }

  remove(session: Session): boolean {
    const at = this.#indexOf(session);
    if (at < 0) return false;
    this.#members.splice(at, 1);
    return true;
  }

  /**
   * Who gets the message: a member that can take one now, otherwise any; undefined when all have been
   * tried. `tried` are the members that refused it before, or lost their connection with it.
   */
  pick(message: ShareMessage, tried?: ReadonlySet<Session>): SharedSubscription<Session> | undefined {
    const ready = (member: Session) => member.canTakeMessage && tried?.has(member) !== true;
    const untried = (member: Session) => tried?.has(member) !== true;
    return this.#pickWhere(message, ready) ?? this.#pickWhere(message, untried);
  }

  #pickWhere(message: ShareMessage, eligible: (session: Session) => boolean): SharedSubscription<Session> | undefined {
    const at = this.#strategy.pick(this.#members, { message, eligible });
    return at < 0 ? undefined : this.#members[at];
  }

  #indexOf(session: Session): number {
    return this.#members.findIndex((member) => member.session === session);
  }
}
