#!/usr/bin/env node
// Writes what the code already says into the reference: the error codes of every package, between the markers of
// docs/reference/errors.md. With --check nothing is written, and a difference ends with 1.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const file = join(root, 'docs/reference/errors.md');

/** Package, error class, catalogue. */
const CATALOGUES = [
  ['mqtt-broker', 'MqttError', 'MQTT_ERRORS'],
  ['storage-adapter', 'StorageError', 'STORAGE_ERRORS'],
  ['journal-engine', 'JournalError', 'JOURNAL_ERRORS'],
  ['meta-raft', 'MetaError', 'META_ERRORS'],
  ['wal', 'WalError', 'WAL_ERRORS'],
];

const written = readFileSync(file, 'utf8');
const marker = '<!-- written by scripts/reference.mjs from here on -->';
const head = written.split(marker)[0].trimEnd();
const sections = await Promise.all(CATALOGUES.map(section));
const expected = `${head}\n\n${marker}\n\n${sections.join('\n\n')}\n`;

if (written === expected) process.exit(0);
if (process.argv.includes('--check')) {
  console.error('docs/reference/errors.md is not what the catalogues say: run node scripts/reference.mjs');
  process.exit(1);
}
writeFileSync(file, expected);

async function section([name, className, catalogueName]) {
  const catalogue = await load(join(root, 'packages', name, 'src/errors.ts'), catalogueName);
  const rows = Object.entries(catalogue).map(([code, { when, next }]) => `| \`${code}\` | ${when} | ${next} |`);
  return [`## \`${className}\`, packages/${name}`, '', '| code | when | next |', '|---|---|---|', ...rows].join('\n');
}

async function load(path, name) {
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    conditions: ['@robustmq/source'],
    logLevel: 'error',
  });
  const module = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
  return module[name];
}
