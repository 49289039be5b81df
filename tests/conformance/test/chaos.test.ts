// Three real processes under chaos, briefly. `node tests/conformance/chaos.mjs --minutes N` goes on for longer.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { runChaos } from '../src/chaos.js';
import { canMount } from '../src/meta-cluster.js';

const directory = await mkdtemp(join(tmpdir(), 'robustmq-chaos-'));
const small = canMount(directory);
if (!small) process.stderr.write('skipped: the full disk, because no small file system can be mounted here\n');

it('loses nothing and reads nothing stale while processes die, stop, part, fill their disks, and are damaged', async () => {
  const report = await runChaos({
    directory,
    seed: 1,
    faults: [
      'kill-leader',
      'isolate-leader',
      'stop-leader',
      'one-way',
      'kill-all',
      ...(small ? (['full-disk'] as const) : []),
    ],
    ...(small ? { smallDiskMebibytes: 12 } : {}),
    damages: ['log'],
  });
  expect(report).toMatchObject({ faults: [], ended: [] });
  expect(report.returned).toBeGreaterThan(500);
  expect(report.watched).toBeGreaterThan(500);
  for (const { outcome } of report.damaged) expect(outcome).not.toBe('silent');
}, 120_000);
