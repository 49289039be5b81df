// Where a bundled process spent its time, by the part of the source it came from.

import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
    readonly columnNumber: number;
  };
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface ProfilePart {
  readonly part: string;
  /** Of the time in which the process was not idle. */
  readonly percent: number;
}

/** The parts with the most self time first. `from` and `to` cut the profile, in fractions of its length. */
export function partsOf(
  files: { readonly profile: string; readonly sourceMap: string },
  { from, to }: { readonly from: number; readonly to: number },
): ProfilePart[] {
  const profile = JSON.parse(readFileSync(files.profile, 'utf8')) as CpuProfile; // written by V8
  const map = new SourceMap(JSON.parse(readFileSync(files.sourceMap, 'utf8')));
  const parts = new Map(profile.nodes.map((node) => [node.id, partOf(node, map)]));
  const spent = new Map<string, number>();
  let busy = 0;
  const { length } = profile.samples;
  for (let i = Math.floor(length * from); i < length * to; i++) {
    const part = parts.get(profile.samples[i] ?? -1);
    if (part === undefined || part === 'idle') continue;
    const micros = profile.timeDeltas[i] ?? 0;
    busy += micros;
    spent.set(part, (spent.get(part) ?? 0) + micros);
  }
  return [...spent]
    .map(([part, micros]) => ({ part, percent: (micros / busy) * 100 }))
    .sort((a, b) => b.percent - a.percent);
}

function partOf({ callFrame }: ProfileNode, map: SourceMap): string {
  const { functionName, url, lineNumber, columnNumber } = callFrame;
  if (functionName === '(idle)') return 'idle';
  if (functionName === '(program)') return 'native code: sockets, system calls';
  if (functionName === '(garbage collector)') return 'garbage collector';
  if (url.startsWith('node:')) return `node: ${/http2|stream|net|_tls|buffer|timers/.exec(url)?.[0] ?? 'other'}`;
  if (!url.endsWith('.mjs')) return 'native code: sockets, system calls';
  const entry = map.findEntry(lineNumber, columnNumber);
  const source = 'originalSource' in entry ? entry.originalSource : '';
  const library = /node_modules\/\.pnpm\/[^/]+\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1];
  if (library !== undefined) return library;
  return /packages\/[^/]+\/src\/[^/]+/.exec(source)?.[0].replace('packages/', '').replace('/src', '') ?? 'the bundle';
}
