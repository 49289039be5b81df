// The appends of one shard on their way to an external engine.
//
// Invariants:
//   A1. One group is under way; what is appended meanwhile is the next group, one step of the engine.
//   A2. A group that is sent again carries the same attempt, so that the engine does it once: a lost answer is no
//       lost or doubled record.
//   A3. Appends settle in the order they came (S4).

import type { Backoff } from '@robustmq/stdx/backoff';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { StorageError } from '../errors.js';
import type { Offset, ShardId } from '../record.js';
import type { AppendResult } from '../shard-storage.js';
import type { AppendOutcome, ExternalEngine, GroupedAppend } from './external-engine.js';

/** One group: an engine holds it in memory as a whole. A single larger append is a group of its own. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
const GROUP_RECORDS_MAX = 65_536;

interface WaitingAppend extends GroupedAppend {
  readonly bytes: number;
  resolve(result: AppendResult): void;
  reject(error: unknown): void;
}

export interface AppendLaneDeps {
  readonly engine: ExternalEngine;
  readonly clock: Clock;
  /** Identifies this instance among all that write to the engine. */
  readonly writer: string;
  readonly giveUpMs: number;
  readonly newBackoff: () => Backoff;
  readonly onEnd: (shard: ShardId, end: Offset) => void;
  /** Told when bytes are no longer waiting. */
  readonly onSettled: (bytes: number) => void;
}

export class AppendLane {
  readonly #shard: ShardId;
  readonly #deps: AppendLaneDeps;
  #waiting: WaitingAppend[] = [];
  #sequence = 0;
  #running: Promise<void> | undefined;

  constructor(shard: ShardId, deps: AppendLaneDeps) {
    this.#shard = shard;
    this.#deps = deps;
  }

  append(append: GroupedAppend, bytes: number): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...append, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when everything that was accepted is settled. */
  async drain(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // In a later turn: what is appended in this one goes into one group.
    await new Promise<void>((resolve) => this.#deps.clock.setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        this.#settle(group, await this.#send(group));
      } catch (error) {
        this.#countOut(group);
        for (const { reject } of group) reject(error);
      }
    }
    this.#running = undefined;
  }

  #takeGroup(): WaitingAppend[] {
    const group: WaitingAppend[] = [];
    let bytes = 0;
    let records = 0;
    for (const append of this.#waiting) {
      bytes += append.bytes;
      records += append.records.length;
      if (group.length > 0 && (bytes > GROUP_BYTES_MAX || records > GROUP_RECORDS_MAX)) break;
      group.push(append);
    }
    this.#waiting.splice(0, group.length);
    return group;
  }

  /** Until the engine answers or it has been silent for too long. */
  async #send(group: readonly WaitingAppend[]): Promise<readonly AppendOutcome[]> {
    const { engine, clock, writer, giveUpMs, newBackoff } = this.#deps;
    const attempt = { writer, sequence: ++this.#sequence };
    const backoff = newBackoff();
    const giveUpAtMs = clock.now() + giveUpMs;
    let isUnknown = false;
    for (;;) {
      try {
        return await engine.appendGroup(this.#shard, group, attempt); // A2
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        isUnknown ||= error.code === 'UNKNOWN_OUTCOME';
        if (error.code !== 'UNAVAILABLE' && error.code !== 'UNKNOWN_OUTCOME') throw error;
        if (clock.now() >= giveUpAtMs) throw givenUp({ engine, error, giveUpMs, isUnknown });
        await new Promise<void>((resolve) => clock.setTimer(backoff.nextDelayMs(), resolve));
      }
    }
  }

  #settle(group: readonly WaitingAppend[], outcomes: readonly AppendOutcome[]): void {
    this.#countOut(group);
    let end = -1;
    group.forEach(({ resolve, reject }, i) => {
      const outcome = outcomes[i];
      if (outcome?.kind === 'appended') {
        end = Math.max(end, outcome.result.lastOffset + 1);
        resolve(outcome.result); // A3
      } else
        reject(outcome?.error ?? new StorageError('FAILED', `${this.#deps.engine.name} left an append unanswered`));
    });
    if (end >= 0) this.#deps.onEnd(this.#shard, end as Offset); // behind an offset
  }

  /** Before anyone is told: who hears that an append is settled may append again at once. */
  #countOut(group: readonly WaitingAppend[]): void {
    this.#deps.onSettled(group.reduce((sum, { bytes }) => sum + bytes, 0));
  }
}

function givenUp(last: {
  readonly engine: ExternalEngine;
  readonly error: StorageError;
  readonly giveUpMs: number;
  readonly isUnknown: boolean;
}): StorageError {
  const { engine, error, giveUpMs, isUnknown } = last;
  const text = `${engine.name} has not answered for ${giveUpMs} ms: ${errorMessage(error)}`;
  return isUnknown
    ? new StorageError('UNKNOWN_OUTCOME', `${text}; the append may have been done`, { cause: error })
    : new StorageError('UNAVAILABLE', text, { cause: error });
}
