// Opens the next segment of a shard before it is needed and closes the last one behind it, both in meta and
// both off the append path.
//
// Invariants:
//   R1. A segment takes batches only when meta has its epoch for this shard (as prepared or open).
//   R2. A segment is closed in meta only when all its batches are durable; then its end never changes.
//   R3. While meta is away the current segment goes on (to four times its size) and the change is retried.

import type { Backoff } from '@robustmq/stdx/backoff';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { JournalError } from '../errors.js';
import type { Replica, SegmentRecord } from '../registry/records.js';
import type { Segment } from '../segment/segment.js';
import type { ShardLog } from '../shard/shard-log.js';
import type { ShardHandle, ShardMap } from '../shard/shard-map.js';
import type { EngineState } from './engine-state.js';

export interface RollerDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly shards: ShardMap;
  readonly state: EngineState;
  readonly replica: Replica;
  readonly newBackoff: () => Backoff;
  /** A segment became closed; whoever compacts may look at it. */
  readonly onClosed: (handle: ShardHandle) => void;
}

export class Roller {
  readonly #deps: RollerDeps;
  readonly #preparing = new Set<ShardLog>();
  readonly #pauses = new Set<() => void>();
  #stopped = false;
  rolls = 0;

  constructor(deps: RollerDeps) {
    this.#deps = deps;
  }

  /** What waits for meta is given up: the next start finds it undone and does it. */
  stop(): void {
    this.#stopped = true;
    for (const end of this.#pauses) end();
  }

  /** Registers the shard's next segment. Resolves when it may be used or never will be. */
  async prepare(log: ShardLog): Promise<void> {
    const handle = this.#deps.shards.handleOf(log);
    if (!handle || log.preparedEpoch !== undefined || this.#preparing.has(log)) return;
    this.#preparing.add(log);
    try {
      let epoch = 0;
      const outcome = await this.#retried(handle, () =>
        handle.registration.change((record) => {
          epoch = record.epoch + 1;
          return { to: { ...record, epoch }, put: [this.#prepared(epoch)], drop: [], tombstones: [] };
        }),
      );
      if (outcome === 'done') log.preparedEpoch = epoch; // R1
    } finally {
      this.#preparing.delete(log);
    }
  }

  /** Closes a sealed segment in meta and opens the one behind it (R2). */
  async close(log: ShardLog, segment: Segment): Promise<void> {
    const handle = this.#deps.shards.handleOf(log);
    const next = log.segments[log.segments.indexOf(segment) + 1];
    if (!handle || !next) return;
    const put = [closedRecord(segment, this.#deps.replica), this.#open(next)];
    const outcome = await this.#retried(handle, () =>
      handle.registration.change((record) => ({ to: record, put, drop: [], tombstones: [] })),
    );
    if (outcome === 'given up') return;
    segment.state = 'closed';
    this.rolls++;
    this.#deps.onClosed(handle);
  }

  #prepared(epoch: number): SegmentRecord {
    return { epoch, state: 'prepared', base: 0, generation: 0, replicas: [this.#deps.replica] };
  }

  #open({ epoch, baseOffset, generation }: Segment): SegmentRecord {
    return { epoch, state: 'open', base: baseOffset, generation, replicas: [this.#deps.replica] };
  }

  /** Until it worked, the shard is gone or taken over, or the engine stops (R3). */
  async #retried({ log }: ShardHandle, act: () => Promise<void>): Promise<'done' | 'given up'> {
    const backoff = this.#deps.newBackoff();
    while (!this.#stopped && !log.isDeleted && !this.#deps.state.failed) {
      try {
        await act();
        return 'done';
      } catch (error) {
        if (error instanceof JournalError && error.code === 'FENCED') {
          this.#deps.logger.error({ shard: log.id }, errorMessage(error));
          log.fence(error);
          return 'given up';
        }
        this.#deps.logger.warn({ shard: log.id }, `segment change waits for meta: ${errorMessage(error)}`);
      }
      await this.#pause(backoff.nextDelayMs());
    }
    return 'given up';
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.setTimer(delayMs, () => end());
      const end = () => {
        timer.cancel();
        this.#pauses.delete(end);
        resolve();
      };
      this.#pauses.add(end);
      if (this.#stopped) end();
    });
  }
}

/** What meta keeps of a closed segment for ever. */
export function closedRecord(segment: Segment, replica: Replica): SegmentRecord {
  return {
    epoch: segment.epoch,
    state: 'closed',
    base: segment.baseOffset,
    end: segment.endOffset,
    bytes: segment.bytes,
    digest: segment.digest,
    generation: segment.generation,
    replicas: [replica],
    ...(segment.firstTimestampMs === undefined ? {} : { firstTimestampMs: segment.firstTimestampMs }),
    lastTimestampMs: segment.lastTimestampMs,
  };
}
