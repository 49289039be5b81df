// The log of one node, in memory: everything that was not compacted, and how far each stage has come.
//
// Invariants:
//   G1. base <= applied <= applying <= commit <= last. (While a snapshot waits to be installed: commit = base
//       or beyond, and the two applied marks are behind it.)
//   G2. applying <= durable: what is applied here is durable here, so that a state never runs ahead of its log.
//   G3. durable <= written <= last.
//   G4. Entries are contiguous and their terms never fall.
//   G5. No entry at or below commit is ever replaced (Raft §5.4, state machine safety).

import { assert } from '@robustmq/stdx/assert';
import type { Entry, LogIndex, LogPosition, SnapshotMetadata, Term } from './types.js';

/** An entry costs more than its payload; empty ones are not free. */
const ENTRY_OVERHEAD_BYTES = 32;

export function entryBytes(entry: Entry): number {
  return entry.payload.length + ENTRY_OVERHEAD_BYTES;
}

export function totalBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

export interface RestoredLog {
  readonly base: LogPosition;
  readonly entries: readonly Entry[];
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
}

export class RaftLog {
  #base: LogPosition;
  /** #entries[i] has index #base.index + 1 + i. */
  readonly #entries: Entry[];
  #bytes: number;
  #written: LogIndex;
  #durable: LogIndex;
  #commit: LogIndex;
  #applying: LogIndex;
  #applied: LogIndex;
  #snapshot: { readonly metadata: SnapshotMetadata; handedOut: boolean } | undefined;

  constructor(restored: RestoredLog) {
    this.#base = { index: restored.base.index, term: restored.base.term };
    this.#entries = [...restored.entries];
    this.#bytes = totalBytes(this.#entries);
    this.#written = this.lastIndex;
    this.#durable = this.lastIndex;
    this.#commit = restored.commitIndex;
    this.#applying = restored.appliedIndex;
    this.#applied = restored.appliedIndex;
    let previous: LogPosition = this.#base;
    for (const entry of this.#entries) {
      assert(entry.index === previous.index + 1 && entry.term >= previous.term, 'G4: a log is contiguous');
      previous = entry;
    }
    this.#check();
  }

  get base(): LogPosition {
    return this.#base;
  }

  get firstIndex(): LogIndex {
    return this.#base.index + 1;
  }

  get lastIndex(): LogIndex {
    return this.#base.index + this.#entries.length;
  }

  get last(): LogPosition {
    const entry = this.#entries.at(-1);
    return entry ? { index: entry.index, term: entry.term } : this.#base;
  }

  get durableIndex(): LogIndex {
    return this.#durable;
  }

  get commitIndex(): LogIndex {
    return this.#commit;
  }

  get committed(): LogPosition {
    return { index: this.#commit, term: this.termAt(this.#commit) ?? this.#base.term };
  }

  get appliedIndex(): LogIndex {
    return this.#applied;
  }

  /** Of all entries that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  get pendingSnapshot(): SnapshotMetadata | undefined {
    return this.#snapshot?.metadata;
  }

  /** Undefined when the entry is compacted or not there. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.firstIndex]?.term;
  }

  holds(position: LogPosition): boolean {
    return this.termAt(position.index) === position.term;
  }

  /** Raft §5.4.1: the later last term wins, and with equal terms the longer log. */
  isUpToDate(other: LogPosition): boolean {
    const own = this.last;
    return other.term > own.term || (other.term === own.term && other.index >= own.index);
  }

  entryAt(index: LogIndex): Entry | undefined {
    return this.#entries[index - this.firstIndex];
  }

  /** Entries of [from, through], cut after bytesMax but never empty where there is one. */
  slice(from: LogIndex, through: LogIndex, bytesMax: number): Entry[] {
    assert(from >= this.firstIndex && through <= this.lastIndex, 'a slice lies within the log');
    const slice: Entry[] = [];
    let bytes = 0;
    for (let i = from - this.firstIndex; i <= through - this.firstIndex; i++) {
      const entry = this.#entries[i];
      assert(entry, 'a slice lies within the log');
      bytes += entryBytes(entry);
      if (slice.length > 0 && bytes > bytesMax) break;
      slice.push(entry);
    }
    return slice;
  }

  /** A leader's own: at the end. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1 && entry.term >= this.last.term, 'G4: an entry follows the last');
      this.#entries.push(entry);
      this.#bytes += entryBytes(entry);
    }
  }

  /**
   * A follower's: entries that follow `previous`, which the log holds. Replaces from the first entry that differs; what is
   * already there stays, also when it is longer than what came (a late or repeated request must not shorten a log).
   */
  merge(previous: LogPosition, entries: readonly Entry[]): void {
    assert(this.holds(previous), 'entries are merged where the logs agree');
    const firstNew = entries.findIndex((entry) => !this.holds(entry));
    const conflict = entries[firstNew];
    if (!conflict) return;
    assert(conflict.index > this.#commit, 'G5: a committed entry is never replaced');
    this.#truncateFrom(conflict.index);
    this.append(entries.slice(firstNew));
    this.#check();
  }

  /** The highest position at or below `index` whose term is at most `term`, so far as the log reaches back. */
  lastAtOrBelow(index: LogIndex, term: Term): LogPosition {
    for (let i = Math.min(index, this.lastIndex); i >= this.#base.index; i--) {
      const own = this.termAt(i) ?? 0;
      if (own <= term) return { index: i, term: own };
    }
    // Compacted: nothing is known of the terms before, and the leader needs to go back at least this far.
    return { index: Math.max(0, this.#base.index - 1), term: 0 };
  }

  commitTo(index: LogIndex): void {
    if (index <= this.#commit) return;
    assert(index <= this.lastIndex, `G1: commit ${index} lies within the log (last ${this.lastIndex})`);
    this.#commit = index;
  }

  /** The entries nobody has been asked to write yet. They count as written from now on. */
  takeUnwritten(): Entry[] {
    const entries = this.#written === this.lastIndex ? [] : this.#entries.slice(this.#written + 1 - this.firstIndex);
    this.#written = this.lastIndex;
    return entries;
  }

  takeSnapshot(): SnapshotMetadata | undefined {
    if (!this.#snapshot || this.#snapshot.handedOut) return undefined;
    this.#snapshot.handedOut = true;
    return this.#snapshot.metadata;
  }

  get hasUnwritten(): boolean {
    return this.#written < this.lastIndex || this.#snapshot?.handedOut === false;
  }

  /** Everything up to `position` is durable. The caller made sure that the write was not overtaken by another term. */
  durableTo(position: LogPosition): void {
    if (position.index <= this.#durable || !this.holds(position)) return;
    this.#durable = position.index;
    this.#check();
  }

  get hasCommitted(): boolean {
    return this.#applying === this.#applied && this.#applicable() > this.#applying;
  }

  /** The next entries to apply (G2); one slice at a time. */
  takeCommitted(bytesMax: number): Entry[] {
    if (!this.hasCommitted) return [];
    const entries = this.slice(this.#applying + 1, this.#applicable(), bytesMax);
    this.#applying += entries.length;
    this.#check();
    return entries;
  }

  appliedTo(index: LogIndex): void {
    assert(index >= this.#applied && index <= this.#applying, 'G1: what is applied was handed out for it');
    this.#applied = index;
  }

  /** Whether some entry in (from, through] is of kind membership. */
  hasMembershipBetween(from: LogIndex, through: LogIndex): boolean {
    for (let index = from + 1; index <= through; index++) {
      if (this.entryAt(index)?.kind === 'membership') return true;
    }
    return false;
  }

  /** The log gives way to a state that holds all of it up to the snapshot. */
  restore(metadata: SnapshotMetadata): void {
    assert(metadata.index > this.#commit, 'a snapshot replaces a log only when it is ahead of it');
    this.#entries.length = 0;
    this.#bytes = 0;
    this.#base = { index: metadata.index, term: metadata.term };
    this.#commit = metadata.index;
    this.#written = metadata.index;
    this.#durable = metadata.index;
    this.#snapshot = { metadata, handedOut: false };
    this.#check();
  }

  /** The state of the pending snapshot is in force, and durable. */
  snapshotInstalled(metadata: SnapshotMetadata): void {
    if (this.#snapshot?.metadata !== metadata) return;
    this.#snapshot = undefined;
    this.#applied = metadata.index;
    this.#applying = metadata.index;
    this.#check();
  }

  /**
   * Forgets entries up to `index`, or up to what is applied if that is less. The caller keeps a durable state that covers
   * them. Returns where the log begins now; undefined when nothing was forgotten.
   */
  compact(index: LogIndex): LogPosition | undefined {
    const through = Math.min(index, this.#applied, this.#durable);
    const term = this.termAt(through);
    if (through <= this.#base.index || term === undefined) return undefined;
    const gone = this.#entries.splice(0, through - this.#base.index);
    this.#bytes -= totalBytes(gone);
    this.#base = { index: through, term };
    this.#check();
    return this.#base;
  }

  #applicable(): LogIndex {
    return this.#snapshot ? this.#applying : Math.min(this.#commit, this.#durable);
  }

  #truncateFrom(index: LogIndex): void {
    if (index > this.lastIndex) return;
    const gone = this.#entries.splice(index - this.firstIndex);
    this.#bytes -= totalBytes(gone);
    this.#written = Math.min(this.#written, this.lastIndex);
    this.#durable = Math.min(this.#durable, this.lastIndex);
  }

  #check(): void {
    assert(this.#commit <= this.lastIndex && this.#base.index <= this.#commit, 'G1: commit lies within the log');
    assert(this.#durable <= this.#written && this.#written <= this.lastIndex, 'G3: durable, written and last rise');
    assert(this.#applied <= this.#applying && this.#applying <= this.#commit, 'G1: applied follows commit');
    if (this.#snapshot) return;
    assert(this.#base.index <= this.#applied, 'G1: what is compacted is applied');
    assert(this.#applying <= this.#durable, 'G2: what is applied is durable');
  }
}
