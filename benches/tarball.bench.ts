// What a user downloads. Goal: under 10 MB (floor), under 4 MB (goal).

import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchContext, table } from './statistics.js';

export async function run({ scratch }: BenchContext): Promise<string> {
  execFileSync(process.execPath, ['scripts/package.mjs', '--out', scratch], { stdio: ['ignore', 'ignore', 'inherit'] });
  const rows = readdirSync(scratch).map((name) => [name, (statSync(join(scratch, name)).size / 1e6).toFixed(2)]);
  return table(['archive', 'MB'], rows);
}
