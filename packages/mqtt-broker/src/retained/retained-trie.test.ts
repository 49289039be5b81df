import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { topicMatches } from '../route/topic-filter.js';
import { type PageLimits, type RetainedMatch, RetainedTrie } from './retained-trie.js';

const names = fc
  .array(fc.constantFrom('a', 'b', '', '$x', '__proto__', 'constructor'), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((name) => name !== '');
const filters = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', '', '$x', '+', '__proto__'), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, multi]) => (multi ? [...levels.slice(1), '#'] : levels).join('/'))
  .filter((filter) => filter !== '');

function pages<Value>(match: RetainedMatch<Value>, limits: PageLimits): Value[][] {
  const all: Value[][] = [];
  for (;;) {
    const { values, state } = match.next(limits);
    all.push([...values]);
    if (state === 'done') return all;
  }
}

const ALL: PageLimits = { valuesMax: 1_000_000, visitsMax: 1_000_000 };

describe('RetainedTrie', () => {
  it('finds what a comparison with every topic finds, in pages of any size', () => {
    const changes = fc.array(fc.tuple(fc.constantFrom('set' as const, 'set' as const, 'delete' as const), names), {
      maxLength: 40,
    });
    const limits = fc.record({ valuesMax: fc.integer({ min: 1, max: 5 }), visitsMax: fc.integer({ min: 1, max: 5 }) });
    fc.assert(
      fc.property(changes, fc.array(filters, { minLength: 1, maxLength: 8 }), limits, (changes, filters, limits) => {
        const trie = new RetainedTrie<string>();
        const model = new Set<string>();
        for (const [kind, name] of changes) {
          if (kind === 'set') expect(trie.set(name, name)).toBe(model.has(name) ? name : undefined);
          else expect(trie.delete(name)).toBe(model.has(name) ? name : undefined);
          if (kind === 'set') model.add(name);
          else model.delete(name);
        }
        expect(trie.size).toBe(model.size);
        for (const name of model) expect(trie.get(name)).toBe(name);
        for (const filter of filters) {
          const expected = [...model].filter((name) => topicMatches(filter, name)).sort();
          expect([filter, pages(trie.match(filter), limits).flat().sort()]).toEqual([filter, expected]);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('keeps to the bounds of a page', () => {
    const trie = new RetainedTrie<number>();
    for (let i = 0; i < 1000; i++) trie.set(`a/${i}/x`, i);
    for (let i = 0; i < 1000; i++) trie.set(`b/${i}/y`, i);
    const byValues = pages(trie.match('a/#'), { valuesMax: 10, visitsMax: 100_000 });
    expect(byValues.flat()).toHaveLength(1000);
    expect(Math.max(...byValues.map((page) => page.length))).toBe(10);
    // Nothing matches, and still the work of one page ends.
    const byVisits = pages(trie.match('+/+/z'), { valuesMax: 10, visitsMax: 100 });
    expect(byVisits.flat()).toHaveLength(0);
    expect(byVisits.length).toBeGreaterThan(20);
  });

  it('sees once what stood still while other topics came and went between two pages', () => {
    const trie = new RetainedTrie<string>();
    const still = Array.from({ length: 50 }, (_, i) => `still/${i}/t`);
    for (const name of still) trie.set(name, name);
    for (let i = 0; i < 50; i++) trie.set(`going/${i}/t`, 'going');
    const match = trie.match('#');
    const seen: string[] = [];
    for (let page = 0; ; page++) {
      const { values, state } = match.next({ valuesMax: 3, visitsMax: 7 });
      seen.push(...values);
      trie.delete(`going/${page}/t`);
      trie.set(`coming/${page}/t`, 'coming');
      trie.set(`still/${page}/u`, 'coming');
      if (state === 'done' || page > 10_000) break;
    }
    expect(seen.filter((name) => name.startsWith('still/')).sort()).toEqual([...still].sort());
  });

  it('[MQTT-4.7.2-1] hides topics starting with $ from a leading wildcard, and only there', () => {
    const trie = new RetainedTrie<string>();
    for (const name of ['$SYS', '$SYS/a', 'a/$b', 'a']) trie.set(name, name);
    expect(trie.match('#').next(ALL).values).toEqual(['a', 'a/$b']);
    expect(trie.match('+').next(ALL).values).toEqual(['a']);
    expect([...trie.match('$SYS/#').next(ALL).values].sort()).toEqual(['$SYS', '$SYS/a']);
    expect(trie.match('a/+').next(ALL).values).toEqual(['a/$b']);
  });
});
