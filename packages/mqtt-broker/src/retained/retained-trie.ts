// Topic names, each with what is retained there, found by the filters that match them.
//
//   R1. A match is paged: next() visits at most so many nodes and goes on from there at the next call,
//       so that a `#` over a million topics never holds the event loop.
//   R2. The trie may change between two pages. What was set or deleted meanwhile may or may not be seen;
//       what stood still is seen exactly once.
//   R3. A filter starting with a wildcard does not find topics starting with `$` [MQTT-4.7.2-1].
//   R4. `a/#` also finds `a` (§4.7.1.2).

import { endOfLevel } from '../route/topic-filter.js';

export interface RetainedPage<Value> {
  readonly values: readonly Value[];
  /** 'more' although `values` may be empty: the bound on visited nodes was reached first. */
  readonly state: 'more' | 'done';
}

export interface PageLimits {
  readonly valuesMax: number;
  /** Nodes visited, matching or not: the bound on time. About ten million are visited in a second. */
  readonly visitsMax: number;
}

export class RetainedTrie<Value> {
  readonly #root = new RetainedNode<Value>('');
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(topicName: string): Value | undefined {
    let node: RetainedNode<Value> | undefined = this.#root;
    for (let at = 0; node !== undefined && at <= topicName.length; ) {
      const end = endOfLevel(topicName, at);
      node = node.child(topicName.slice(at, end));
      at = end + 1;
    }
    return node?.value;
  }

  /** Returns what stood there before. */
  set(topicName: string, value: Value): Value | undefined {
    let node = this.#root;
    for (let at = 0; at <= topicName.length; ) {
      const end = endOfLevel(topicName, at);
      node = node.childOrNew(topicName.slice(at, end));
      at = end + 1;
    }
    const previous = node.value;
    if (previous === undefined) this.#size++;
    node.value = value;
    return previous;
  }

  /** Returns what stood there. Nodes that lead nowhere any more are taken out. */
  delete(topicName: string): Value | undefined {
    const path: RetainedNode<Value>[] = [this.#root];
    let node: RetainedNode<Value> | undefined = this.#root;
    for (let at = 0; at <= topicName.length; ) {
      const end = endOfLevel(topicName, at);
      node = node.child(topicName.slice(at, end));
      if (node === undefined) return undefined;
      path.push(node);
      at = end + 1;
    }
    const previous = node.value;
    if (previous === undefined) return undefined;
    node.value = undefined;
    this.#size--;
    for (let i = path.length - 1; i > 0; i--) {
      const child = path[i] as RetainedNode<Value>; // i is within the path
      if (child.value !== undefined || child.hasChildren) break;
      path[i - 1]?.remove(child.level);
    }
    return previous;
  }

  /** Starts a match; nothing is visited before next(). The filter is valid (route/topic-filter.ts). */
  match(filter: string): RetainedMatch<Value> {
    return new RetainedMatch(this.#root, filter.split('/'));
  }
}

/** What is still to do: a node whose children at `depth` are next, or an iteration over its children that was begun. */
interface Step<Value> {
  readonly node: RetainedNode<Value>;
  readonly depth: number;
  children: Iterator<RetainedNode<Value>> | undefined;
}

/** One match in progress. */
export class RetainedMatch<Value> {
  readonly #root: RetainedNode<Value>;
  readonly #levels: readonly string[];
  /** One per level at most where names are literal, so its length is bounded by the depth of the trie. */
  readonly #steps: Step<Value>[];

  constructor(root: RetainedNode<Value>, levels: readonly string[]) {
    this.#root = root;
    this.#levels = levels;
    this.#steps = [{ node: root, depth: 0, children: undefined }];
  }

  next(limits: PageLimits): RetainedPage<Value> {
    const values: Value[] = [];
    let visits = 0;
    for (let step = this.#steps.at(-1); step !== undefined; step = this.#steps.at(-1)) {
      if (visits >= limits.visitsMax || values.length >= limits.valuesMax) return { values, state: 'more' }; // R1
      visits++;
      this.#advance(step, values);
    }
    return { values, state: 'done' };
  }

  /** Does one step: takes in a node by name, or the next child of one that matches by wildcard. */
  #advance(step: Step<Value>, values: Value[]): void {
    const level = this.#levels[step.depth];
    if (level !== SINGLE && level !== MULTI) {
      this.#steps.pop();
      const child = level === undefined ? undefined : step.node.child(level);
      if (child !== undefined) this.#enter(child, step.depth + 1, values);
      return;
    }
    step.children ??= step.node.children();
    const { value: child, done } = step.children.next();
    if (done === true) {
      this.#steps.pop();
      return;
    }
    if (step.node === this.#root && child.level.startsWith('$')) return; // R3
    this.#enter(child, level === MULTI ? step.depth : step.depth + 1, values);
  }

  /** A node that agrees with the filter up to `depth`; under `#` the depth stays where it is. */
  #enter(node: RetainedNode<Value>, depth: number, values: Value[]): void {
    const level = this.#levels[depth];
    const complete = level === undefined || level === MULTI; // R4
    if (complete && node.value !== undefined) values.push(node.value);
    if (level !== undefined && node.hasChildren) this.#steps.push({ node, depth, children: undefined });
  }
}

const SINGLE = '+';
const MULTI = '#';

/** Most nodes have one child or none; a Map is only made for the second. */
class RetainedNode<Value> {
  readonly level: string;
  value: Value | undefined;
  #only: RetainedNode<Value> | undefined;
  #many: Map<string, RetainedNode<Value>> | undefined;

  constructor(level: string) {
    this.level = level;
  }

  get hasChildren(): boolean {
    return this.#only !== undefined || this.#many !== undefined;
  }

  child(level: string): RetainedNode<Value> | undefined {
    if (this.#many !== undefined) return this.#many.get(level);
    return this.#only?.level === level ? this.#only : undefined;
  }

  childOrNew(level: string): RetainedNode<Value> {
    const known = this.child(level);
    if (known !== undefined) return known;
    const node = new RetainedNode<Value>(level);
    if (this.#many !== undefined) this.#many.set(level, node);
    else if (this.#only === undefined) this.#only = node;
    else {
      this.#many = new Map([
        [this.#only.level, this.#only],
        [level, node],
      ]);
      this.#only = undefined;
    }
    return node;
  }

  remove(level: string): void {
    if (this.#many === undefined) this.#only = undefined;
    else if (this.#many.delete(level) && this.#many.size === 0) this.#many = undefined;
  }

  /** A Map's own iterator goes on correctly when entries come and go (R2). */
  children(): Iterator<RetainedNode<Value>> {
    if (this.#many !== undefined) return this.#many.values();
    return (this.#only === undefined ? [] : [this.#only])[Symbol.iterator]();
  }
}
