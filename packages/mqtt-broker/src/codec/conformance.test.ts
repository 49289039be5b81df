// Holds docs/reference/mqtt-conformance.md against the specifications (every rule has a row), against the
// tests (every test it names exists) and against the sources of codec and routing (what they cite is tested).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const SOURCE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const PACKAGE = path.resolve(SOURCE, '..');
const DOCUMENT = path.resolve(PACKAGE, '../../docs/reference/mqtt-conformance.md');

/** How many numbered statements each section has; `from` where the numbers do not start at 1. */
type Sections = Readonly<Record<string, number | { readonly from: number; readonly to: number }>>;

const MQTT5: Sections = {
  '1.5.4': 3, '1.5.5': 1, '1.5.7': 1, '2.1.3': 1, '2.2.1': { from: 2, to: 6 }, '2.2.2': 1, '3.1.0': 2, '3.1.2': 30,
  '3.1.3': 12, '3.1.4': 6, '3.2.0': 2, '3.2.2': 22, '3.3.1': 13, '3.3.2': 20, '3.3.4': 10, '3.4.2': 3, '3.5.2': 3,
  '3.6.1': 1, '3.6.2': 3, '3.7.2': 3, '3.8.1': 1, '3.8.3': 5, '3.8.4': 8, '3.9.2': 2, '3.9.3': 2, '3.10.1': 1,
  '3.10.3': 2, '3.10.4': 6, '3.11.2': 2, '3.11.3': 2, '3.12.4': 1, '3.14.0': 1, '3.14.1': 1, '3.14.2': 4, '3.14.4': 3,
  '3.15.1': 1, '3.15.2': 3, '4.1.0': 2, '4.2.0': 1, '4.3.1': 1, '4.3.2': 5, '4.3.3': 13, '4.4.0': 2, '4.5.0': 2,
  '4.6.0': 6, '4.7.0': 1, '4.7.1': 2, '4.7.2': 1, '4.7.3': 4, '4.8.2': 6, '4.9.0': 3, '4.12.0': 7, '4.12.1': 2,
  '4.13.1': 1, '4.13.2': 1, '6.0.0': 4,
}; // biome-ignore format: a table

const MQTT311: Sections = {
  '1.5.3': 3, '2.2.2': 2, '2.3.1': 7, '3.1.0': 2, '3.1.2': 24, '3.1.3': 11, '3.1.4': 5, '3.2.0': 1, '3.2.2': 6,
  '3.3.1': 12, '3.3.2': 3, '3.3.4': 1, '3.3.5': 2, '3.6.1': 1, '3.8.1': 1, '3.8.3': 4, '3.8.4': 6, '3.9.3': 2,
  '3.10.1': 1, '3.10.3': 2, '3.10.4': 6, '3.12.4': 1, '3.14.1': 1, '3.14.4': 3, '4.1.0': 2, '4.3.1': 1, '4.3.2': 2,
  '4.3.3': 2, '4.4.0': 1, '4.5.0': 2, '4.6.0': 6, '4.7.1': 3, '4.7.2': 1, '4.7.3': 4, '4.8.0': 2, '6.0.0': 4,
}; // biome-ignore format: a table

function clausesOf(prefix: string, sections: Sections): string[] {
  return Object.entries(sections).flatMap(([section, numbers]) => {
    const { from, to } = typeof numbers === 'number' ? { from: 1, to: numbers } : numbers;
    return Array.from({ length: to - from + 1 }, (_, i) => `${prefix}-${section}-${from + i}`);
  });
}

/** First column → last column, of every table row. */
const rows = new Map(
  readFileSync(DOCUMENT, 'utf8')
    .split('\n')
    .filter((line) => /^\| MQTT(-|\d)/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map((cells) => [cells[1] ?? '', cells.at(-2) ?? '']),
);

const filesIn = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => path.join(directory, name));

describe('docs/reference/mqtt-conformance.md', () => {
  it('has a row for every numbered rule of both specifications, and no others', () => {
    const clauses = [...clausesOf('MQTT', MQTT5), ...clausesOf('MQTT311', MQTT311)];
    const numbered = [...rows.keys()].filter((clause) => !clause.includes('§'));
    expect(numbered.sort()).toEqual([...clauses].sort());
  });

  it('names tests that exist', () => {
    const tests = new Map(
      [SOURCE, path.join(PACKAGE, 'test')]
        .filter(existsSync)
        .flatMap(filesIn)
        .filter((file) => file.endsWith('.test.ts'))
        .map((file) => [path.basename(file, '.test.ts'), readFileSync(file, 'utf8')]),
    );
    const named = [...rows.values()].flatMap((cell) => cell.split('<br>')).filter((entry) => entry.includes(' › '));
    const missing = named.filter((entry) => {
      const [file = '', title = ''] = entry.split(' › ');
      return tests.get(file)?.includes(title) !== true;
    });
    expect(missing).toEqual([]);
    expect(named.length).toBeGreaterThan(150);
  });

  it('points from MQTT 3.1.1 to rules of MQTT 5.0 that have a row', () => {
    const targets = [...rows].filter(([clause, cell]) => clause.startsWith('MQTT311-') && cell.startsWith('MQTT-'));
    expect(targets.filter(([, target]) => !rows.has(target))).toEqual([]);
  });

  it('leaves no rule open that codec, routing, retained trie or shared groups cite', () => {
    const rooms = ['codec', 'route', 'share'].flatMap((room) => filesIn(path.join(SOURCE, room)));
    const sources = [...rooms, path.join(SOURCE, 'retained/retained-trie.ts')];
    const cited = new Set<string>();
    for (const file of sources) {
      if (!file.endsWith('.ts') || file.includes('test')) continue;
      const text = readFileSync(file, 'utf8');
      for (const [clause] of text.matchAll(/MQTT(?:311)?-\d+\.\d+\.\d+-\d+/g)) cited.add(clause);
      for (const [, section = ''] of text.matchAll(/'(MQTT\d+ §[^']+)'/g)) cited.add(section);
    }
    const open = [...cited].filter((clause) => (rows.get(clause) ?? 'open') === 'open');
    expect(open.sort()).toEqual([]);
    expect(cited.size).toBeGreaterThan(60);
  });
});
