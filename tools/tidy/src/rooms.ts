// What a room may touch: time, chance, the environment and the console have homes, and pure cores touch nothing.

import type { Finding } from './finding.js';
import { dottedName, type SourceFile, type SyntaxNode, walk } from './source-file.js';

interface Home {
  readonly names: ReadonlySet<string>;
  /** Where the names may stand. */
  readonly homes: RegExp;
  readonly instead: string;
}

const HOMES: readonly Home[] = [
  {
    names: new Set(['Date.now', 'performance.now', 'setTimeout', 'setInterval', 'process.hrtime']),
    homes: /^packages\/stdx\/src\/clock\.ts$|^apps\//,
    instead: 'take a Clock as an argument',
  },
  { names: new Set(['Math.random']), homes: /^$/, instead: 'take a Prng as an argument' },
  {
    names: new Set(['process.env']),
    homes: /^packages\/node-runtime\/src\/config\//,
    instead: 'take the option as an argument; config/ alone reads the environment',
  },
  {
    names: new Set(['process.exit']),
    homes: /^packages\/node-runtime\/src\/fatal\.ts$/,
    instead: 'throw a coded error; runMain ends the process',
  },
  {
    names: new Set(['console.log', 'console.error', 'console.warn', 'console.info', 'console.debug']),
    homes: /^$/,
    instead: 'take a Logger as an argument',
  },
];

/** Deterministic rooms: a function of their arguments, so that a seed replays them. */
const PURE = /^packages\/meta-raft\/src\/core\//;

const IMPURE_NAMES = new Set([
  'Date',
  'Promise',
  'process',
  'console',
  'performance',
  'setTimeout',
  'setImmediate',
  'setInterval',
  'queueMicrotask',
  'Math.random',
  'globalThis',
  'fetch',
]);

export function checkRooms(file: SourceFile): Finding[] {
  if (file.isTest || !/^(packages|apps)\//.test(file.path)) return [];
  const findings: Finding[] = [];
  const pure = PURE.test(file.path);
  for (const node of walk(file.module)) {
    const what = pure ? (impurity(node) ?? strayFromHome(node, file.path)) : strayFromHome(node, file.path);
    if (what !== undefined)
      findings.push({ rule: pure ? 'pure-core' : 'home', path: file.path, line: file.firstLine(node), what });
  }
  return findings;
}

function strayFromHome(node: SyntaxNode, path: string): string | undefined {
  if (node.type !== 'MemberExpression' && node.type !== 'CallExpression') return undefined;
  const name = node.type === 'CallExpression' ? plainIdentifier(node['callee']) : dottedName(node);
  if (name === undefined) return undefined;
  const home = HOMES.find(({ names }) => names.has(name));
  return home && !home.homes.test(path) ? `${name} has no home here: ${home.instead}` : undefined;
}

function plainIdentifier(node: unknown): string | undefined {
  const name = dottedName(node);
  return name?.includes('.') ? undefined : name; // members are looked at on their own
}

function impurity(node: SyntaxNode): string | undefined {
  if (node.type === 'AwaitExpression' || node['async'] === true)
    return 'a pure core neither waits nor promises: return what is to be done';
  if (node.type === 'ImportDeclaration') {
    const source = String((node['source'] as { value?: unknown } | undefined)?.value ?? '');
    if (source.startsWith('node:') || /^(?!\.|@robustmq\/stdx\/)/.test(source))
      return `a pure core imports only itself and stdx, not ${source}`;
    if (/stdx\/(clock|logger|metrics)/.test(source)) return `a pure core knows no ${source}`;
  }
  const name =
    node.type === 'MemberExpression'
      ? dottedName(node)
      : node.type === 'NewExpression' || node.type === 'CallExpression'
        ? dottedName(node['callee'])
        : undefined;
  const root = name?.split('.')[0];
  if (name !== undefined && (IMPURE_NAMES.has(name) || (root !== undefined && IMPURE_NAMES.has(root))))
    return `${name} makes a core depend on more than its arguments`;
  return undefined;
}
