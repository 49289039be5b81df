// A TypeScript file as the rules see it: its text, its syntax tree, and the line of each node.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';

/** Any node of swc's tree. Rules look at a handful of kinds; the rest is only walked through. */
export interface SyntaxNode {
  readonly type: string;
  readonly span: { readonly start: number; readonly end: number };
  readonly [field: string]: unknown;
}

export class SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  readonly #bytes: Buffer;
  #module: SyntaxNode | undefined;

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.lines = text.split('\n');
    this.#bytes = Buffer.from(text);
  }

  static read(root: string, path: string): SourceFile {
    return new SourceFile(path, readFileSync(join(root, path), 'utf8'));
  }

  get isTest(): boolean {
    return /\.test\.ts$|\/testing\/|\/suite\/|^tests\/|\/test\//.test(this.path);
  }

  get module(): SyntaxNode {
    this.#module ??= parseSync(this.text, { syntax: 'typescript', target: 'es2022' }) as unknown as SyntaxNode; // swc's types name every field
    return this.#module;
  }

  /** swc counts bytes from 1. */
  lineAt(position: number): number {
    let line = 1;
    const end = position - 1;
    for (let at = this.#bytes.indexOf(10); at !== -1 && at < end; at = this.#bytes.indexOf(10, at + 1)) line++;
    return line;
  }

  firstLine(node: SyntaxNode): number {
    return this.lineAt(node.span.start);
  }

  lastLine(node: SyntaxNode): number {
    return this.lineAt(node.span.end);
  }

  /** A reason stands right above, on the line itself, or on a later line of the same statement. */
  hasReasonAt(line: number): boolean {
    if (/^\s*(\/\/|\*|\/\*\*)/.test(this.lines[line - 2] ?? '')) return true;
    for (let at = line - 1; at < this.lines.length; at++) {
      const text = this.lines[at] ?? '';
      if (/\/\/|\*\//.test(text)) return true;
      if (/[;{]\s*$/.test(text)) return false;
    }
    return false;
  }
}

export function* walk(node: unknown): Generator<SyntaxNode> {
  const pending: unknown[] = [node];
  while (pending.length > 0) {
    const next = pending.pop();
    if (Array.isArray(next)) pending.push(...next);
    else if (typeof next === 'object' && next !== null) {
      if (isNode(next)) yield next;
      pending.push(...Object.values(next));
    }
  }
}

function isNode(value: object): value is SyntaxNode {
  return 'type' in value && typeof value.type === 'string' && 'span' in value;
}

/** The name of a plain identifier or member, as `Date.now`; undefined for anything computed. */
export function dottedName(node: unknown): string | undefined {
  if (typeof node !== 'object' || node === null || !isNode(node)) return undefined;
  if (node.type === 'Identifier') return String(node['value']);
  if (node.type !== 'MemberExpression') return undefined;
  const [object, property] = [dottedName(node['object']), dottedName(node['property'])];
  return object !== undefined && property !== undefined ? `${object}.${property}` : undefined;
}
