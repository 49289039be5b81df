import type { Entry, HardState, LogPosition } from '../core/types.js';
import type { GroupId } from '../driver/group-id.js';
import type { LogPart } from './log-frame.js';

const FRESH: HardState = { term: 0, votedFor: undefined, commitIndex: 0 };

/**
 * One group's log as it is on disk, and in which frame of the write-ahead log each entry lies. The entries are the
 * core's own objects: the mirror costs two array slots per entry.
 *
 * Invariants:
 *   M1. Entries are contiguous; when the base is known, the first is base.index + 1.
 *   M2. #sequences[i] is the frame that entry i was last written in; they never go down.
 */
export class LogMirror {
  readonly group: GroupId;
  #base: LogPosition | undefined;
  #entries: Entry[] = [];
  #sequences: number[] = [];
  #bytes = 0;
  hardState: HardState = FRESH;

  /** `base` is undefined when the log is replayed from its middle: a base frame that follows says it. */
  constructor(group: GroupId, base: LogPosition | undefined) {
    this.group = group;
    this.#base = base;
  }

  get base(): LogPosition | undefined {
    return this.#base;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Of the payloads. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest frame that is needed for an entry; undefined when there is no entry. */
  get firstSequence(): number | undefined {
    return this.#sequences[0];
  }

  /** Throws RangeError when the part does not fit the log: never from the driver, only from a damaged file. */
  apply(part: LogPart, sequence: number): void {
    if (part.reset) {
      this.#cut(0);
      this.#base = part.reset;
    }
    if (part.base) this.#forget(part.base);
    const [first] = part.entries;
    if (first) this.#append(part.entries, first, sequence);
    if (part.hardState) this.hardState = part.hardState;
  }

  #append(entries: readonly Entry[], first: Entry, sequence: number): void {
    const from = this.#entries[0]?.index ?? (this.#base ? this.#base.index + 1 : first.index);
    const keep = first.index - from;
    if (keep < 0 && this.#base)
      throw new RangeError(`entry ${first.index} lies before the log, which begins at ${from}`);
    if (keep > this.#entries.length) {
      throw new RangeError(`entry ${first.index} follows entry ${from + this.#entries.length - 1}`);
    }
    this.#cut(Math.max(0, keep));
    for (const entry of entries) {
      this.#entries.push(entry);
      this.#sequences.push(sequence);
      this.#bytes += entry.payload.length;
    }
  }

  /** Keeps the first `count` entries. */
  #cut(count: number): void {
    for (const entry of this.#entries.splice(count)) this.#bytes -= entry.payload.length;
    this.#sequences.length = count;
  }

  #forget(through: LogPosition): void {
    const first = this.#entries[0]?.index ?? through.index + 1;
    if (first > through.index + 1) {
      // An earlier compaction's base, written after entries that a later one kept: the later one's base is still to come.
      if (!this.#base) return;
      throw new RangeError(`the log begins at ${first}, its base is ${through.index}`); // M1
    }
    const gone = Math.min(this.#entries.length, through.index + 1 - first);
    for (const entry of this.#entries.splice(0, gone)) this.#bytes -= entry.payload.length;
    this.#sequences.splice(0, gone);
    this.#base = through;
  }
}
