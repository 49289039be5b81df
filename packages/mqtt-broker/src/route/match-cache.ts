/**
 * A bounded map for results that can be found again. Two generations of half the size each: what is asked
 * for moves to the young one, and when that is full the old one is dropped whole. Unlike the eviction of
 * single entries from a Map, which leaves holes that every look for the oldest must step over, this costs
 * nothing per entry.
 */
export class MatchCache<Result> {
  readonly #youngMax: number;
  #young = new Map<string, Result>();
  #old = new Map<string, Result>();

  constructor(entriesMax: number) {
    this.#youngMax = Math.max(1, entriesMax >> 1);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): Result | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#old.delete(key);
    this.set(key, old);
    return old;
  }

  set(key: string, result: Result): void {
    if (this.#young.size >= this.#youngMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, result);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
