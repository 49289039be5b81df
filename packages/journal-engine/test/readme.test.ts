import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';

describe('the README', () => {
  it('has a quick start that runs as written', async () => {
    const readme = await fs.readFile(path.join(import.meta.dirname, '../README.md'), 'utf8');
    const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'robustmq-journal-readme-'));
    try {
      const outfile = path.join(directory, 'quick-start.mjs');
      await build({
        stdin: { contents: program, loader: 'ts', resolveDir: import.meta.dirname },
        outfile,
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        conditions: ['@robustmq/source'],
        external: ['level'],
        logLevel: 'error',
        banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
      });
      const { stdout } = await promisify(execFile)(process.execPath, [outfile], { cwd: directory });
      expect(stdout).toBe("durable up to 1\n[ '0: paid' ]\n");
    } finally {
      await fs.rm(directory, { recursive: true, force: true });
    }
  }, 60_000);
});
