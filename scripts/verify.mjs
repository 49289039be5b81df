#!/usr/bin/env node
// Everything that must hold, in one command that never writes: what CI runs, a developer can run.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const steps = [
  ['format and lint', 'pnpm', ['lint']],
  ['unused files and dependencies', 'pnpm', ['knip']],
  ['proto lint', 'buf', ['lint', 'proto']],
  ['generated code is what the protos say', 'pnpm', ['gen:check']],
  ['the reference is what the code says', process.execPath, ['scripts/reference.mjs', '--check']],
  ['build, types, tests, tidiness', process.execPath, ['scripts/bootstrap.mjs', 'test']],
  ['packages are fit to publish', process.execPath, ['scripts/publint.mjs']],
];

const failed = [];
for (const [name, command, args] of steps) {
  console.log(`\n== ${name}`);
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` },
  });
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? '\nverified' : `\nnot verified: ${failed.join('; ')}`);
process.exit(failed.length === 0 ? 0 : 1);
