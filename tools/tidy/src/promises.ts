// What the compiler cannot refuse: errors without a code, exports without a name, casts without a reason.

import type { Finding } from './finding.js';
import { dottedName, type SourceFile, type SyntaxNode, walk } from './source-file.js';

/** How many names a door may show: more is a list nobody reads. */
const EXPORTS_MAX = 30;

export function checkPromises(file: SourceFile): Finding[] {
  if (file.isTest || !/^(packages|apps)\//.test(file.path)) return [];
  const findings: Finding[] = [];
  const add = (rule: string, node: SyntaxNode, what: string) =>
    findings.push({ rule, path: file.path, line: file.firstLine(node), what });
  for (const node of walk(file.module)) {
    if (isBareError(node))
      add('bare-error', node, 'throw the coded error class of this package: code, reason, what to do next');
    if (node.type === 'ExportAllDeclaration') add('export-all', node, 'name what this door shows');
    if (needsReason(node) && !file.hasReasonAt(file.lastLine(node)) && !file.hasReasonAt(file.firstLine(node)))
      add('reason', node, `${nameOf(node)} needs its reason on the line`);
  }
  const exported = file.path.endsWith('/index.ts') ? countExports(file) : 0;
  if (exported > EXPORTS_MAX)
    findings.push({ rule: 'door', path: file.path, line: 1, what: `${exported} exports, at most ${EXPORTS_MAX}` });
  return findings;
}

function isBareError(node: SyntaxNode): boolean {
  if (node.type !== 'ThrowStatement') return false;
  const thrown = node['argument'] as SyntaxNode;
  return thrown.type === 'NewExpression' && dottedName(thrown['callee']) === 'Error';
}

function needsReason(node: SyntaxNode): boolean {
  if (node.type === 'TsNonNullExpression') return true;
  if (node.type === 'TsKeywordType') return node['kind'] === 'any';
  return node.type === 'TsAsExpression';
}

const nameOf = (node: SyntaxNode) =>
  node.type === 'TsAsExpression' ? 'a cast' : node.type === 'TsKeywordType' ? 'any' : 'a non-null !';

function countExports(file: SourceFile): number {
  let exported = 0;
  for (const node of walk(file.module)) {
    if (node.type === 'ExportSpecifier' || node.type === 'ExportDeclaration') exported++;
  }
  return exported;
}
