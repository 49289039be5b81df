// Which messages arrived, how often, and in which order, per stream: one publisher as one subscriber sees it.
//
// Memory is a number per stream while messages come in order. Only sequences that were skipped are kept one by one,
// at most KEPT_GAPS_MAX of them; a message that fills a gap beyond that counts as a duplicate.

const KEPT_GAPS_MAX = 500_000;

export type FirstMessage = 'is zero' | 'is whatever comes first';

export class SequenceAudit {
  /** Per stream: the highest sequence seen, plus one. */
  readonly #next: Float64Array;
  readonly #skipped = new Map<number, Set<number>>();
  #skippedCount = 0;
  unique = 0;
  duplicates = 0;
  /** Seen for the first time after a higher one. */
  outOfOrder = 0;
  /** Skipped and not seen since. */
  missing = 0;

  constructor(streams: number, first: FirstMessage) {
    this.#next = new Float64Array(streams).fill(first === 'is zero' ? 0 : Number.NaN);
  }

  /** Takes note of a message; says whether it is the first of its sequence in that stream. */
  record(stream: number, sequence: number): 'first' | 'repeated' {
    const next = this.#next[stream] as number; // the caller stays below `streams`
    if (sequence === next) {
      this.#next[stream] = sequence + 1;
      this.unique++;
      return 'first';
    }
    return this.#recordOddly(stream, { sequence, next });
  }

  #recordOddly(stream: number, { sequence, next }: { sequence: number; next: number }): 'first' | 'repeated' {
    if (Number.isNaN(next) || sequence > next) {
      if (sequence > next) this.#skip(stream, { from: next, to: sequence });
      this.#next[stream] = sequence + 1;
      this.unique++;
      return 'first';
    }
    if (this.#skipped.get(stream)?.delete(sequence) !== true) {
      this.duplicates++;
      return 'repeated';
    }
    this.#skippedCount--;
    this.missing--;
    this.outOfOrder++;
    this.unique++;
    return 'first';
  }

  #skip(stream: number, { from, to }: { from: number; to: number }): void {
    this.missing += to - from;
    const kept = Math.min(to - from, KEPT_GAPS_MAX - this.#skippedCount);
    if (kept <= 0) return;
    const skipped = this.#skipped.get(stream) ?? new Set();
    this.#skipped.set(stream, skipped);
    for (let sequence = to - kept; sequence < to; sequence++) skipped.add(sequence); // the newest may still come
    this.#skippedCount += kept;
  }
}
