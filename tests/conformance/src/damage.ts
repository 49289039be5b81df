// Bits that flip on the disk of one node while it is down. It may find them and refuse to run, or not need what was
// damaged; what it must not do is serve something that was never written, or count as having what it lost.

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Prng } from '@robustmq/stdx/prng';
import type { MetaCluster, NodeId } from './meta-cluster.js';
import { pause } from './workload.js';

export interface DamageReport {
  readonly node: NodeId;
  readonly flipped: readonly string[];
  /** `refused`: it ended by itself and said why. `silent`: neither ready nor ended in time. */
  readonly outcome: 'ready' | 'refused' | 'silent';
  readonly said: string;
}

const START_WITHIN_MS = 10_000;
const FLIPS = 3;

export async function damage(
  cluster: MetaCluster,
  { victim, what, prng }: { readonly victim: NodeId; readonly what: 'log' | 'state'; readonly prng: Prng },
): Promise<DamageReport> {
  await cluster.kill(victim);
  const root = cluster.dataPath(victim);
  const files = filesBelow(root).filter((file) => kindOf(relative(root, file)) === what && usedBytes(file) > 0);
  const flipped = Array.from({ length: Math.min(FLIPS, files.length) }, () => {
    const file = prng.pick(files);
    const bytes = readFileSync(file);
    const at = prng.between(0, usedBytes(file) - 1);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.between(0, 7));
    writeFileSync(file, bytes);
    return `${relative(root, file)}@${at}`;
  });
  const process = cluster.launch(victim);
  const outcome = await Promise.race([
    process.ready().then(
      () => 'ready' as const,
      () => 'refused' as const,
    ),
    pause(START_WITHIN_MS).then(() => 'silent' as const),
  ]);
  const wrong = process.lines.filter(({ level }) => ['error', 'fatal', 'warn', 40, 50, 60].includes(level));
  const said = wrong.map(({ msg, code, err }) => JSON.stringify({ msg, code, err })).join(' ') + process.text;
  if (outcome !== 'ready') await cluster.kill(victim);
  return { node: victim, flipped, outcome, said: said.slice(0, 600) };
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function kindOf(path: string): 'log' | 'state' | 'other' {
  if (/^meta\/raft-log\/.*\.wal$/.test(path)) return 'log';
  return /^meta\/state\/.*(\.ldb|\.log|MANIFEST.*)$/.test(path) ? 'state' : 'other';
}

/** Up to the last byte that is not zero: files are made longer than what is in them. */
function usedBytes(file: string): number {
  if (statSync(file).size === 0) return 0;
  const bytes = readFileSync(file);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}
