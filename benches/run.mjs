#!/usr/bin/env node
// `pnpm bench [name …]`: runs the benchmarks named (all without a name), one after the other, and writes each one's
// section of RESULTS.md with the date and the machine. `--quick` runs fewer rounds and writes nothing; `--rounds=N` and,
// for mqtt, `--scenarios=A,B` choose.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const BENCHES = ['startup', 'tarball', 'append', 'meta', 'mqtt'];

const args = process.argv.slice(2);
const quick = args.includes('--quick');
const option = (name) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const rounds = option('rounds') === undefined ? undefined : Number(option('rounds'));
const scenarios = option('scenarios');
const names = args.filter((arg) => !arg.startsWith('--'));
const unknown = names.filter((name) => !BENCHES.includes(name));
if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(', ')}: name one of ${BENCHES.join(', ')}`);
  process.exit(64);
}

const scratch = mkdtempSync(join(here, '.run-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
for (const name of names.length > 0 ? names : BENCHES) {
  console.error(`\n== ${name}`);
  const { run } = await load(name);
  const section = await run({
    quick,
    rounds,
    scenarios,
    scratch: mkdtempSync(join(tmpdir(), `robustmq-bench-${name}-`)),
  });
  console.log(section);
  if (!quick) record(name, section);
}
process.exit(0);

/** The benchmarks are TypeScript over the packages' sources: bundled beside this file, so that node_modules resolve. */
async function load(name) {
  const outfile = join(scratch, `${name}.mjs`);
  await build({
    entryPoints: [join(here, `${name}.bench.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    conditions: ['@robustmq/source'],
    external: ['level', 'classic-level', 'memory-level', 'mqtt', 'aedes', 'ws'],
    // CommonJS packages inside an ESM bundle still ask for require.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return await import(pathToFileURL(outfile).href);
}

function record(name, section) {
  const file = join(here, 'RESULTS.md');
  const text = readFileSync(file, 'utf8');
  const begin = `<!-- ${name} -->`;
  const end = `<!-- /${name} -->`;
  const head = `${new Date().toISOString().slice(0, 10)}, commit ${commit()}, ${machine()}. \`pnpm bench ${name}\``;
  const block = `${begin}\n\n${head}\n\n${section.trim()}\n\n${end}`;
  const at = text.indexOf(begin);
  const updated =
    at === -1
      ? `${text.trimEnd()}\n\n## ${name}\n\n${block}\n`
      : text.slice(0, at) + block + text.slice(text.indexOf(end) + end.length);
  writeFileSync(file, updated);
}

function commit() {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: here, encoding: 'utf8' }).trim();
}

function machine() {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`;
}
