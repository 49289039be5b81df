import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Leadership } from './replication.js';

/** Who leads, told to those who act on it: each change once, in order. */
export class LeadershipFeed {
  readonly #logger: Logger;
  readonly #listeners = new Set<(leadership: Leadership) => void>();
  #current: Leadership = { role: 'follower', term: 0, leader: undefined };

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get current(): Leadership {
    return this.#current;
  }

  listen(listener: (leadership: Leadership) => void): () => void {
    this.#listeners.add(listener);
    this.#tell(listener);
    return () => this.#listeners.delete(listener);
  }

  update(leadership: Leadership): void {
    if (same(this.#current, leadership)) return;
    this.#current = leadership;
    for (const listener of [...this.#listeners]) this.#tell(listener);
  }

  /** A listener's fault is not the group's: it is reported, and the others are told. */
  #tell(listener: (leadership: Leadership) => void): void {
    try {
      listener(this.#current);
    } catch (error) {
      this.#logger.error({ error: errorMessage(error) }, 'a leadership listener threw');
    }
  }
}

function same(a: Leadership, b: Leadership): boolean {
  if (a.term !== b.term || a.role !== b.role) return false;
  return a.role === 'leader' || b.role === 'leader' || a.leader === b.leader;
}
