#!/usr/bin/env node
// Makes dist/robustmq-<version>-<os>-<arch>.tar.gz out of the built bundle: unpack, ./bin/robust-server start.
// Without a built bundle it builds one first. `--platform linux-arm64` packs another platform's native part.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { create } from 'tar';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const app = join(root, 'apps/robust-server');
const bench = join(root, 'apps/robust-bench');
/** The commands of the archive, each with its bundle in lib/. */
const PROGRAMS = [
  { folder: app, launcher: 'bin/robust-server', bundle: 'robust-server.mjs' },
  { folder: bench, launcher: 'bin/robust-bench', bundle: 'robust-bench.mjs' },
];
const { values: options } = parseArgs({
  options: {
    platform: { type: 'string', default: `${process.platform}-${process.arch}` },
    out: { type: 'string', default: join(root, 'dist') },
  },
});
const { version } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'));
const name = `robustmq-${version}-${options.platform}`;
const stage = join(options.out, name);

for (const { folder, bundle } of PROGRAMS) {
  if (existsSync(join(folder, 'dist', bundle))) continue;
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/bundle.mjs')], { cwd: folder, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
const natives = readdirSync(join(app, 'dist/native')).filter(
  (file) => file.replace(/^classic-level-|(-musl)?\.node$/g, '') === options.platform,
);
if (natives.length === 0) {
  console.error(
    `There is no native part for ${options.platform}: the platforms are those of apps/robust-server/dist/native`,
  );
  process.exit(64);
}

rmSync(stage, { recursive: true, force: true });
for (const folder of ['bin', 'lib/native', 'config']) mkdirSync(join(stage, folder), { recursive: true });
for (const { folder, launcher, bundle } of PROGRAMS) {
  copyFileSync(join(folder, 'dist', launcher), join(stage, launcher));
  chmodSync(join(stage, launcher), 0o755);
  copyFileSync(join(folder, 'dist', bundle), join(stage, 'lib', bundle));
}
const notices = PROGRAMS.map(({ folder }) => readFileSync(join(folder, 'dist/THIRD-PARTY-NOTICES.txt'), 'utf8'));
writeFileSync(join(stage, 'THIRD-PARTY-NOTICES.txt'), mergedNotices(notices));
for (const file of natives) copyFileSync(join(app, 'dist/native', file), join(stage, 'lib/native', file));
cpSync(join(root, 'config'), join(stage, 'config'), { recursive: true });
for (const file of ['LICENSE', 'README.md']) copyFileSync(join(root, file), join(stage, file));

const archive = `${stage}.tar.gz`;
await create({ file: archive, cwd: options.out, gzip: { level: 9 }, portable: true }, [name]);
rmSync(stage, { recursive: true, force: true });
console.log(`${archive} (${(statSync(archive).size / 1e6).toFixed(2)} MB)`);

/** Each package once, whichever bundles hold it. */
function mergedNotices(texts) {
  const rule = `\n${'-'.repeat(78)}\n\n`;
  return [...new Set(texts.flatMap((text) => text.split(rule)))].sort().join(rule);
}
