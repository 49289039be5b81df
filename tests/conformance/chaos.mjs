#!/usr/bin/env node
// node tests/conformance/chaos.mjs [--minutes N] [--seed S] [--faults a,b,c] [--damage]
// Runs of about a minute, each with the next seed, until the time is over. One line for each; exit 1 when something that
// was seen cannot be true, with the command that repeats the plan.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    faults: { type: 'string' },
    damage: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
const here = dirname(fileURLToPath(import.meta.url));
const bundles = mkdtempSync(join(here, '.run-'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
process.on('exit', () => rmSync(bundles, { recursive: true, force: true }));
const load = async (name) => {
  const outfile = join(bundles, `${name}.mjs`);
  await build({
    entryPoints: [join(here, 'src', `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    conditions: ['@robustmq/source'],
    external: ['level', 'classic-level', 'memory-level'],
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return await import(pathToFileURL(outfile).href);
};
const { runChaos, canMount } = await load('chaos');
// A build may replace the artefact while this runs.
cpSync(join(here, '../../apps/meta-only/dist'), join(bundles, 'dist'), { recursive: true });
const launcher = join(bundles, 'dist/bin/meta-only');

const end = Date.now() + Number(values.minutes) * 60_000;
const totals = { runs: 0, operations: 0, unknown: 0, watched: 0, faults: 0, violations: 0 };
for (let seed = Number(values.seed); totals.runs === 0 || Date.now() < end; seed++) {
  const directory = mkdtempSync(join(tmpdir(), 'robustmq-chaos-'));
  const small = canMount(directory);
  const runEnd = Math.min(end, Date.now() + 60_000);
  const replay = `node tests/conformance/chaos.mjs --minutes 1 --seed ${seed}${values.damage ? ' --damage' : ''}`;
  totals.runs++;
  try {
    const report = await runChaos({
      directory,
      seed,
      launcher,
      ...(values.faults ? { faults: values.faults.split(',') } : {}),
      until: () => Date.now() > runEnd,
      ...(small ? { smallDiskMebibytes: 12 } : {}),
      damages: values.damage ? [seed % 2 === 0 ? 'log' : 'state'] : [],
      ...(values.verbose ? { say: (line) => console.log(`  ${line}`) } : {}),
    });
    totals.operations += report.returned;
    totals.unknown += report.unknown;
    totals.watched += report.watched;
    totals.faults += report.inflicted.length + report.damaged.length;
    const { faults, ended, inflicted, ...numbers } = report;
    console.log(`seed ${seed}: ${JSON.stringify(numbers)} after ${inflicted.join(' ')}`);
    if (faults.length === 0 && ended.length === 0) continue;
    totals.violations++;
    for (const line of [...faults.slice(0, 20), ...ended]) console.log(`  ${line}`);
    console.log(`  ${faults.length} things that cannot be true. Again: ${replay}`);
  } catch (error) {
    totals.violations++;
    console.log(`seed ${seed}: ${error.stack}\n  Again: ${replay}`);
  }
}
const { runs, operations, unknown, watched, faults, violations } = totals;
console.log(
  `${runs} runs, ${faults} faults inflicted, ${operations} operations, ${unknown} of unknown outcome, ${watched} events watched, ${violations} runs with violations`,
);
process.exit(violations === 0 ? 0 : 1);
