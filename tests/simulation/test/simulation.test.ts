import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import type { MetaSimulationReport } from '@robustmq/meta-raft/testing';
import { PLANTED_FAULTS } from '../src/planted-faults.mjs';

const PROGRAM = fileURLToPath(new URL('../simulate.mjs', import.meta.url));
const SEEDS = 300;
/** A planted fault that shows itself in no seed of so many has survived. */
const SEEDS_FOR_A_PLANTED_FAULT = 600;
const MINUTES = 60_000;

interface Run {
  readonly code: number | null;
  readonly lines: readonly string[];
}

function simulate(...args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.on('close', (code) => resolve({ code, lines: text.trimEnd().split('\n') }));
  });
}

async function reportsOf(...args: readonly string[]): Promise<{ run: Run; reports: readonly MetaSimulationReport[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'robustmq-simulation-'));
  try {
    const file = join(directory, 'reports.jsonl');
    const run = await simulate(...args, '--json', file);
    const reports = readFileSync(file, 'utf8').trimEnd().split('\n');
    return { run, reports: reports.map((line): MetaSimulationReport => JSON.parse(line)) };
  } finally {
    await rm(directory, { recursive: true });
  }
}

describe('the metadata service under chaos', () => {
  it(
    `keeps what it promises for ${SEEDS} seeds of 60 simulated seconds`,
    async () => {
      const { run, reports } = await reportsOf('--seeds', String(SEEDS), '--jobs', '2');
      expect(run.lines.filter((line) => line.includes('VIOLATION') || line.includes('replay'))).toEqual([]);
      expect(run.code).toBe(0);
      expect(reports).toHaveLength(SEEDS);
      // What was not provoked was not tested.
      const share = (happened: (report: MetaSimulationReport) => boolean) => reports.filter(happened).length / SEEDS;
      expect(share(({ snapshots }) => snapshots > 0)).toBeGreaterThan(0.05);
      expect(share(({ leasesEnded }) => leasesEnded > 0)).toBeGreaterThan(0.5);
      expect(share(({ leaders }) => leaders > 2)).toBeGreaterThan(0.5);
      expect(share(({ restarts }) => restarts > 0)).toBeGreaterThan(0.1);
      expect(share(({ watched }) => watched > 20)).toBeGreaterThan(0.8);
      expect(share(({ calls }) => calls.returned > 50)).toBeGreaterThan(0.8);
      expect(share(({ unjudged }) => unjudged > 0)).toBeLessThan(0.05);
      for (const fault of [
        'power loss',
        'pause',
        'one-way cut',
        'disk stall',
        'membership change',
        'leadership transfer',
      ]) {
        expect([fault, share(({ faults }) => (faults[fault] ?? 0) > 0) > 0.2]).toEqual([fault, true]);
      }
    },
    10 * MINUTES,
  );

  it(
    'does the same twice with the same seed',
    async () => {
      const [once, again] = [await reportsOf('--seeds', '10'), await reportsOf('--seeds', '10', '--jobs', '2')];
      const bySeed = (reports: readonly MetaSimulationReport[]) => [...reports].sort((a, b) => a.seed - b.seed);
      expect(bySeed(again.reports)).toEqual(bySeed(once.reports));
      expect(new Set(once.reports.map(({ trace }) => trace)).size).toBe(10);
    },
    2 * MINUTES,
  );
});

describe('a fault put into the service', () => {
  for (const { name, pitfall, what } of PLANTED_FAULTS) {
    it(
      `is found: ${what} (pitfall ${pitfall})`,
      async () => {
        const { code, lines } = await simulate(
          ...['--plant', name, '--until', 'violation', '--jobs', '2', '--seeds', String(SEEDS_FOR_A_PLANTED_FAULT)],
        );
        expect(lines.some((line) => line.includes('VIOLATION'))).toBe(true);
        expect(lines.some((line) => line.includes(`replay: pnpm simulate`) && line.includes(`--plant ${name}`))).toBe(
          true,
        );
        expect(code).toBe(1);
      },
      10 * MINUTES,
    );
  }
});
