// kill -9 under load, on the real disk, again and again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '@robustmq/stdx/clock';
import type { Offset, ShardId } from '@robustmq/storage-adapter';
import { nodeDisk } from '@robustmq/wal';
import { build } from 'esbuild';
import { startJournal } from '../src/start-journal.js';
import { openFileMeta } from './file-meta.js';

const CYCLES = 10;

let directory: string;
let program: string;

beforeAll(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'robustmq-journal-kill-'));
  program = path.join(directory, 'append-load.mjs');
  await build({
    entryPoints: [path.join(import.meta.dirname, 'append-load.ts')],
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

afterAll(() => fs.rm(directory, { recursive: true, force: true }));

type Acknowledged = Map<string, string>;

/** Runs the load until it acknowledged so many appends, then kills it. */
async function loadAndKill(life: number, acknowledged: Acknowledged, appends: number): Promise<void> {
  const args = [program, path.join(directory, 'data'), path.join(directory, 'meta'), String(life)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let seen = 0;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const [shard, offset, value, whole] = line.split(' ');
    if (whole !== '.') continue; // cut by the kill
    const place = `${shard} ${offset}`;
    expect(acknowledged.has(place)).toBe(false);
    acknowledged.set(place, String(value));
    if (++seen === appends) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
}

describe('kill -9 under append load', () => {
  it(`${CYCLES} times loses nothing acknowledged and gives no offset twice`, async () => {
    const acknowledged: Acknowledged = new Map();
    for (let life = 0; life < CYCLES; life++) await loadAndKill(life, acknowledged, 300 + 397 * life);
    expect(acknowledged.size).toBeGreaterThan(CYCLES * 300);
    const meta = await openFileMeta(path.join(directory, 'meta'));
    await using journal = await startJournal(
      { directory: path.join(directory, 'data') },
      { disk: nodeDisk(), clock: systemClock, meta },
    );
    const values = new Set<string>();
    for (const shard of await journal.storage.listShards()) {
      for await (const { offset, value } of records(journal.storage, shard)) {
        const place = `${shard} ${offset}`;
        expect(acknowledged.get(place) ?? value).toBe(value);
        acknowledged.delete(place);
        expect(values.has(value)).toBe(false);
        values.add(value);
      }
    }
    expect([...acknowledged]).toEqual([]);
  }, 120_000);
});

async function* records(storage: Awaited<ReturnType<typeof startJournal>>['storage'], shard: ShardId) {
  for (let next = 0 as Offset; ; ) {
    const page = await storage.read(shard, { from: next, maxRecords: 1000, maxBytes: 1 << 20 });
    for (const { offset, payload } of page.records) yield { offset, value: payload.toString() };
    next = page.next;
    if (page.next === page.end) return;
  }
}
