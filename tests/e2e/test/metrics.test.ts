// What Prometheus sees of the all-in-one server, and that the reference knows all of it.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { repositoryRoot, ServerProcess } from '../src/server-process.js';

let dataPath: string;
let server: ServerProcess;
let exposed: string;

beforeAll(async () => {
  dataPath = await mkdtemp(join(tmpdir(), 'robustmq-metrics-'));
  server = new ServerProcess({ dataPath });
  const { http } = await server.ready();
  exposed = await (await fetch(`http://${http}/metrics`)).text();
}, 30_000);

afterAll(async () => {
  await server.end();
  await rm(dataPath, { recursive: true, force: true });
});

it('every metric has a row in docs/reference/metrics.md', async () => {
  const reference = await readFile(join(repositoryRoot, 'docs/reference/metrics.md'), 'utf8');
  const names = [...exposed.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name);
  const ours = names.filter((name) => !/^(process|nodejs)_/.test(name));
  expect(ours.length).toBeGreaterThan(50);
  // The two write-ahead logs share their rows.
  const missing = ours.filter((name) => !reference.includes(`\`${name.replace(/^journal_wal_/, 'meta_wal_')}\``));
  expect(missing).toEqual([]);
});

it('names follow Prometheus: counters end in _total, times are in seconds', () => {
  const counters = [...exposed.matchAll(/^# TYPE (\S+) counter/gm)].map(([, name = '']) => name);
  expect(counters.filter((name) => !name.endsWith('_total'))).toEqual([]);
  expect([...exposed.matchAll(/^# TYPE (\S+_(?:ms|millis)\S*)/gm)]).toEqual([]);
});
