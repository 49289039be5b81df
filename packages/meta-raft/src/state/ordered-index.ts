import { assert } from '@robustmq/stdx/assert';
import { type KeyBytes, type KeyRange, SINGLE, UNBOUNDED } from './key-range.js';

/** A block is split in two beyond this: small enough to shift, large enough that a million keys are few blocks. */
const BLOCK_KEYS_MAX = 256;

/**
 * A map whose keys can be walked in order: a hash map for the lookup, and beside it the keys in sorted blocks.
 *
 * Measured against one sorted array (shifts the whole tail on insert) and against a tree of nodes (a pointer
 * chase per key): insertion in random order of 100,000 keys stays below 0.1 s, a walk is an array scan.
 *
 * Invariants:
 *   O1. No block is empty; within and across blocks keys rise strictly.
 *   O2. The blocks hold exactly the keys of the map.
 */
export class OrderedIndex<Value> {
  readonly #values = new Map<KeyBytes, Value>();
  #blocks: KeyBytes[][] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: KeyBytes): Value | undefined {
    return this.#values.get(key);
  }

  set(key: KeyBytes, value: Value): void {
    const before = this.#values.size;
    this.#values.set(key, value);
    if (this.#values.size > before) this.#insert(key);
  }

  delete(key: KeyBytes): boolean {
    if (!this.#values.delete(key)) return false;
    const at = this.#blockOf(key);
    const block = this.#block(at);
    const position = lowerBound(block, key);
    assert(block[position] === key, 'O2: a key of the map is in its block');
    block.splice(position, 1);
    if (block.length === 0) this.#blocks.splice(at, 1); // O1
    return true;
  }

  /** Visits the values of a range in key order until the visitor answers 'stop'. The index must not change meanwhile. */
  walk(range: KeyRange, visit: (value: Value, key: KeyBytes) => 'go-on' | 'stop'): void {
    if (range.end === SINGLE) {
      const value = this.#values.get(range.key);
      if (value !== undefined) visit(value, range.key);
      return;
    }
    if (this.#blocks.length === 0) return;
    let at = this.#blockOf(range.key);
    let position = lowerBound(this.#block(at), range.key);
    for (; at < this.#blocks.length; at++, position = 0) {
      const block = this.#block(at);
      for (; position < block.length; position++) {
        const key = block[position] as KeyBytes; // position < length
        if (range.end !== UNBOUNDED && key >= range.end) return;
        if (visit(this.#values.get(key) as Value, key) === 'stop') return; // O2
      }
    }
  }

  #insert(key: KeyBytes): void {
    if (this.#blocks.length === 0) {
      this.#blocks.push([key]);
      return;
    }
    const at = this.#blockOf(key);
    const block = this.#block(at);
    // Keys that arrive in order are the common case at start-up: no search, no shift.
    if (key > (block[block.length - 1] as KeyBytes))
      block.push(key); // O1: never empty
    else block.splice(lowerBound(block, key), 0, key);
    if (block.length > BLOCK_KEYS_MAX) this.#blocks.splice(at + 1, 0, block.splice(block.length >> 1));
  }

  /** The last block that begins at or below the key; the first when there is none. */
  #blockOf(key: KeyBytes): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#block(middle)[0] as KeyBytes) <= key)
        low = middle; // O1: never empty
      else high = middle - 1;
    }
    return low;
  }

  #block(at: number): KeyBytes[] {
    const block = this.#blocks[at];
    assert(block !== undefined, 'a block is looked up within the blocks');
    return block;
  }
}

/** The first position whose key is not below `key`. */
function lowerBound(block: readonly KeyBytes[], key: KeyBytes): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((block[middle] as KeyBytes) < key)
      low = middle + 1; // middle < length
    else high = middle;
  }
  return low;
}
