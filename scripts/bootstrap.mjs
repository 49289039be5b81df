#!/usr/bin/env node
// What `npm start` and `npm test` run: on a machine with only Node, npm and git, install the pinned pnpm and the
// locked dependencies, build, and go. Uses nothing but Node itself.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [task, ...rest] = process.argv.slice(2);

requireNode();
installWhenStale();
if (task === 'start') start(rest);
else if (task === 'test') test(rest);
else fail(64, `usage: bootstrap.mjs start|test, not "${task ?? ''}"`);

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(
    69,
    `RobustMQ needs Node.js 20.19 or newer, this is ${process.version}: install a newer one from https://nodejs.org`,
  );
}

/** pnpm keeps a copy of the lockfile it installed from: the same bytes mean there is nothing to do. */
function installWhenStale() {
  const installed = read('node_modules/.pnpm/lock.yaml');
  if (installed !== undefined && installed === read('pnpm-lock.yaml')) return;
  const pnpm = JSON.parse(read('package.json') ?? '{}').packageManager.replace(/\+.*$/, '');
  console.error(`Installing dependencies with ${pnpm} (first run, or the lockfile changed) …`);
  run('npx', ['--yes', pnpm, 'install', '--frozen-lockfile', '--prefer-offline', '--reporter=append-only']);
}

function start(args) {
  console.error('Building robust-server …');
  run(process.execPath, [join(root, 'scripts/bundle.mjs')], join(root, 'apps/robust-server'));
  const launcher = join(root, 'apps/robust-server/dist/bin/robust-server');
  // An interactive Ctrl-C reaches the whole process group, so the server gets it from the terminal; a signal
  // sent to this process alone is passed on.
  const server = spawn(launcher, ['start', ...args], { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => server.kill(signal));
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) server.kill('SIGINT');
  });
  server.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)));
}

/** One package's tests at a time: jest already uses all cores, and tests that share them starve each other. */
function test(args) {
  const built = turbo(['build', 'typecheck', '--concurrency=2']);
  const tested = turbo(['test', '--concurrency=1', '--continue', ...args]);
  const summary = spawnSync(process.execPath, [join(root, 'scripts/summary.mjs')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  process.exit(built || tested || summary.status || 0);
}

function turbo(args) {
  const bin = join(root, 'node_modules/.bin');
  const { status } = spawnSync(join(bin, 'turbo'), ['run', ...args, '--output-logs=new-only'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', PATH: `${bin}:${process.env.PATH}` },
  });
  return status ?? 1;
}

function run(command, args, cwd = root) {
  const { status } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (status !== 0) process.exit(status ?? 1);
}

function read(path) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function fail(code, message) {
  console.error(message);
  process.exit(code);
}
