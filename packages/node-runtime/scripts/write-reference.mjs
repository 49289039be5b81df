#!/usr/bin/env node
// Writes docs/reference/configuration.md from the schema. Run it after a change of src/config/schema.ts.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const home = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(home, '../../docs/reference/configuration.md');
const scratch = await mkdtemp(join(tmpdir(), 'robustmq-reference-'));
try {
  const outfile = join(scratch, 'reference.mjs');
  await build({
    entryPoints: [join(home, 'src/config/reference.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@robustmq/source'],
    mainFields: ['module', 'main'],
  });
  const { configurationReference } = await import(pathToFileURL(outfile).href);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, configurationReference());
} finally {
  await rm(scratch, { recursive: true });
}
