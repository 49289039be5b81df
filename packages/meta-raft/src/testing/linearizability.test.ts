import { describe, expect, it } from '@jest/globals';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import fc from 'fast-check';
import type { RegisterOperation } from './history.js';
import { checkLinearizability } from './linearizability.js';
import { type RegisterInput, type RegisterOutput, type RegisterState, registerModel } from './register-model.js';

const verdictOf = (history: readonly RegisterOperation[], stepsMax?: number) =>
  checkLinearizability(registerModel, history, stepsMax === undefined ? {} : { stepsMax }).verdict;

interface Line {
  readonly at: readonly [invoked: number, returned: number];
  readonly input: RegisterInput;
  readonly output?: RegisterOutput;
  readonly key?: string;
}

const operation = ({ at, input, output, key = 'k' }: Line): RegisterOperation => ({
  client: 'c',
  partition: key,
  input,
  output,
  invokedAt: at[0],
  returnedAt: output === undefined ? Number.POSITIVE_INFINITY : at[1],
});

const put = (at: Line['at'], value: string, revision?: number) =>
  operation({ at, input: { op: 'put', value }, ...(revision ? { output: { op: 'put', revision } } : {}) });
const get = (at: Line['at'], revision: number, seen?: readonly [string, number, number]) =>
  operation({
    at,
    input: { op: 'get' },
    output: {
      op: 'get',
      revision,
      seen: seen && { value: seen[0], modRevision: seen[1], version: seen[2] },
    },
  });
const cas = (at: Line['at'], [expected, value]: readonly [string | undefined, string], told?: [boolean, number]) =>
  operation({
    at,
    input: { op: 'cas', expected, value },
    ...(told ? { output: { op: 'cas', succeeded: told[0], revision: told[1] } } : {}),
  });
const remove = (at: Line['at'], told?: readonly [deleted: number, revision: number]) =>
  operation({
    at,
    input: { op: 'delete' },
    ...(told ? { output: { op: 'delete', deleted: told[0], revision: told[1] } } : {}),
  });

describe('histories made by hand', () => {
  const good: Record<string, RegisterOperation[]> = {
    'nothing happened': [],
    'one after the other': [put([1, 2], 'a', 1), get([3, 4], 1, ['a', 1, 1]), remove([5, 6], [1, 2]), get([7, 8], 2)],
    'a read during a write sees it': [put([1, 10], 'a', 1), get([2, 3], 1, ['a', 1, 1])],
    'a read during a write misses it': [put([1, 10], 'a', 1), get([2, 3], 0)],
    'equal times are concurrent': [put([1, 2], 'a', 1), get([2, 3], 0)],
    'two writes at once, in either order': [put([1, 10], 'a', 2), put([1, 10], 'b', 1), get([11, 12], 2, ['a', 2, 2])],
    'a write of unknown outcome that happened late': [
      put([1, 0], 'a'),
      get([2, 3], 0),
      put([4, 5], 'b', 1),
      get([6, 7], 2, ['a', 2, 2]),
    ],
    'a write of unknown outcome that never happened': [
      put([1, 0], 'a'),
      put([2, 3], 'b', 1),
      get([4, 5], 1, ['b', 1, 1]),
    ],
    'only one of two at once may create': [
      cas([1, 5], [undefined, 'a'], [true, 1]),
      cas([1, 5], [undefined, 'b'], [false, 1]),
    ],
    'a compare of unknown outcome explains the value': [
      put([1, 2], 'a', 1),
      cas([3, 0], ['a', 'b']),
      get([4, 5], 7, ['b', 7, 2]),
    ],
    'a delete of unknown outcome explains the absence': [put([1, 2], 'a', 1), remove([3, 0]), get([4, 5], 2)],
  };
  for (const [name, history] of Object.entries(good)) {
    it(`is linearizable: ${name}`, () => expect(verdictOf(history)).toBe('linearizable'));
  }

  const bad: Record<string, RegisterOperation[]> = {
    'a stale read': [put([1, 2], 'a', 1), put([3, 4], 'b', 2), get([5, 6], 2, ['a', 1, 1])],
    'a lost write': [put([1, 2], 'a', 1), get([3, 4], 1)],
    'a value from nowhere': [get([1, 2], 1, ['a', 1, 1])],
    'a write that came twice': [
      put([1, 0], 'a'),
      get([2, 3], 1, ['a', 1, 1]),
      put([4, 5], 'b', 2),
      get([6, 7], 3, ['a', 3, 3]),
    ],
    'a read that goes back while a write is under way': [
      put([1, 20], 'a', 1),
      get([2, 3], 1, ['a', 1, 1]),
      get([4, 5], 0),
    ],
    'two that both created': [cas([1, 5], [undefined, 'a'], [true, 1]), cas([1, 5], [undefined, 'b'], [true, 2])],
    'a compare that failed against its own value': [put([1, 2], 'a', 1), cas([3, 4], ['a', 'b'], [false, 1])],
    'a revision that goes down': [put([1, 2], 'a', 2), put([3, 4], 'b', 1)],
    'a read from a store that was further before': [
      put([1, 2], 'a', 1),
      get([3, 4], 5, ['a', 1, 1]),
      get([5, 6], 4, ['a', 1, 1]),
    ],
    'a version that was skipped': [put([1, 2], 'a', 1), put([3, 4], 'b', 2), get([5, 6], 2, ['b', 2, 3])],
    'a delete that found nothing where something was': [put([1, 2], 'a', 1), remove([3, 4], [0, 1])],
  };
  for (const [name, history] of Object.entries(bad)) {
    it(`is not: ${name}`, () => expect(verdictOf(history)).toBe('violated'));
  }

  it('names the key, the operation that has no place, and the longest order', () => {
    const other = { ...put([1, 2], 'x', 9), partition: 'other' };
    const stale = get([5, 6], 2, ['a', 1, 1]);
    const history = [other, put([1, 2], 'a', 1), put([3, 4], 'b', 2), stale];
    expect(checkLinearizability(registerModel, history)).toMatchObject({
      verdict: 'violated',
      partition: 'k',
      order: [{ input: { value: 'a' } }, { input: { value: 'b' } }],
      stuckAt: stale,
    });
  });

  it('says unknown, never linearizable, when the search is given up', () => {
    const writes = Array.from({ length: 12 }, (_, i) => put([1, 0], `w${i}`));
    const history = [...writes, put([2, 3], 'z', 1), get([4, 5], 20, ['w3', 20, 13])];
    expect(verdictOf(history, 50)).toBe('unknown');
    expect(verdictOf(history)).toBe('linearizable');
  });
});

describe('histories made by chance', () => {
  it('agrees with trying every order, whatever the outputs are', () => {
    const seen = { linearizable: 0, violated: 0 };
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const history = tinyHistory(createPrng(seed));
        const expected = explainable(history) ? 'linearizable' : 'violated';
        seen[expected]++;
        expect(verdictOf(history)).toBe(expected);
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(seen.linearizable, seen.violated)).toBeGreaterThan(200);
  });

  it('accepts what a store does that takes effect at one moment', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(verdictOf(new AtomicStore(createPrng(seed)).run(300))).toBe('linearizable');
      }),
      { numRuns: 60 },
    );
  });

  it('finds one stale read among them', () => {
    const planted = plantInMany((history, prng) => {
      const reads = history.filter(({ output }) => output?.op === 'get' && output.seen);
      for (const read of shuffled(reads, prng)) {
        const older = reads.find(({ partition, output }) => {
          if (partition !== read.partition || output?.op !== 'get') return false;
          const overwritten = history.find(
            (write) =>
              write.partition === partition &&
              write.output?.op === 'put' &&
              write.returnedAt < read.invokedAt &&
              write.output.revision > output.revision,
          );
          return overwritten !== undefined;
        });
        if (older) return history.map((each) => (each === read ? { ...read, output: older.output } : each));
      }
      return undefined;
    });
    expect(planted).toBeGreaterThan(40);
  });

  it('finds one lost write among them', () => {
    const planted = plantInMany((history, prng) => {
      // Acknowledged, read by somebody who began later, and gone: as if it had never been called.
      const lost = shuffled(history, prng).find(
        (write) =>
          write.output?.op === 'put' &&
          history.some(
            ({ partition, output, invokedAt }) =>
              partition === write.partition &&
              invokedAt > write.returnedAt &&
              output?.op === 'get' &&
              output.seen?.modRevision === write.output?.revision,
          ),
      );
      return lost && history.filter((each) => each !== lost);
    });
    expect(planted).toBeGreaterThan(40);
  });
});

/** Plants in the histories of 60 seeds; every planted one must be found. */
function plantInMany(
  plant: (history: readonly RegisterOperation[], prng: Prng) => readonly RegisterOperation[] | undefined,
): number {
  let planted = 0;
  for (let seed = 0; seed < 60; seed++) {
    const prng = createPrng(seed);
    const spoiled = plant(new AtomicStore(prng.fork('store')).run(300), prng.fork('plant'));
    if (!spoiled) continue;
    planted++;
    expect({ seed, verdict: verdictOf(spoiled) }).toEqual({ seed, verdict: 'violated' });
  }
  return planted;
}

function shuffled<T>(list: readonly T[], prng: Prng): T[] {
  return list
    .map((item) => ({ item, at: prng.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Few operations with outputs out of thin air: about half of the histories make no sense. */
function tinyHistory(prng: Prng): RegisterOperation[] {
  const revisions = [1, 2, 3];
  return Array.from({ length: prng.between(1, 5) }, () => {
    const from = prng.between(0, 8);
    const at = [from, from + prng.between(0, 5)] as const;
    const told = prng.chance(0.8);
    const revision = prng.pick(revisions);
    const value = prng.pick(['a', 'b']);
    switch (prng.pick(['put', 'put', 'get', 'get', 'cas', 'delete'])) {
      case 'put':
        return put(at, value, told ? revision : undefined);
      case 'get': {
        const modRevision = prng.between(1, revision);
        return get(at, revision, prng.chance(0.3) ? undefined : [value, modRevision, prng.between(1, 2)]);
      }
      case 'cas':
        return cas(at, [prng.pick(['a', undefined]), value], told ? [prng.chance(0.5), revision] : undefined);
      default:
        return remove(at, told ? [prng.between(0, 1), revision] : undefined);
    }
  });
}

/** By trying every order of every choice of the operations without an outcome. */
function explainable(history: readonly RegisterOperation[]): boolean {
  const search = (state: RegisterState, left: readonly RegisterOperation[]): boolean => {
    if (left.every(({ output }) => output === undefined)) return true;
    return left.some((next) => {
      const overtakes = left.some((other) => other !== next && other.returnedAt < next.invokedAt);
      if (overtakes) return false;
      const after = registerModel.step(state, next.input, next.output);
      return (
        after !== undefined &&
        search(
          after,
          left.filter((other) => other !== next),
        )
      );
    });
  };
  return search(registerModel.initial, history);
}

type Call = { -readonly [Field in keyof RegisterOperation]: RegisterOperation[Field] } & {
  /** `adrift`: the client went away, and it may still take effect. `lost`: it has, and the client never hears of it. */
  phase: 'called' | 'done' | 'returned' | 'adrift' | 'lost';
};

/** A store whose operations take effect at one moment between call and return, and clients that may lose the answer. */
class AtomicStore {
  readonly #prng: Prng;
  readonly #keys = new Map<string, { value: string; modRevision: number; version: number }>();
  readonly #calls: Call[] = [];
  #revision = 0;
  #time = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  run(events: number): RegisterOperation[] {
    for (let i = 0; i < events; i++) this.#event();
    return this.#calls.map(({ phase, ...operation }) => operation);
  }

  #event(): void {
    this.#time++;
    const client = `c${this.#prng.between(1, 5)}`;
    const open = this.#calls.find(
      (call) => call.client === client && (call.phase === 'called' || call.phase === 'done'),
    );
    const late = this.#calls.find((call) => call.phase === 'adrift');
    if (late && this.#prng.chance(0.1)) {
      this.#execute(late);
      late.phase = 'lost';
    }
    if (!open) this.#calls.push(this.#call(client));
    else if (this.#prng.chance(0.03)) {
      open.phase = open.phase === 'called' ? 'adrift' : 'lost';
      open.output = undefined;
    } else if (open.phase === 'called') {
      open.output = this.#execute(open);
      open.phase = 'done';
    } else {
      open.returnedAt = this.#time;
      open.phase = 'returned';
    }
  }

  #call(client: string): Call {
    const value = `${client}.${this.#time}`;
    const partition = this.#prng.pick(['x', 'y']);
    const expected = this.#prng.chance(0.3) ? undefined : this.#keys.get(partition)?.value;
    const input = this.#prng.pick<RegisterInput>([
      { op: 'get' },
      { op: 'get' },
      { op: 'put', value },
      { op: 'cas', expected, value },
      { op: 'delete' },
    ]);
    return {
      client,
      partition,
      input,
      output: undefined,
      invokedAt: this.#time,
      returnedAt: Number.POSITIVE_INFINITY,
      phase: 'called',
    };
  }

  #execute({ partition, input }: Call): RegisterOutput {
    const known = this.#keys.get(partition);
    switch (input.op) {
      case 'get':
        return { op: 'get', revision: this.#revision, seen: known && { ...known } };
      case 'put':
        return { op: 'put', revision: this.#put(partition, input.value) };
      case 'delete':
        if (known) this.#revision++;
        this.#keys.delete(partition);
        return { op: 'delete', deleted: known ? 1 : 0, revision: this.#revision };
      case 'cas': {
        const succeeded = known?.value === input.expected;
        return { op: 'cas', succeeded, revision: succeeded ? this.#put(partition, input.value) : this.#revision };
      }
    }
  }

  #put(key: string, value: string): number {
    const version = (this.#keys.get(key)?.version ?? 0) + 1;
    this.#keys.set(key, { value, modRevision: ++this.#revision, version });
    return this.#revision;
  }
}
