// Is there an order of the operations that explains everything the clients saw? The search of Wing and Gong with
// Lowe's cache ("Testing for linearizability", 2017), each partition by itself (Herlihy and Wing: locality).
//
// The history of a partition is a doubly linked list of calls and returns in the order of time. The search takes a call
// that may come next (every call before the first return may), asks the model, lifts the operation out of the list, and
// goes on at the front. At a return whose operation was not taken it went wrong somewhere, and takes back its last step.
//
// Invariants:
//   L1. An operation is taken only while its call stands before every return that is left: that is the order of time.
//       Equal times are concurrent: calls sort before returns.
//   L2. A pair (operations taken, state) is searched from once: what follows depends on nothing else.
//   L3. An operation with an unknown outcome has no return. It may be taken at any point after its call, or never.
//   L4. A search that reaches its bound says `unknown`, never `linearizable`.

import { assert } from '@robustmq/stdx/assert';

/** One operation as its client saw it. `output` is undefined when the outcome is unknown. */
export interface ObservedOperation<Input, Output> {
  readonly client: string;
  /** Partitions share no state: operations of one are never ordered against those of another. */
  readonly partition: string;
  readonly input: Input;
  readonly output: Output | undefined;
  readonly invokedAt: number;
  /** Infinity when the outcome is unknown. */
  readonly returnedAt: number;
}

/** What the operations of one partition should do, one at a time. */
export interface SequentialModel<State, Input, Output> {
  readonly initial: State;
  /** The state after it, or undefined when the operation cannot have had this output here. Undefined outputs fit. */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
  equal(a: State, b: State): boolean;
  /** Equal states have equal hashes. */
  hash(state: State): number;
}

export interface LinearizabilityOptions {
  /** Calls of the model for one partition. Default 5,000,000: some seconds. */
  readonly stepsMax?: number;
}

export type LinearizabilityVerdict<Input, Output> =
  | { readonly verdict: 'linearizable'; readonly steps: number }
  | {
      readonly verdict: 'violated';
      readonly partition: string;
      /** The longest order that was found, and the operation for which no place is left in it. */
      readonly order: readonly ObservedOperation<Input, Output>[];
      readonly stuckAt: ObservedOperation<Input, Output>;
    }
  | { readonly verdict: 'unknown'; readonly partition: string; readonly steps: number };

const STEPS_MAX = 5_000_000;

/** Violated as soon as one partition is; unknown when none is and the search of one was given up. */
export function checkLinearizability<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: readonly ObservedOperation<Input, Output>[],
  options: LinearizabilityOptions = {},
): LinearizabilityVerdict<Input, Output> {
  let unknown: LinearizabilityVerdict<Input, Output> | undefined;
  let steps = 0;
  for (const operations of partitionsOf(history).values()) {
    const verdict = new Search(model, operations, options.stepsMax ?? STEPS_MAX).run();
    if (verdict.verdict === 'violated') return verdict;
    if (verdict.verdict === 'unknown') unknown ??= verdict;
    steps += verdict.steps;
  }
  return unknown ?? { verdict: 'linearizable', steps };
}

function partitionsOf<Input, Output>(history: readonly ObservedOperation<Input, Output>[]) {
  const partitions = new Map<string, ObservedOperation<Input, Output>[]>();
  for (const operation of history) {
    const known = partitions.get(operation.partition);
    if (known) known.push(operation);
    else partitions.set(operation.partition, [operation]);
  }
  return partitions;
}

/** A call or a return in the list. The head is neither. */
interface ListEntry {
  readonly kind: 'head' | 'call' | 'return';
  /** Which operation: its place in the partition. */
  readonly id: number;
  /** Of a call: its return, unless the outcome is unknown. */
  match: ListEntry | undefined;
  before: ListEntry | undefined;
  next: ListEntry | undefined;
}

/** A step that was taken, with the state before it. */
interface Taken<State> {
  readonly entry: ListEntry;
  readonly state: State;
}

interface Reached<State> {
  readonly taken: Uint32Array;
  readonly state: State;
}

class Search<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>;
  readonly #operations: readonly ObservedOperation<Input, Output>[];
  readonly #stepsMax: number;
  readonly #head: ListEntry;
  readonly #bits: TakenBits;
  readonly #cache = new Map<number, Reached<State>[]>();
  readonly #stack: Taken<State>[] = [];
  #state: State;
  /** Operations with a return that are not taken yet: at 0 the history is explained. */
  #owed: number;
  #longest: readonly number[] = [];
  #stuckAt = 0;

  constructor(
    model: SequentialModel<State, Input, Output>,
    operations: readonly ObservedOperation<Input, Output>[],
    stepsMax: number,
  ) {
    this.#model = model;
    this.#operations = operations;
    this.#stepsMax = stepsMax;
    this.#state = model.initial;
    this.#head = linkedList(operations);
    this.#bits = new TakenBits(operations.length);
    this.#owed = operations.filter(isReturned).length;
  }

  run(): LinearizabilityVerdict<Input, Output> {
    let entry = this.#head.next;
    for (let steps = 0; this.#owed > 0; ) {
      assert(entry, 'an owed return is in the list');
      if (entry.kind === 'call') {
        if (++steps > this.#stepsMax) return { verdict: 'unknown', partition: this.#partition(), steps }; // L4
        entry = this.#take(entry) ? this.#head.next : entry.next;
      } else {
        this.#remember(entry.id);
        const last = this.#stack.pop();
        if (!last) return this.#violation();
        entry = this.#takeBack(last);
      }
      if (this.#owed === 0) return { verdict: 'linearizable', steps };
    }
    return { verdict: 'linearizable', steps: 0 };
  }

  #take(entry: ListEntry): boolean {
    const operation = this.#operation(entry.id);
    const state = this.#model.step(this.#state, operation.input, operation.output);
    if (state === undefined || !this.#isNew(entry.id, state)) return false;
    this.#stack.push({ entry, state: this.#state });
    this.#state = state;
    if (entry.match) this.#owed--;
    lift(entry);
    return true;
  }

  #takeBack({ entry, state }: Taken<State>): ListEntry | undefined {
    this.#bits.flip(entry.id);
    this.#state = state;
    if (entry.match) this.#owed++;
    putBack(entry);
    return entry.next;
  }

  /** L2. Leaves the operation marked as taken when it is. */
  #isNew(id: number, state: State): boolean {
    this.#bits.flip(id);
    const key = (this.#bits.hash ^ this.#model.hash(state)) | 0;
    const reached = this.#cache.get(key);
    if (reached?.some((known) => this.#bits.equal(known.taken) && this.#model.equal(known.state, state))) {
      this.#bits.flip(id);
      return false;
    }
    const here = { taken: this.#bits.copy(), state };
    if (reached) reached.push(here);
    else this.#cache.set(key, [here]);
    return true;
  }

  #remember(id: number): void {
    if (this.#stack.length < this.#longest.length) return;
    this.#longest = this.#stack.map(({ entry }) => entry.id);
    this.#stuckAt = id;
  }

  #violation(): LinearizabilityVerdict<Input, Output> {
    return {
      verdict: 'violated',
      partition: this.#partition(),
      order: this.#longest.map((id) => this.#operation(id)),
      stuckAt: this.#operation(this.#stuckAt),
    };
  }

  #partition(): string {
    return this.#operation(0).partition;
  }

  #operation(id: number): ObservedOperation<Input, Output> {
    const operation = this.#operations[id];
    assert(operation, 'every entry is of an operation');
    return operation;
  }
}

/** Which operations are taken, and a hash of that which costs one exclusive-or for each change. */
class TakenBits {
  readonly #words: Uint32Array;
  #hash = 0;

  constructor(size: number) {
    this.#words = new Uint32Array(Math.ceil(size / 32));
  }

  get hash(): number {
    return this.#hash;
  }

  flip(id: number): void {
    const at = id >>> 5;
    this.#words[at] = ((this.#words[at] ?? 0) ^ (1 << (id & 31))) >>> 0;
    this.#hash ^= spread(id);
  }

  copy(): Uint32Array {
    return this.#words.slice();
  }

  equal(words: Uint32Array): boolean {
    return this.#words.every((word, at) => word === words[at]);
  }
}

/** Neighbouring ids far apart (the finaliser of MurmurHash3). */
function spread(id: number): number {
  let hash = id + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function isReturned({ output }: ObservedOperation<unknown, unknown>): boolean {
  return output !== undefined;
}

function linkedList(operations: readonly ObservedOperation<unknown, unknown>[]): ListEntry {
  const timed: { readonly at: number; readonly entry: ListEntry }[] = [];
  for (const [id, operation] of operations.entries()) {
    const call = entryOf('call', id);
    timed.push({ at: operation.invokedAt, entry: call });
    if (!isReturned(operation)) continue; // L3
    assert(operation.returnedAt >= operation.invokedAt, 'nothing returns before it was called');
    call.match = entryOf('return', id);
    timed.push({ at: operation.returnedAt, entry: call.match });
  }
  const rank = (entry: ListEntry) => (entry.kind === 'call' ? 0 : 1); // L1
  timed.sort((a, b) => a.at - b.at || rank(a.entry) - rank(b.entry));
  const head = entryOf('head', -1);
  let last = head;
  for (const { entry } of timed) {
    last.next = entry;
    entry.before = last;
    last = entry;
  }
  return head;
}

function entryOf(kind: ListEntry['kind'], id: number): ListEntry {
  return { kind, id, match: undefined, before: undefined, next: undefined };
}

/** Takes a call and its return out. Both keep their neighbours, so that they can be put back in the opposite order. */
function lift(call: ListEntry): void {
  unlink(call);
  if (call.match) unlink(call.match);
}

function putBack(call: ListEntry): void {
  if (call.match) relink(call.match);
  relink(call);
}

function unlink(entry: ListEntry): void {
  if (entry.before) entry.before.next = entry.next;
  if (entry.next) entry.next.before = entry.before;
}

function relink(entry: ListEntry): void {
  if (entry.before) entry.before.next = entry;
  if (entry.next) entry.next.before = entry;
}
