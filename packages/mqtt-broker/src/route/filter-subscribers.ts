import { type Delivery, deliveryOf } from './delivery.js';
import type { Subscription } from './subscription.js';

/** Everyone who subscribed to one filter. Most filters have one subscriber; a Map is only made for the second. */
export class FilterSubscribers<Session> {
  #only: Subscription<Session> | undefined;
  #many: Map<Session, Subscription<Session>> | undefined;
  /** Made at the first match after a change, and shared by the results of all topics. */
  #deliveries: readonly Delivery<Session>[] | undefined;

  constructor(first: Subscription<Session>) {
    this.#only = first;
  }

  get size(): number {
    return this.#many?.size ?? (this.#only === undefined ? 0 : 1);
  }

  set(subscription: Subscription<Session>): 'added' | 'replaced' {
    this.#deliveries = undefined;
    if (this.#many !== undefined) {
      const before = this.#many.size;
      this.#many.set(subscription.session, subscription);
      return this.#many.size > before ? 'added' : 'replaced';
    }
    const only = this.#only;
    if (only === undefined || only.session === subscription.session) {
      this.#only = subscription;
      return only === undefined ? 'added' : 'replaced';
    }
    this.#many = new Map([
      [only.session, only],
      [subscription.session, subscription],
    ]);
    this.#only = undefined;
    return 'added';
  }

  delete(session: Session): boolean {
    this.#deliveries = undefined;
    if (this.#many !== undefined) return this.#many.delete(session);
    if (this.#only?.session !== session) return false;
    this.#only = undefined;
    return true;
  }

  deliveries(): readonly Delivery<Session>[] {
    this.#deliveries ??= Array.from(this.#values(), deliveryOf);
    return this.#deliveries;
  }

  #values(): Iterable<Subscription<Session>> {
    if (this.#many !== undefined) return this.#many.values();
    return this.#only === undefined ? [] : [this.#only];
  }
}
