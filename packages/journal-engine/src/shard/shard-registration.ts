// The shard record in meta as this node last saw it, and the queue of its changes.
//
// Invariant: changes of one shard happen one after the other, each made from the record the one before left,
// so that this node never fences itself (registry R1).

import type { JournalRegistry, RegisteredShard, ShardChange } from '../registry/journal-registry.js';
import type { ShardRecord } from '../registry/records.js';

export type ChangeOf = (record: ShardRecord) => Omit<ShardChange, 'from'>;

export class ShardRegistration {
  readonly #registry: JournalRegistry;
  #current: RegisteredShard;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(registry: JournalRegistry, registered: RegisteredShard) {
    this.#registry = registry;
    this.#current = registered;
  }

  get current(): RegisteredShard {
    return this.#current;
  }

  /** Changes the shard in meta; `changeOf` is called when its turn has come. JournalError UNAVAILABLE or FENCED. */
  change(changeOf: ChangeOf): Promise<void> {
    return this.exclusively(async () => {
      const from = this.#current;
      this.#current = await this.#registry.change({ from, ...changeOf(from.record) });
    });
  }

  /** Runs alone among the changes of this shard. */
  exclusively<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(act);
    this.#queue = turn.catch(() => {});
    return turn;
  }
}
