// Topic filters, each with a value, found by the topic names they match (MQTT5 §4.7).
//
//   T1. Filters without a wildcard are kept in a map by their text: most subscriptions are such, and
//       a topic that only they match costs one look-up.
//   T2. The others form a trie, one node per level. A match carries a frontier of nodes from level to
//       level: no recursion, no backtracking, no regular expression. Its work is bounded by the nodes
//       that agree with the topic so far, and its depth by the levels that filters may have.
//   T3. A filter starting with a wildcard does not match a name starting with `$` [MQTT-4.7.2-1].
//   T4. `a/#` matches `a` (§4.7.1.2). An empty level is a level: `/a` has two.
//
// Level names are keys of Maps, so no name a client chooses means anything to the language.

import { endOfLevel, hasWildcard } from './topic-filter.js';

/** Filters are valid (topic-filter.ts); a filter has one value. */
export class TopicTrie<Value> {
  readonly #exact = new Map<string, Value>(); // T1
  readonly #root = new TrieNode<Value>();
  #wildcards = 0;
  // Reused by every match: the frontier of this level and of the next.
  #frontier: TrieNode<Value>[] = [];
  #next: TrieNode<Value>[] = [];

  get size(): number {
    return this.#exact.size + this.#wildcards;
  }

  get(filter: string): Value | undefined {
    if (!hasWildcard(filter)) return this.#exact.get(filter);
    let node: TrieNode<Value> | undefined = this.#root;
    for (let at = 0; node !== undefined && at <= filter.length; ) {
      const end = endOfLevel(filter, at);
      node = node.child(filter.slice(at, end));
      at = end + 1;
    }
    return node?.value;
  }

  set(filter: string, value: Value): void {
    if (!hasWildcard(filter)) {
      this.#exact.set(filter, value);
      return;
    }
    let node = this.#root;
    for (let at = 0; at <= filter.length; ) {
      const end = endOfLevel(filter, at);
      node = node.childOrNew(filter.slice(at, end));
      at = end + 1;
    }
    if (node.value === undefined) this.#wildcards++;
    node.value = value;
  }

  /** True when the filter was there. Nodes that lead nowhere any more are taken out. */
  delete(filter: string): boolean {
    if (!hasWildcard(filter)) return this.#exact.delete(filter);
    const path: { readonly parent: TrieNode<Value>; readonly level: string }[] = [];
    let node: TrieNode<Value> | undefined = this.#root;
    for (let at = 0; at <= filter.length; ) {
      const end = endOfLevel(filter, at);
      const level = filter.slice(at, end);
      path.push({ parent: node, level });
      node = node.child(level);
      if (node === undefined) return false;
      at = end + 1;
    }
    if (node.value === undefined) return false;
    node.value = undefined;
    this.#wildcards--;
    for (let step = path.pop(); step !== undefined && node?.isEmpty === true; step = path.pop()) {
      step.parent.remove(step.level);
      node = step.parent;
    }
    return true;
  }

  /** Appends the values of all filters that match to `found`. */
  collect(topicName: string, found: Value[]): void {
    const exact = this.#exact.get(topicName);
    if (exact !== undefined) found.push(exact);
    if (this.#wildcards === 0) return;
    this.#frontier.push(this.#root);
    const length = topicName.length;
    let wildcardsCount = topicName.charCodeAt(0) !== DOLLAR; // T3, for the first level only
    for (let at = 0; at <= length && this.#frontier.length > 0; wildcardsCount = true) {
      const end = endOfLevel(topicName, at);
      this.#advance(topicName.slice(at, end), wildcardsCount ? 'all' : 'literal', found);
      at = end + 1;
    }
    for (const node of this.#frontier) {
      if (node.value !== undefined) found.push(node.value);
      if (node.multi?.value !== undefined) found.push(node.multi.value); // T4
    }
    this.#frontier.length = 0;
  }

  /** Every filter with its value, in no particular order. */
  *entries(): IterableIterator<[filter: string, value: Value]> {
    yield* this.#exact;
    const waiting: { readonly node: TrieNode<Value>; readonly path: string }[] = [];
    const enqueue = (node: TrieNode<Value>, prefix: string) => {
      for (const [level, child] of node.children()) waiting.push({ node: child, path: prefix + level });
    };
    enqueue(this.#root, '');
    for (let step = waiting.pop(); step !== undefined; step = waiting.pop()) {
      if (step.node.value !== undefined) yield [step.path, step.node.value];
      enqueue(step.node, `${step.path}/`);
    }
  }

  /** One level further: from every node of the frontier by name, by `+`, and out by `#`. */
  #advance(level: string, wildcards: 'all' | 'literal', found: Value[]): void {
    const next = this.#next;
    for (const node of this.#frontier) {
      const literal = node.literal(level);
      if (literal !== undefined) next.push(literal);
      if (wildcards === 'literal') continue;
      if (node.single !== undefined) next.push(node.single);
      if (node.multi?.value !== undefined) found.push(node.multi.value);
    }
    this.#frontier.length = 0;
    this.#next = this.#frontier;
    this.#frontier = next;
  }
}

const DOLLAR = 0x24;
const SINGLE = '+';
const MULTI = '#';

/** Most nodes have one child; a Map is only made for the second. */
class TrieNode<Value> {
  value: Value | undefined;
  /** The child by `+`. */
  single: TrieNode<Value> | undefined;
  /** The child by `#`. */
  multi: TrieNode<Value> | undefined;
  #onlyLevel = '';
  #onlyChild: TrieNode<Value> | undefined;
  #literals: Map<string, TrieNode<Value>> | undefined;

  get isEmpty(): boolean {
    return (
      this.value === undefined &&
      this.single === undefined &&
      this.multi === undefined &&
      this.#onlyChild === undefined &&
      this.#literals === undefined
    );
  }

  literal(level: string): TrieNode<Value> | undefined {
    if (this.#literals !== undefined) return this.#literals.get(level);
    return this.#onlyLevel === level ? this.#onlyChild : undefined;
  }

  child(level: string): TrieNode<Value> | undefined {
    if (level === SINGLE) return this.single;
    if (level === MULTI) return this.multi;
    return this.literal(level);
  }

  childOrNew(level: string): TrieNode<Value> {
    const known = this.child(level);
    if (known !== undefined) return known;
    const node = new TrieNode<Value>();
    if (level === SINGLE) this.single = node;
    else if (level === MULTI) this.multi = node;
    else this.#addLiteral(level, node);
    return node;
  }

  remove(level: string): void {
    if (level === SINGLE) this.single = undefined;
    else if (level === MULTI) this.multi = undefined;
    else if (this.#literals === undefined) this.#onlyChild = undefined;
    else {
      this.#literals.delete(level);
      if (this.#literals.size === 0) this.#literals = undefined;
    }
  }

  *children(): IterableIterator<[level: string, child: TrieNode<Value>]> {
    if (this.single !== undefined) yield [SINGLE, this.single];
    if (this.multi !== undefined) yield [MULTI, this.multi];
    if (this.#onlyChild !== undefined) yield [this.#onlyLevel, this.#onlyChild];
    if (this.#literals !== undefined) yield* this.#literals;
  }

  #addLiteral(level: string, node: TrieNode<Value>): void {
    if (this.#literals !== undefined) this.#literals.set(level, node);
    else if (this.#onlyChild === undefined) {
      this.#onlyLevel = level;
      this.#onlyChild = node;
    } else {
      this.#literals = new Map([
        [this.#onlyLevel, this.#onlyChild],
        [level, node],
      ]);
      this.#onlyChild = undefined;
    }
  }
}
