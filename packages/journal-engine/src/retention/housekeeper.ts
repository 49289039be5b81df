// The rounds over all shards: roll by age, retention, compaction.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { ShardHandle, ShardMap } from '../shard/shard-map.js';
import type { Roller } from '../writer/roller.js';
import type { Compactor } from './compactor.js';
import type { ShardTrimmer } from './shard-trimmer.js';

export interface HousekeeperOptions {
  readonly retentionIntervalMs: number;
  readonly segmentAgeMs: number;
  readonly compactSegmentAgeMs: number;
}

export interface HousekeeperDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly shards: ShardMap;
  readonly roller: Roller;
  readonly trimmer: ShardTrimmer;
  readonly compactor: Compactor;
}

export class Housekeeper {
  readonly #deps: HousekeeperDeps;
  readonly #options: HousekeeperOptions;
  #timer: Timer | undefined;
  #round: Promise<void> = Promise.resolve();

  constructor(options: HousekeeperOptions, deps: HousekeeperDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(): void {
    this.#timer = this.#deps.clock.setTimer(this.#options.retentionIntervalMs, () => {
      void this.runOnce().then(() => this.start());
    });
  }

  /** Waits for the round that is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#round;
    this.#timer?.cancel();
  }

  runOnce(): Promise<void> {
    this.#round = this.#round.then(() => this.#runOnce());
    return this.#round;
  }

  async #runOnce(): Promise<void> {
    for (const handle of [...this.#deps.shards.all()]) {
      try {
        await this.#rollByAge(handle);
        await this.#deps.trimmer.enforce(handle);
        await this.#deps.compactor.compactIfDirty(handle);
      } catch (error) {
        this.#deps.logger.warn({ shard: handle.log.id }, `retention waits: ${errorMessage(error)}`);
      }
    }
  }

  /** Files go, and compaction works, by closed segments: one that has records is closed when it is old enough. */
  async #rollByAge({ log }: ShardHandle): Promise<void> {
    const { segmentAgeMs, compactSegmentAgeMs } = this.#options;
    const { cleanup, retentionMs } = log.config;
    const ageMsMax = cleanup === 'compact' ? compactSegmentAgeMs : Math.min(segmentAgeMs, retentionMs ?? segmentAgeMs);
    const { active } = log;
    if (active.isEmpty || this.#deps.clock.now() - active.openedAtMs < ageMsMax) return;
    await this.#deps.roller.prepare(log);
    log.roll();
  }
}
