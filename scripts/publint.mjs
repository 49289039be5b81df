#!/usr/bin/env node
// Packs every library and lets publint judge the tarball: exports, types and files as their users will see them.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bin = join(root, 'node_modules/.bin');
const packed = mkdtempSync(join(tmpdir(), 'robustmq-publint-'));
let failed = false;
try {
  for (const name of readdirSync(join(root, 'packages'))) {
    const { private: isPrivate } = JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8'));
    if (isPrivate) continue;
    run('pnpm', ['pack', '--pack-destination', packed], join(root, 'packages', name));
  }
  for (const tarball of readdirSync(packed)) run('publint', ['run', join(packed, tarball), '--strict'], root);
} finally {
  rmSync(packed, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(join(bin, command), args, { cwd, encoding: 'utf8' });
  if (status === 0) return;
  failed = true;
  console.error(`${command} ${args.join(' ')}\n${stdout}${stderr}`);
}
