// Cursors into the message shards, of durable sessions and of share groups: committed lazily and together,
// because a cursor that lags costs a repeated delivery after a crash and nothing else.
//
//   consumer group  mqtt/<tenant>/sessions/<clientId>          offsets by message shard
//                   mqtt/<tenant>/shares/<group>/<filter>
//
// Invariants:
//   C1. A committed cursor is never above what is in flight: a crash repeats, it does not lose.
//   C2. A message shard is trimmed only below every committed cursor.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import type { ResolvedEngineOptions } from '../engine-options.js';

/** Who reads the message shards and must not lose its place. */
export interface CursorOwner {
  /** Its consumer group. */
  readonly consumer: string;
  /** `moved`: since it was committed. `forgotten`: it has ended, nothing is committed for it any more. */
  cursorState: 'committed' | 'moved' | 'forgotten';
  /** By message shard, the lowest offset it still needs (C1). */
  cursors(): number[];
  /** These are kept now. */
  committed(cursors: readonly number[]): void;
}

export interface CursorKeeperDeps {
  readonly storage: ShardStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: ResolvedEngineOptions;
  /** The end of what was handed out of a shard. */
  readonly endOf: (shard: number) => number;
  /** What else is due in this interval; must not reject. */
  readonly afterCommit: () => Promise<void>;
  readonly shards: {
    readonly ids: readonly ShardId[];
    readonly starts: readonly Offset[];
    readonly ends: readonly Offset[];
  };
}

/** Commits started at once: enough to share a group commit, few enough to leave room for messages. */
const COMMITS_TOGETHER = 64;

export class CursorKeeper {
  readonly #deps: CursorKeeperDeps;
  #moved = new Set<CursorOwner>();
  /** What was committed: only a difference is written. */
  readonly #committed = new WeakMap<CursorOwner, readonly number[]>();
  #owners: () => Iterable<CursorOwner> = () => [];
  #commitTimer: Timer | undefined;
  #trimTimer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(deps: CursorKeeperDeps) {
    this.#deps = deps;
  }

  /** `owners`: all there are, for trimming (C2). */
  start(owners: () => Iterable<CursorOwner>): void {
    this.#owners = owners;
    this.#state = 'open';
    this.#armCommit();
    this.#armTrim();
  }

  /** Called for every ack: cheap. */
  moved(owner: CursorOwner): void {
    if (owner.cursorState !== 'committed') return;
    owner.cursorState = 'moved';
    this.#moved.add(owner);
  }

  /** Where a consumer goes on reading; where it began when nothing was committed since. */
  async read(consumer: string, beginnings: readonly number[]): Promise<number[]> {
    const { storage, shards } = this.#deps;
    const found = new Map((await storage.committedOffsets(consumer)).map(({ shard, offset }) => [shard, offset]));
    return shards.ids.map((id, n) => {
      const lowest = Math.max(shards.starts[n] ?? 0, beginnings[n] ?? 0);
      // Beyond the end: the log lost its newest part (a driver of bounded loss), and goes on from its end.
      return Math.min(Math.max(found.get(id) ?? 0, lowest), shards.ends[n] ?? 0);
    });
  }

  /** What was read counts as committed. */
  restored(owner: CursorOwner, cursors: readonly number[]): void {
    this.#committed.set(owner, cursors);
  }

  /** Commits one cursor now. A failure is logged: the cursor then lags, which is legal (C1). */
  async commit(owner: CursorOwner): Promise<'committed' | 'failed'> {
    if (owner.cursorState === 'forgotten') return 'committed';
    this.#moved.delete(owner);
    owner.cursorState = 'committed';
    const before = this.#committed.get(owner);
    const now = owner.cursors();
    const offsets = this.#deps.shards.ids
      .map((shard, n) => ({ shard, offset: now[n] as Offset })) // one per shard
      .filter(({ offset }, n) => before?.[n] !== offset);
    if (offsets.length === 0) return 'committed';
    try {
      await this.#deps.storage.commitOffsets(owner.consumer, offsets);
      this.#committed.set(owner, now);
      owner.committed(now);
      return 'committed';
    } catch (error) {
      this.moved(owner);
      const { consumer } = owner;
      this.#deps.logger.warn({ consumer, error: errorMessage(error) }, 'a cursor could not be committed; trying again');
      return 'failed';
    }
  }

  /** The owner has ended: its place is deleted. Errors: StorageError. */
  async forget(owner: CursorOwner): Promise<void> {
    owner.cursorState = 'forgotten';
    this.#moved.delete(owner);
    await this.#deps.storage.deleteGroup(owner.consumer);
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    this.#commitTimer?.cancel();
    this.#trimTimer?.cancel();
    await this.#running;
    await this.#commitAll([...this.#moved]);
  }

  #armCommit(): void {
    if (this.#state !== 'open') return;
    this.#commitTimer = this.#deps.clock.setTimer(this.#deps.options.cursorCommitIntervalMs, () => {
      this.#running = this.#commitAll([...this.#moved])
        .then(() => this.#deps.afterCommit())
        .then(() => this.#armCommit());
    });
  }

  #armTrim(): void {
    if (this.#state !== 'open') return;
    this.#trimTimer = this.#deps.clock.setTimer(this.#deps.options.trimIntervalMs, () => {
      this.#running = this.#trim().then(() => this.#armTrim());
    });
  }

  async #commitAll(owners: readonly CursorOwner[]): Promise<void> {
    for (let i = 0; i < owners.length; i += COMMITS_TOGETHER)
      await Promise.all(owners.slice(i, i + COMMITS_TOGETHER).map((owner) => this.commit(owner)));
  }

  /** Live cursors move with the log and are committed here too: an owner that gets nothing must not hold it. */
  async #trim(): Promise<void> {
    const { storage, logger, shards, endOf } = this.#deps;
    const lowest = shards.ids.map((_, shard) => endOf(shard)); // before the cursors: an owner made meanwhile begins above
    await this.#commitAll([...this.#owners()]);
    for (const owner of this.#owners()) {
      const committed = this.#committed.get(owner);
      for (let shard = 0; shard < lowest.length; shard++)
        lowest[shard] = Math.min(lowest[shard] ?? 0, committed?.[shard] ?? 0); // C2
    }
    for (const [n, id] of shards.ids.entries()) {
      try {
        await storage.trim(id, (lowest[n] ?? 0) as Offset); // all were offsets
      } catch (error) {
        logger.warn({ shard: id, error: errorMessage(error) }, 'a message shard could not be trimmed');
      }
    }
  }
}
