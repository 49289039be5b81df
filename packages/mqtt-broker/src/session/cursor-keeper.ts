// Cursors of durable sessions: committed lazily and together, because a cursor that lags costs a repeated
// delivery after a crash and nothing else.
//
//   consumer group  mqtt/<tenant>/sessions/<clientId>   offsets by message shard
//
// Invariants:
//   C1. A committed cursor is never above what is in flight: a crash repeats, it does not lose.
//   C2. A message shard is trimmed only below every durable session's committed cursor.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { DurableDelivery } from '../deliver/durable-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { Session } from './session.js';

export interface CursorKeeperDeps {
  readonly storage: ShardStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: ResolvedEngineOptions;
  /** What else is due in this interval; must not reject. */
  readonly afterCommit: () => Promise<void>;
  /** The end of what was handed out of a shard. */
  readonly endOf: (shard: number) => number;
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
  #moved = new Set<Session>();
  /** What was committed, by session: only a difference is written. */
  readonly #committed = new WeakMap<Session, number[]>();
  #sessions: () => Iterable<Session> = () => [];
  #commitTimer: Timer | undefined;
  #trimTimer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(deps: CursorKeeperDeps) {
    this.#deps = deps;
  }

  start(sessions: () => Iterable<Session>): void {
    this.#sessions = sessions;
    this.#state = 'open';
    this.#armCommit();
    this.#armTrim();
  }

  /** Called for every ack: cheap. */
  moved(session: Session): void {
    if (session.cursor === 'moved') return;
    session.cursor = 'moved';
    this.#moved.add(session);
  }

  /** Where a session goes on reading; where it began when nothing was committed since. */
  async committed(clientId: string, beginnings: readonly number[]): Promise<number[]> {
    const { ids, starts, ends } = this.#deps.shards;
    const found = new Map(
      (await this.#deps.storage.committedOffsets(this.#group(clientId))).map((at) => [at.shard, at.offset]),
    );
    return ids.map((id, n) => {
      const lowest = Math.max(starts[n] ?? 0, beginnings[n] ?? 0);
      // Beyond the end: the log lost its newest part (a driver of bounded loss), and goes on from its end.
      return Math.min(Math.max(found.get(id) ?? 0, lowest), ends[n] ?? 0);
    });
  }

  /** Commits one session's cursor now. Errors are logged: the cursor then lags, which is legal (C1). */
  async commit(session: Session): Promise<void> {
    const { delivery, clientId } = session;
    if (!(delivery instanceof DurableDelivery) || session.state === 'ended') return;
    this.#moved.delete(session);
    session.cursor = 'committed';
    const before = this.#committed.get(session);
    const now = this.#deps.shards.ids.map((_, shard) => delivery.cursor(shard));
    const offsets = this.#deps.shards.ids
      .map((shard, n) => ({ shard, offset: now[n] as Offset })) // one per shard
      .filter(({ offset }, n) => before === undefined || before[n] !== offset);
    if (offsets.length === 0) return;
    try {
      await this.#deps.storage.commitOffsets(this.#group(clientId), offsets);
      this.#committed.set(session, now);
      delivery.committed(now);
    } catch (error) {
      this.moved(session);
      this.#deps.logger.warn({ clientId, error: errorMessage(error) }, 'a cursor could not be committed; trying again');
    }
  }

  /** What was read when the session was restored counts as committed. */
  restored(session: Session, cursors: readonly number[]): void {
    this.#committed.set(session, [...cursors]);
  }

  async forget(session: Session): Promise<void> {
    this.#moved.delete(session);
    if (session.lifetime === 'durable') await this.#deps.storage.deleteGroup(this.#group(session.clientId));
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    this.#commitTimer?.cancel();
    this.#trimTimer?.cancel();
    await this.#running;
    await this.#commitAll([...this.#moved]);
  }

  #group(clientId: string): string {
    return `mqtt/${this.#deps.options.tenant}/sessions/${clientId}`;
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

  async #commitAll(sessions: readonly Session[]): Promise<void> {
    for (let i = 0; i < sessions.length; i += COMMITS_TOGETHER)
      await Promise.all(sessions.slice(i, i + COMMITS_TOGETHER).map((session) => this.commit(session)));
  }

  /** Live cursors move with the log and are committed here too: a session that gets nothing must not hold it. */
  async #trim(): Promise<void> {
    const { storage, logger, shards } = this.#deps;
    const lowest: (number | undefined)[] = shards.ids.map(() => undefined);
    const ends = shards.ids.map((_, shard) => this.#deps.endOf(shard)); // before the cursors: a session made meanwhile begins above
    await this.#commitAll([...this.#sessions()].filter(({ lifetime }) => lifetime === 'durable'));
    for (const session of this.#sessions()) {
      if (session.lifetime !== 'durable') continue;
      const committed = this.#committed.get(session);
      for (let shard = 0; shard < lowest.length; shard++)
        lowest[shard] = Math.min(lowest[shard] ?? Number.MAX_SAFE_INTEGER, committed?.[shard] ?? 0);
    }
    for (const [n, id] of shards.ids.entries()) {
      try {
        await storage.trim(id, (lowest[n] ?? ends[n] ?? 0) as Offset); // C2; all were offsets
      } catch (error) {
        logger.warn({ shard: id, error: errorMessage(error) }, 'a message shard could not be trimmed');
      }
    }
  }
}
