#!/usr/bin/env node
// Runs jest in the current package: ESM, results also as JSON for scripts/summary.mjs to add up.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';

const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
const reporting = ['--json', '--outputFile=.test-results.json', '--passWithNoTests'];
const { status } = spawnSync(process.execPath, [...flags, jest, ...reporting, ...process.argv.slice(2)], {
  stdio: ['ignore', 'ignore', 'inherit'],
  env: { ...process.env, UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? '16' },
});
process.exit(status ?? 1);
