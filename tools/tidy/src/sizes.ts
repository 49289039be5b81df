// How long a file or a function may be, and how many positional parameters a function takes.
//
// The limits are hard for new code. What was longer when a rule came is in ratchet.json with its size: it may
// shrink, never grow, and its entry goes when it fits.

import type { Finding } from './finding.js';
import { type SourceFile, type SyntaxNode, walk } from './source-file.js';

export const SIZE_LIMITS = { fileLines: 600, functionLines: 70, parameters: 3 } as const;

/** Sizes above a limit that are known and tolerated: "path" or "path#function" to the size. */
export type Ratchet = Readonly<Record<string, number>>;

const FUNCTIONS = new Set([
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'ClassMethod',
  'PrivateMethod',
  'Constructor',
  'MethodProperty',
]);

export function checkSizes(file: SourceFile, ratchet: Ratchet): Finding[] {
  const findings: Finding[] = [];
  const fileLimit = Math.max(SIZE_LIMITS.fileLines, ratchet[file.path] ?? 0);
  if (file.lines.length > fileLimit)
    findings.push({
      rule: 'file-lines',
      path: file.path,
      line: fileLimit,
      what: `${file.lines.length} lines, at most ${fileLimit}: split it by role`,
    });
  if (file.isTest) return findings; // a describe() block is one long function by nature
  for (const { node, name } of functionsOf(file)) {
    const line = file.firstLine(node);
    const lines = file.lastLine(node) - line + 1;
    const limit = Math.max(SIZE_LIMITS.functionLines, ratchet[`${file.path}#${name}`] ?? 0);
    if (lines > limit)
      findings.push({
        rule: 'function-lines',
        path: file.path,
        line,
        what: `${name} has ${lines} lines, at most ${limit}: keep the ifs, move the rest out`,
      });
    const parameters = parameterCount(node);
    if (parameters > SIZE_LIMITS.parameters)
      findings.push({
        rule: 'parameters',
        path: file.path,
        line,
        what: `${name} takes ${parameters} parameters, at most ${SIZE_LIMITS.parameters}: pass an object`,
      });
  }
  return findings;
}

function* functionsOf(file: SourceFile): Generator<{ node: SyntaxNode; name: string }> {
  const names = new Map<unknown, string>();
  for (const node of walk(file.module)) {
    if (node.type === 'VariableDeclarator') names.set(node['init'], nameOf(node['id']));
    if (node.type === 'ClassMethod' || node.type === 'PrivateMethod') names.set(node, nameOf(node['key']));
    if (node.type === 'FunctionDeclaration') names.set(node, nameOf(node['identifier']));
    if (node.type === 'Constructor') names.set(node, 'constructor');
  }
  for (const node of walk(file.module)) {
    if (FUNCTIONS.has(node.type)) yield { node, name: names.get(node) ?? 'a function' };
  }
}

function nameOf(node: unknown): string {
  if (typeof node !== 'object' || node === null) return 'a function';
  if ('value' in node) return String(node.value);
  return 'id' in node ? nameOf(node.id) : 'a function';
}

function parameterCount(node: SyntaxNode): number {
  const carrier = (node['function'] as SyntaxNode | undefined) ?? node; // methods keep theirs one level down
  const parameters = carrier['params'];
  return Array.isArray(parameters) ? parameters.length : 0;
}
