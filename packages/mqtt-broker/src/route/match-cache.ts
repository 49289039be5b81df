/**
 * A bounded map for results that can be found again. Two generations of half the size each: what is asked
 * for moves to the young one, and when that is full the old one is dropped whole. Unlike the eviction of
 * single entries from a Map, which leaves holes that every look for the oldest must step over, this costs
 * nothing per entry.
 *
 * The size is a sum of weights, so that a few results with many receivers count as much as they hold. One
 * result above half the size is still kept, alone in its generation.
 */
export class MatchCache<Result extends { readonly weight: number }> {
  readonly #youngMax: number;
  #young = new Map<string, Result>();
  #youngWeight = 0;
  #old = new Map<string, Result>();

  constructor(weightMax: number) {
    this.#youngMax = Math.max(1, weightMax >> 1);
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
    const replaced = this.#young.get(key);
    if (replaced !== undefined) this.#youngWeight -= replaced.weight;
    else if (this.#youngWeight + result.weight > this.#youngMax && this.#young.size > 0) this.#turnOver();
    this.#young.set(key, result);
    this.#youngWeight += result.weight;
  }

  delete(key: string): void {
    const young = this.#young.get(key);
    if (young !== undefined) this.#youngWeight -= young.weight;
    this.#young.delete(key);
    this.#old.delete(key);
  }

  #turnOver(): void {
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngWeight = 0;
  }
}
