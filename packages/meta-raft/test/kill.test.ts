// kill -9 of a node under load, on the real disk, again and again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { startMeta } from '../src/index.js';

const CYCLES = 5;

let directory: string;
let program: string;

beforeAll(async () => {
  // Beside the sources, so that `level`, which is not bundled, is found.
  directory = await mkdtemp(join(tmpdir(), 'meta-raft-kill-'));
  program = join(import.meta.dirname, '..', 'node_modules', '.cache', `put-load-${process.pid}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, 'put-load.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@robustmq/source'],
    external: ['level'],
    logLevel: 'error',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
}, 60_000);

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  await rm(program, { force: true });
});

/** Runs the load until so many puts were acknowledged, then kills it. */
async function loadAndKill(life: number, acknowledged: Map<string, number>, puts: number): Promise<void> {
  const child = spawn(process.execPath, [program, join(directory, 'data'), String(life)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let seen = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [key, revision, whole] = line.split(' ');
    if (whole !== '.' || key === undefined || revision === '.') continue; // ready, or cut by the kill
    acknowledged.set(key, Number(revision));
    if (++seen === puts) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
}

describe('kill -9 under a load of puts', () => {
  it(`${CYCLES} times loses nothing acknowledged and repeats no revision`, async () => {
    const acknowledged = new Map<string, number>();
    for (let life = 0; life < CYCLES; life++) await loadAndKill(life, acknowledged, 300 + 1501 * life);
    expect(new Set(acknowledged.values()).size).toBe(acknowledged.size);
    await using meta = await startMeta({ nodeId: 1, clusterName: 'kill', dataDirectory: join(directory, 'data') });
    const { kvs } = await meta.client.range({ prefix: '' });
    const found = new Map(kvs.map(({ key, modRevision }) => [key, modRevision]));
    const lost = [...acknowledged].filter(([key, revision]) => found.get(key) !== revision);
    expect(lost).toEqual([]);
    // One unanswered put per writer and life may have been kept as well, and no more.
    expect(found.size - acknowledged.size).toBeLessThanOrEqual(64 * CYCLES);
    for (const { key, value } of kvs) expect(value.toString()).toBe(key.repeat(10));
  }, 120_000);
});
