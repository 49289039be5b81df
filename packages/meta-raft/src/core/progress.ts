// What a leader knows about one other member.
//
// Invariants:
//   P1. match < next.
//   P2. match never falls within a term. A peer that claims less has lost what it had acknowledged.
//   P3. A state's fields exist in that state only: leaving it forgets them.

import { assert } from '@robustmq/stdx/assert';
import { type InflightLimits, Inflights } from './inflights.js';
import type { LogIndex } from './types.js';

/**
 *   probe      where the logs part is unknown: one append at a time, until one is accepted
 *   replicate  the logs agree through `match`: appends are sent ahead of their answers, within a window
 *   snapshot   the peer needs what is compacted: nothing is sent until it has a state at `pendingIndex` or beyond
 */
export type ReplicationState =
  | { readonly kind: 'probe'; paused: boolean }
  | { readonly kind: 'replicate'; readonly inflights: Inflights; paused: boolean }
  | { readonly kind: 'snapshot'; readonly pendingIndex: LogIndex };

export class Progress {
  readonly #limits: InflightLimits;
  #match: LogIndex = 0;
  #next: LogIndex;
  #state: ReplicationState = { kind: 'probe', paused: false };
  /** The highest commit index any append to this peer has carried. */
  sentCommit: LogIndex = 0;
  /** Something was heard from the peer since the last check of the quorum. */
  recentlyActive = false;
  /** The highest read token the peer has answered. */
  readToken = 0;
  /** An append is due even when it carries nothing: an answered heartbeat ends every pause. */
  probeDue = false;

  constructor(next: LogIndex, limits: InflightLimits) {
    this.#next = next;
    this.#limits = limits;
  }

  get match(): LogIndex {
    return this.#match;
  }

  get next(): LogIndex {
    return this.#next;
  }

  get state(): ReplicationState {
    return this.#state;
  }

  get isPaused(): boolean {
    return this.#state.kind === 'snapshot' || this.#state.paused;
  }

  /** False for a repeated or overtaken answer. */
  accept(index: LogIndex): boolean {
    const advanced = index > this.#match;
    const { kind } = this.#state;
    if (advanced) {
      this.#match = index; // P2
      this.#next = Math.max(this.#next, index + 1);
      this.#resume();
    }
    if (this.#state.kind === 'replicate') {
      this.#state.inflights.freeThrough(index);
      this.#state.paused = this.#state.inflights.isFull;
    }
    // An append that was accepted at the point probed shows that the logs agree, also when nothing new was in it.
    if (kind === 'probe' && index === this.#match) this.becomeReplicate();
    this.#check();
    return advanced;
  }

  /** False when the answer is to a question that is no longer asked. */
  reject(rejectedIndex: LogIndex, nextIndex: LogIndex): boolean {
    if (this.#state.kind === 'snapshot') return false;
    if (this.#state.kind === 'replicate') {
      if (rejectedIndex <= this.#match) return false;
      // Some append before it was lost: what follows match is sent again, carefully.
      this.becomeProbe();
      return true;
    }
    if (this.#next - 1 !== rejectedIndex) return false;
    this.#next = Math.max(Math.min(rejectedIndex, nextIndex), this.#match + 1);
    this.#resume();
    this.#check();
    return true;
  }

  sent(entries: number, bytes: number, commitIndex: LogIndex): void {
    assert(this.#state.kind !== 'snapshot', 'nothing is appended while a snapshot is on its way');
    this.sentCommit = Math.max(this.sentCommit, commitIndex);
    this.probeDue = false;
    if (this.#state.kind === 'probe') {
      this.#state.paused = true;
      return;
    }
    if (entries > 0) {
      this.#next += entries;
      this.#state.inflights.add(this.#next - 1, bytes);
    }
    // Also after an empty append into a full window: it was the one probe of this pause.
    this.#state.paused = this.#state.inflights.isFull;
    this.#check();
  }

  /** The peer lives: whatever was waited for may have been lost. */
  heard(): void {
    this.recentlyActive = true;
    this.#resume();
  }

  becomeProbe(): void {
    this.#probeFrom(this.#match);
  }

  /** Whatever became of it, the next append waits for a sign of life: the peer is busy with it, or in trouble. */
  snapshotEnded(outcome: 'installed' | 'failed'): void {
    if (this.#state.kind !== 'snapshot') return;
    const { pendingIndex } = this.#state;
    this.#probeFrom(outcome === 'installed' ? Math.max(this.#match, pendingIndex) : this.#match).paused = true;
  }

  becomeReplicate(): void {
    this.#next = this.#match + 1;
    this.#state = { kind: 'replicate', inflights: new Inflights(this.#limits), paused: false };
    this.#check();
  }

  becomeSnapshot(pendingIndex: LogIndex): void {
    this.#state = { kind: 'snapshot', pendingIndex };
    this.#next = pendingIndex + 1;
    this.sentCommit = pendingIndex;
    this.#check();
  }

  #probeFrom(known: LogIndex): { paused: boolean } {
    const probe = { kind: 'probe' as const, paused: false };
    this.#state = probe; // P3
    this.#next = known + 1;
    // What was told of commits may have been lost with the rest.
    this.sentCommit = Math.min(this.sentCommit, known);
    this.#check();
    return probe;
  }

  #resume(): void {
    if (this.#state.kind !== 'snapshot') this.#state.paused = false;
  }

  #check(): void {
    assert(this.#match < this.#next, 'P1: what is sent next lies beyond what is known to be there');
  }
}
