// The reads a leader keeps until a quorum has confirmed that it still leads (ReadIndex, thesis §6.4).
//
// A read is confirmed by answers to heartbeats that were sent after it arrived. Heartbeats carry a token of the
// leader's own, which rises with every read; the asker's request id never does, so that a late answer to an earlier
// heartbeat cannot confirm a later read.
//
// Invariants:
//   Q1. Tokens rise, and belong to one term: the queue is made anew by every leader.
//   Q2. No read gets an index before the leader has committed an entry of its own term; until then it waits.
//   Q3. At most readsMax reads are kept.

import type { LogIndex, NodeId } from './types.js';

export interface ReadRequest {
  readonly from: NodeId;
  readonly requestId: number;
}

export interface ConfirmedRead extends ReadRequest {
  readonly index: LogIndex;
}

interface PendingRead extends ConfirmedRead {
  readonly token: number;
}

export class ReadQueue {
  readonly #readsMax: number;
  #waiting: ReadRequest[] = [];
  #pending: PendingRead[] = [];
  #token = 0;

  constructor(readsMax: number) {
    this.#readsMax = readsMax;
  }

  get isFull(): boolean {
    return this.#waiting.length + this.#pending.length >= this.#readsMax;
  }

  /** What heartbeats carry; 0 when nobody waits for an answer. */
  get tokenToConfirm(): number {
    return this.#pending.length > 0 ? this.#token : 0;
  }

  /** Keeps it until release(): the leader cannot know yet what was committed before its term. */
  hold(request: ReadRequest): void {
    this.#waiting.push(request);
  }

  /** Q2: the leader has committed in its own term; the held reads become pending at that index. False without any. */
  release(index: LogIndex): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) this.add(request, index);
    return waiting.length > 0;
  }

  add(request: ReadRequest, index: LogIndex): void {
    this.#token++;
    this.#pending.push({ ...request, index, token: this.#token });
  }

  /** All reads whose token is at or below what a quorum has answered. */
  confirmThrough(token: number): readonly ConfirmedRead[] {
    if (this.#pending.length === 0 || (this.#pending[0]?.token ?? 0) > token) return [];
    const confirmed = this.#pending.filter((read) => read.token <= token);
    this.#pending = this.#pending.filter((read) => read.token > token);
    return confirmed;
  }

  /** All that will never be confirmed, because the leader leads no more. */
  drain(): readonly ReadRequest[] {
    const all = [...this.#waiting, ...this.#pending];
    this.#waiting = [];
    this.#pending = [];
    return all;
  }
}
