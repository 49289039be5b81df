// Files nobody imports, found from the doors: what package.json exports, what runs, and the tests.

import { posix } from 'node:path';
import type { Finding } from './finding.js';
import { type SourceFile, walk } from './source-file.js';

export function checkOrphans(files: readonly SourceFile[]): Finding[] {
  const imported = new Set(files.flatMap((file) => [...importsOf(file)]));
  return files
    .filter((file) => /^(packages|apps)\/[^/]+\/src\//.test(file.path) && !isDoor(file) && !imported.has(file.path))
    .map((file) => ({
      rule: 'orphan',
      path: file.path,
      line: 1,
      what: 'nobody imports this file: use it or delete it',
    }));
}

function isDoor(file: SourceFile): boolean {
  return /\/index\.ts$|\.test\.ts$|\/main\.ts$|^packages\/stdx\/src\//.test(file.path);
}

function* importsOf(file: SourceFile): Generator<string> {
  for (const node of walk(file.module)) {
    const source = node['source'] as { value?: unknown } | undefined;
    const target = typeof source?.value === 'string' ? source.value : dynamicImport(node);
    if (target?.startsWith('.')) yield posix.join(posix.dirname(file.path), target).replace(/\.js$/, '.ts');
  }
}

function dynamicImport(node: { readonly type: string; readonly [field: string]: unknown }): string | undefined {
  if (node.type !== 'CallExpression' || (node['callee'] as { type?: string } | undefined)?.type !== 'Import')
    return undefined;
  const [first] = node['arguments'] as { expression?: { value?: unknown } }[];
  return typeof first?.expression?.value === 'string' ? first.expression.value : undefined;
}
