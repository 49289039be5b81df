import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Replication } from '../driver/replication.js';
import type { CommandResult } from '../state/command.js';
import { encodeCommand } from '../state/command-codec.js';
import type { VersionStore } from '../state/version-store.js';

export interface HistoryOptions {
  /** Revisions older than this are forgotten, milliseconds. */
  readonly keepMs: number;
  /** More revisions than this are not kept, however young. */
  readonly revisionsMax: number;
}

export interface HistoryCompactorDeps {
  readonly replication: Replication<CommandResult>;
  readonly versions: () => VersionStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Samples per keepMs: how exactly the age is known. */
const SAMPLES = 10;
/** Forgotten by one command at most: applying it then stays in the order of milliseconds. */
const REVISIONS_PER_COMMAND = 5_000;

interface Sample {
  readonly timeMs: number;
  readonly revision: number;
}

/** Keeps the history of the keys short: the leader proposes, from time to time, what to forget. */
export class HistoryCompactor {
  readonly #options: HistoryOptions;
  readonly #deps: HistoryCompactorDeps;
  readonly #unsubscribe: () => void;
  #samples: Sample[] = [];
  #timer: Timer | undefined;
  #term: number | undefined;

  constructor(options: HistoryOptions, deps: HistoryCompactorDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#unsubscribe = deps.replication.onLeadership((leadership) => {
      this.#term = leadership.role === 'leader' ? leadership.term : undefined;
    });
    this.#arm();
  }

  close(): void {
    this.#unsubscribe();
    this.#timer?.cancel();
  }

  #arm(): void {
    this.#timer = this.#deps.clock.setTimer(this.#options.keepMs / SAMPLES, () => {
      this.#arm();
      this.#sample();
      void this.#compact(this.#due());
    });
  }

  /** On followers too, so that a new leader knows the ages at once. */
  #sample(): void {
    const { clock, versions } = this.#deps;
    this.#samples.push({ timeMs: clock.now(), revision: versions().revision });
    if (this.#samples.length > SAMPLES + 1) this.#samples.shift();
  }

  /** The revision before which everything is old enough or too much. */
  #due(): number {
    const now = this.#deps.clock.now();
    const old = this.#samples.findLast((sample) => sample.timeMs <= now - this.#options.keepMs);
    return Math.max(old?.revision ?? 0, this.#deps.versions().revision - this.#options.revisionsMax);
  }

  async #compact(upTo: number): Promise<void> {
    const { replication, versions, clock, logger } = this.#deps;
    while (this.#term !== undefined && versions().compactedRevision < upTo) {
      const from = versions().compactedRevision;
      const body = { kind: 'compact', revision: Math.min(upTo, from + REVISIONS_PER_COMMAND) } as const;
      try {
        const command = encodeCommand({ timeMs: clock.wallTime(), identity: undefined, body });
        await replication.propose(command, { onlyInTerm: this.#term });
      } catch (error) {
        logger.debug({ err: error }, 'history was not compacted; it is tried again later');
        return;
      }
      if (versions().compactedRevision <= from) return; // rejected: nothing would move the next time either
    }
  }
}
