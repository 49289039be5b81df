// Linearizable reads: confirm that there is still a leader, learn how far it had committed, wait until the state is there.
//
// Invariants:
//   B1. One request is out at a time; reads that come meanwhile wait for the next. A read never joins a request that
//       was sent before it came.
//   B2. An answer counts for the request it names. An unanswered request is asked again under a new id.
//   B3. Waiting reads are bounded in number.

import type { ReadState } from '../core/ready.js';
import type { LogIndex } from '../core/types.js';
import { MetaError } from '../errors.js';
import type { Call } from './call.js';

/** A heartbeat to the leader's followers and back takes far less than this, or was lost. */
const TICKS_BEFORE_ASKING_AGAIN = 4;

interface AskedReads {
  readonly requestId: number;
  readonly calls: readonly Call<void>[];
  ticks: number;
}

interface ConfirmedReads {
  readonly index: LogIndex;
  readonly calls: readonly Call<void>[];
}

export class ReadBarriers {
  readonly #max: number;
  #waiting: Call<void>[] = [];
  #asked: AskedReads | undefined;
  #confirmed: ConfirmedReads[] = [];
  #requestId = 0;
  /** After a refusal, one tick of patience: who refused knows no leader, and will not know one at once. */
  #pause = 0;

  constructor(max: number) {
    this.#max = max;
  }

  enqueue(call: Call<void>): void {
    if (this.#waiting.length >= this.#max) {
      call.reject(new MetaError('OVERLOADED', `${this.#max} reads wait already. Retry after a pause.`)); // B3
      return;
    }
    this.#waiting.push(call);
  }

  /** The id to ask the core with; undefined when there is nothing to ask, or an answer is awaited (B1). */
  nextRequest(): number | undefined {
    if (this.#asked || this.#pause > 0) return undefined;
    const calls = this.#waiting.filter((call) => !call.isSettled);
    this.#waiting = [];
    if (calls.length === 0) return undefined;
    this.#requestId++;
    this.#asked = { requestId: this.#requestId, calls, ticks: 0 };
    return this.#requestId;
  }

  answered(read: ReadState, appliedIndex: LogIndex): void {
    const asked = this.#asked;
    if (asked?.requestId !== read.requestId) return; // B2
    this.#asked = undefined;
    if (read.index === undefined) {
      this.#waiting.unshift(...asked.calls);
      this.#pause = 1;
      return;
    }
    this.#confirmed.push({ index: read.index, calls: asked.calls });
    this.applied(appliedIndex);
  }

  /** A leader is known that was not before: who was refused need not wait any longer. */
  leaderKnown(): void {
    this.#pause = 0;
  }

  applied(appliedIndex: LogIndex): void {
    if (this.#confirmed.length === 0) return;
    this.#confirmed = this.#confirmed.filter((reads) => {
      if (reads.index > appliedIndex) return true;
      for (const call of reads.calls) call.resolve();
      return false;
    });
  }

  tick(): void {
    if (this.#pause > 0) this.#pause--;
    if (this.#asked && ++this.#asked.ticks >= TICKS_BEFORE_ASKING_AGAIN) {
      this.#waiting.unshift(...this.#asked.calls);
      this.#asked = undefined;
    }
  }

  expire(nowMs: number): void {
    for (const call of this.#all()) call.expire(nowMs, 'a leader confirmed the read');
  }

  fail(error: MetaError): void {
    for (const call of this.#all()) call.reject(error);
    this.#waiting = [];
    this.#asked = undefined;
    this.#confirmed = [];
  }

  /** Whether nextRequest() would ask now. A turn for reads that have to wait would be followed by the next at once, and so on. */
  get hasRequests(): boolean {
    return !this.#asked && this.#pause === 0 && this.#waiting.length > 0;
  }

  #all(): Call<void>[] {
    return [...this.#waiting, ...(this.#asked?.calls ?? []), ...this.#confirmed.flatMap((reads) => reads.calls)];
  }
}
