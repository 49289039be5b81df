import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { topicMatches } from './topic-filter.js';
import { TopicTrie } from './topic-trie.js';

const level = fc.constantFrom('a', 'b', '', '$x', '+', '__proto__', 'constructor');
const filters = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, multi]) => [...levels, ...(multi ? ['#'] : [])].join('/'))
  .filter((filter) => filter !== '');
const names = fc
  .array(fc.constantFrom('a', 'b', '', '$x', 'z', '__proto__', 'constructor'), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((name) => name !== '');

type Change = readonly ['set' | 'delete', string];
const changes = fc.array(fc.tuple(fc.constantFrom('set' as const, 'set' as const, 'delete' as const), filters), {
  maxLength: 40,
});

function apply(trie: TopicTrie<string>, model: Set<string>, [kind, filter]: Change): void {
  if (kind === 'set') {
    trie.set(filter, filter);
    model.add(filter);
  } else expect(trie.delete(filter)).toBe(model.delete(filter));
}

const collect = (trie: TopicTrie<string>, name: string): string[] => {
  const found: string[] = [];
  trie.collect(name, found);
  return found.sort();
};

describe('TopicTrie', () => {
  it('finds what a comparison with every filter finds, after any changes', () => {
    fc.assert(
      fc.property(changes, fc.array(names, { minLength: 1, maxLength: 10 }), (changes, names) => {
        const trie = new TopicTrie<string>();
        const model = new Set<string>();
        for (const change of changes) apply(trie, model, change);
        for (const name of names) {
          expect(collect(trie, name)).toEqual([...model].filter((filter) => topicMatches(filter, name)).sort());
        }
        expect(trie.size).toBe(model.size);
        expect([...trie.entries()].map(([filter]) => filter).sort()).toEqual([...model].sort());
        for (const filter of model) expect(trie.get(filter)).toBe(filter);
      }),
      { numRuns: 1000 },
    );
  });

  it('forgets the paths of what was deleted', () => {
    const trie = new TopicTrie<number>();
    trie.set('a/+/c/#', 1);
    trie.set('a/+', 2);
    expect(trie.delete('a/+/c/#')).toBe(true);
    expect(trie.delete('a/+/c/#')).toBe(false);
    expect(trie.delete('a/#')).toBe(false);
    expect([...trie.entries()]).toEqual([['a/+', 2]]);
    expect(trie.delete('a/+')).toBe(true);
    expect(trie.size).toBe(0);
    expect(trie.get('a/+')).toBeUndefined();
  });

  it('walks deep names and filters without recursion', () => {
    const trie = new TopicTrie<string>();
    const deep = Array.from({ length: 20_000 }, () => 'a').join('/');
    trie.set(`${deep}/#`, 'deep');
    trie.set(`${Array.from({ length: 20_000 }, () => '+').join('/')}`, 'wide');
    expect(collect(trie, deep).sort()).toEqual(['deep', 'wide']);
    expect(trie.delete(`${deep}/#`)).toBe(true);
    expect([...trie.entries()]).toHaveLength(1);
  });
});
