import { describe, expect, it } from '@jest/globals';
import { checkMarkdown } from '../src/markdown.js';
import { checkOrphans } from '../src/orphans.js';
import { checkPromises } from '../src/promises.js';
import { checkRooms } from '../src/rooms.js';
import { checkSizes } from '../src/sizes.js';
import { SourceFile } from '../src/source-file.js';
import { bannedIn, checkWords } from '../src/words.js';

const file = (text: string, path = 'packages/journal-engine/src/segment/segment.ts') => new SourceFile(path, text);
const rules = (findings: readonly { rule: string }[]) => findings.map((finding) => finding.rule);

describe('sizes', () => {
  const long = `export function long(): number {\n${'  // one more\n'.repeat(80)}  return 1;\n}\n`;

  it('refuses a function beyond the limit and says where it begins', () => {
    expect(checkSizes(file(`// head\n${long}`), {})).toEqual([
      expect.objectContaining({ rule: 'function-lines', line: 2 }),
    ]);
  });

  it('lets what the ratchet knows stay as long as it is, not grow', () => {
    const path = 'packages/journal-engine/src/segment/segment.ts';
    expect(checkSizes(file(long), { [`${path}#long`]: 83 })).toEqual([]);
    expect(rules(checkSizes(file(long), { [`${path}#long`]: 82 }))).toEqual(['function-lines']);
  });

  it('refuses long files, and a fourth parameter in functions, methods and constructors', () => {
    expect(rules(checkSizes(file('\n'.repeat(601)), {}))).toEqual(['file-lines']);
    const four = '(a: 1, b: 1, c: 1, d: 1)';
    const source = `export const f = ${four} => a;\nclass A {\n  constructor${four} {}\n  m${four} {}\n  #p${four} {}\n}\n`;
    expect(rules(checkSizes(file(source), {}))).toEqual(Array(4).fill('parameters'));
  });
});

describe('words', () => {
  it('finds a banned word inside an identifier, not inside another word', () => {
    expect(bannedIn('connectionManager', 'packages/wal/src/x.ts')?.word).toBe('manager');
    expect(bannedIn('determine', 'packages/journal-engine/src/x.ts')).toBeUndefined();
  });

  it('bans a word only in the rooms that must not know it', () => {
    expect(rules(checkWords(file('export const term = 1;')))).toEqual(['word']);
    expect(checkWords(file('export const term = 1;', 'packages/meta-raft/src/core/raft.ts'))).toEqual([]);
  });

  it('refuses drawers without a label', () => {
    expect(rules(checkWords(file('export {};', 'packages/wal/src/common.ts')))).toEqual(['drawer']);
  });
});

describe('rooms', () => {
  it('keeps time, chance, environment, exit and console in their homes', () => {
    const strays = [
      'Date.now()',
      'Math.random()',
      'setTimeout(f, 1)',
      'process.env.HOME',
      'process.exit(1)',
      'console.log(1)',
    ];
    for (const stray of strays)
      expect(rules(checkRooms(file(`const f = 1;\nexport const x = ${stray};`)))).toEqual(['home']);
    expect(checkRooms(file('setTimeout(f, 1);', 'packages/stdx/src/clock.ts'))).toEqual([]);
    expect(checkRooms(file('clock.setTimeout(1); other.Date;'))).toEqual([]);
  });

  it('proves that the Raft core depends on nothing but its arguments', () => {
    const core = (text: string) => rules(checkRooms(file(text, 'packages/meta-raft/src/core/raft.ts')));
    for (const impure of [
      "import fs from 'node:fs';",
      "import { Wal } from '@robustmq/wal';",
      "import { systemClock } from '@robustmq/stdx/clock';",
      'export async function f() {}',
      'export const f = async () => {};',
      'export const p = new Promise(() => {});',
      'export const p = Promise.resolve();',
      'export const d = new Date();',
      'setImmediate(f);',
      'export const r = Math.random();',
    ]) {
      expect({ impure, found: core(impure) }).toEqual({ impure, found: expect.arrayContaining(['pure-core']) });
    }
    expect(core("import { assert } from '@robustmq/stdx/assert';\nimport { x } from './log.js';\nassert(x);")).toEqual(
      [],
    );
  });
});

describe('promises', () => {
  it('refuses bare errors, unnamed exports and casts without a reason', () => {
    expect(rules(checkPromises(file("throw new Error('no');")))).toEqual(['bare-error']);
    expect(rules(checkPromises(file("export * from './x.js';")))).toEqual(['export-all']);
    expect(rules(checkPromises(file('const a = b as string;')))).toEqual(['reason']);
    expect(rules(checkPromises(file('const a = b!.c;')))).toEqual(['reason']);
    expect(rules(checkPromises(file('let a: any;')))).toEqual(['reason']);
    expect(checkPromises(file('const a = b as string; // a key of the map is one'))).toEqual([]);
    expect(checkPromises(file('const a = { b: 1 } as const; // literal'))).toEqual([]);
  });

  it('counts what a door shows', () => {
    const names = Array.from({ length: 31 }, (_, i) => `a${i}`).join(', ');
    expect(rules(checkPromises(file(`export { ${names} } from './a.js';`, 'packages/wal/src/index.ts')))).toEqual([
      'door',
    ]);
  });
});

describe('orphans', () => {
  it('finds the file that nothing imports', () => {
    const index = file("export { a } from './a.js';\nvoid import('./lazy.js');", 'packages/wal/src/index.ts');
    const files = ['a', 'lazy', 'forgotten'].map((name) => file('export const a = 1;', `packages/wal/src/${name}.ts`));
    expect(checkOrphans([index, ...files]).map(({ path }) => path)).toEqual(['packages/wal/src/forgotten.ts']);
  });
});

describe('markdown', () => {
  const missing = () => false;

  it('wants one title, first, and does not mistake a comment in code for one', () => {
    expect(checkMarkdown('a.md', '# Title\n\n```sh\n# a comment\n```\n', missing)).toEqual([]);
    expect(rules(checkMarkdown('a.md', '# One\n\n# Two\n', missing))).toEqual(['markdown-title']);
    expect(rules(checkMarkdown('a.md', 'text\n', missing))).toEqual(['markdown-title']);
  });

  it('follows links to files', () => {
    expect(
      rules(checkMarkdown('a.md', '# T\n[x](gone.md#part) [y](https://example.com) [z](#here)\n', missing)),
    ).toEqual(['markdown-link']);
  });
});
