// One file of the simulation and everything it runs, straight from the sources; a planted fault is put in on the way, so that
// the sources know nothing of it.

import { readFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { PLANTED_FAULTS } from './planted-faults.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');

const banner =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** The path of the program; `plant` names a planted fault. */
export async function bundle(plant) {
  const outfile = join(await mkdtemp(join(tmpdir(), 'robustmq-simulation-')), 'run-seeds.mjs');
  await build({
    entryPoints: [join(here, 'run-seeds.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@robustmq/source'],
    banner: { js: banner },
    sourcemap: 'inline',
    logLevel: 'error',
    plugins: plant === undefined ? [] : [planting(plant)],
  });
  return outfile;
}

function planting(name) {
  const fault = PLANTED_FAULTS.find((known) => known.name === name);
  if (!fault)
    throw new Error(
      `no planted fault is called ${name}; there are: ${PLANTED_FAULTS.map((known) => known.name).join(', ')}`,
    );
  const path = join(root, fault.file);
  return {
    name: 'plant',
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, (args) => {
        if (args.path !== path) return undefined;
        let contents = readFileSync(path, 'utf8');
        for (const [original, planted] of fault.changes) {
          if (contents.split(original).length !== 2)
            throw new Error(`${name}: ${fault.file} has not exactly once: ${original}`);
          contents = contents.replace(original, () => planted);
        }
        return { contents, loader: 'ts' };
      });
    },
  };
}
