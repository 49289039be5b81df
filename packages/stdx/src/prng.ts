// Chance as an argument.

import { assert } from './assert.js';

export interface Prng {
  /** A number in [0, 1). */
  next(): number;
  /** A whole number in [low, high]. */
  between(low: number, high: number): number;
  /** True with the given probability in [0, 1]. */
  chance(probability: number): boolean;
  /** One of a non-empty list. */
  pick<T>(list: readonly T[]): T;
  /** An independent generator: one more consumer does not shift the numbers of the others. */
  fork(label: string): Prng;
}

/** A seeded generator (xoshiro128**, Blackman and Vigna 2018). Not for secrets. */
export function createPrng(seed: number | string): Prng {
  return new Xoshiro128(seed);
}

class Xoshiro128 implements Prng {
  readonly #seed: string;
  readonly #state = new Uint32Array(4);

  constructor(seed: number | string) {
    this.#seed = String(seed);
    // FNV-1a over the seed, then SplitMix32 to fill the state; the state must not be all zero.
    let hash = 0x811c9dc5;
    for (let i = 0; i < this.#seed.length; i++) {
      hash = Math.imul(hash ^ this.#seed.charCodeAt(i), 0x01000193);
    }
    for (let i = 0; i < 4; i++) {
      hash = (hash + 0x9e3779b9) | 0;
      let word = hash ^ (hash >>> 16);
      word = Math.imul(word, 0x21f0aaad);
      word ^= word >>> 15;
      word = Math.imul(word, 0x735a2d97);
      this.#state[i] = word ^ (word >>> 15);
    }
    this.#state[0] = (this.#state[0] ?? 0) | 1;
  }

  next(): number {
    const s = this.#state as Uint32Array & Record<0 | 1 | 2 | 3, number>; // always four words
    const rotated = Math.imul(s[1], 5);
    const result = Math.imul((rotated << 7) | (rotated >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result / 2 ** 32;
  }

  between(low: number, high: number): number {
    assert(low <= high, 'a range is not empty');
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    assert(list.length > 0, 'a choice needs something to choose from');
    return list[this.between(0, list.length - 1)] as T; // the index is within the list
  }

  fork(label: string): Prng {
    return new Xoshiro128(`${this.#seed}/${label}`);
  }
}
