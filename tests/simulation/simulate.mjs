#!/usr/bin/env node
// pnpm simulate --seeds N [--from SEED] [--seconds S] [--jobs J] [--plant FAULT] [--until violation] [--json FILE]
//
// Runs the simulation of the metadata service for a row of seeds, in J processes. Prints each seed with its trace hash, and
// one line at the end. Ends with 1 on a violation, with the command that replays it.

import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { bundle } from './src/bundle.mjs';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' },
    from: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '60' },
    jobs: { type: 'string', default: '1' },
    plant: { type: 'string' },
    until: { type: 'string', default: 'end' },
    json: { type: 'string' },
  },
});

const [seeds, from, seconds, jobs] = ['seeds', 'from', 'seconds', 'jobs'].map((name) => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1) {
    process.stderr.write(`--${name} is ${values[name]}. It must be a whole number of 1 or more.\n`);
    process.exit(2);
  }
  return value;
});

const program = await bundle(values.plant);
const total = {
  seeds: 0,
  simulatedMs: 0,
  events: 0,
  faults: 0,
  calls: 0,
  unknown: 0,
  unjudged: 0,
  snapshots: 0,
  leaders: 0,
  violations: 0,
};
const started = process.hrtime.bigint();
const children = new Set();

function take(line) {
  const report = JSON.parse(line);
  if (values.json) appendFileSync(values.json, `${line}\n`);
  total.seeds++;
  total.simulatedMs += report.simulatedMs;
  total.events += report.events;
  total.faults += Object.values(report.faults).reduce((sum, count) => sum + count, 0);
  total.calls += report.calls.returned + report.calls.failed + report.calls.unknown;
  total.unknown += report.calls.unknown;
  total.unjudged += report.unjudged;
  total.snapshots += report.snapshots;
  total.leaders += report.leaders;
  const hash = report.trace.toString(16).padStart(8, '0');
  if (report.violation === undefined) {
    process.stdout.write(`seed ${report.seed} ${hash}\n`);
    return;
  }
  total.violations++;
  if (values.until === 'violation') for (const child of children) child.kill();
  const plant = values.plant ? ` --plant ${values.plant}` : '';
  process.stdout.write(
    `seed ${report.seed} ${hash} VIOLATION: ${report.violation}\n  replay: pnpm simulate --seeds 1 --from ${report.seed} --seconds ${seconds}${plant}\n`,
  );
}

/** Every J-th seed. */
function run(job) {
  const count = Math.ceil((seeds - job) / jobs);
  if (count <= 0) return Promise.resolve(0);
  const args = [program, from + job, count, seconds, jobs, values.until].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A process that is killed may have written half a line.
    if (line.endsWith('}')) take(line);
  });
  return new Promise((resolve) => child.on('close', resolve));
}

const codes = await Promise.all(Array.from({ length: jobs }, (_, job) => run(job)));
const crashed = codes.some((code) => code !== 0 && code !== null);
const hours = (total.simulatedMs / 3_600_000).toFixed(2);
const wall = (Number(process.hrtime.bigint() - started) / 1e9).toFixed(1);
process.stdout.write(
  `${total.seeds} seeds, ${hours} simulated hours, ${total.faults} faults, ${total.leaders} leaders, ${total.snapshots} snapshots, ${total.calls} calls (${total.unknown} of unknown outcome), ${total.unjudged} unjudged, ${total.violations} violations in ${wall} s\n`,
);
process.exitCode = total.violations > 0 || crashed ? 1 : 0;
