import { assert } from '@robustmq/stdx/assert';
import { type KeyRange, rangeContains } from './key-range.js';
import type { Version } from './record.js';
import type { VersionStore } from './version-store.js';

export type WatchTake =
  /** All changes of the watched keys from the cursor up to and including `revision`; whole revisions, in order. */
  | { readonly take: 'changes'; readonly versions: readonly Version[]; readonly revision: number }
  /** The cursor is past the newest revision. */
  | { readonly take: 'nothing' }
  /** What comes next is no longer kept. */
  | { readonly take: 'compacted'; readonly compactedRevision: number };

/**
 * Wakes those who watch. Nothing is queued per watcher: the history is the queue, a watcher is a cursor into it,
 * and one that is too slow finds its place compacted instead of missing a change.
 */
export class WatchHub {
  readonly #store: () => VersionStore;
  readonly #watchers = new Set<Watcher>();

  /** `store` is asked each time: installing a snapshot replaces it. */
  constructor(store: () => VersionStore) {
    this.#store = store;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Begins with the changes of `fromRevision`; without it, with the next one. `wake` is called when a take may give something. */
  open(range: KeyRange, fromRevision: number | undefined, wake: () => void): Watcher {
    const from = fromRevision ?? this.#store().revision + 1;
    const watcher = new Watcher({
      range,
      from,
      wake,
      store: this.#store,
      closed: () => this.#watchers.delete(watcher),
    });
    this.#watchers.add(watcher);
    return watcher;
  }

  /** To be called after one or more changes were applied. */
  changed(): void {
    for (const watcher of this.#watchers) watcher.wake();
  }
}

export interface TakeLimits {
  readonly versions: number;
  /** Of keys and values. */
  readonly bytes: number;
}

interface WatcherInit {
  readonly range: KeyRange;
  readonly from: number;
  readonly wake: () => void;
  readonly store: () => VersionStore;
  readonly closed: () => void;
}

export class Watcher {
  readonly range: KeyRange;
  readonly #init: WatcherInit;
  #nextRevision: number;

  constructor(init: WatcherInit) {
    assert(init.from >= 0, 'a watch begins at a revision');
    this.range = init.range;
    this.#init = init;
    this.#nextRevision = init.from;
  }

  /** Every change before it has been taken. */
  get nextRevision(): number {
    return this.#nextRevision;
  }

  wake(): void {
    this.#init.wake();
  }

  /** Ends with the revision that reaches one of the limits: a revision is never split. */
  take(limits: TakeLimits): WatchTake {
    const store = this.#init.store();
    if (this.#nextRevision < store.compactedRevision) {
      return { take: 'compacted', compactedRevision: store.compactedRevision };
    }
    const versions: Version[] = [];
    let revision = this.#nextRevision;
    let bytes = 0;
    for (; revision <= store.revision && versions.length < limits.versions && bytes < limits.bytes; revision++) {
      // Revision 0, before the empty store, has no change.
      for (const version of store.change(revision) ?? []) {
        if (!rangeContains(this.range, version.key)) continue;
        versions.push(version);
        bytes += version.key.length + (version.value?.length ?? 0);
      }
    }
    this.#nextRevision = revision;
    if (versions.length === 0) return { take: 'nothing' };
    return { take: 'changes', versions, revision: revision - 1 };
  }

  close(): void {
    this.#init.closed();
  }
}
