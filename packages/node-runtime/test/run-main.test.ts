// runMain in a process of its own: real signals, a real exit.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';

const PROGRAM = `
import { systemClock } from '@robustmq/stdx/clock';
import { createLogger } from './logger.js';
import { runMain } from './run-main.js';
import { StartSteps } from './start-steps.js';

const wait = (ms) => new Promise((resolve) => systemClock.setTimer(ms, resolve));
const [mode] = process.argv.slice(2);
await runMain(async (context) => {
  const log = createLogger({ log: { level: 'info', format: 'json' } });
  const steps = new StartSteps({ deadlineMs: 10_000, log, signal: context.stopSignal });
  context.adopt({ log, shutdownDeadlineMs: 700, activity: () => steps.activity });
  if (mode === 'fault') void Promise.reject(new RangeError('surprise'));
  await steps.step({ number: 1, name: 'something' }, {}, async () => {
    await wait(50);
    return { [Symbol.asyncDispose]: () => (mode === 'hang' ? new Promise(() => {}) : wait(5)) };
  });
  log.info('up');
  if (mode === 'once') return;
  await context.shutdownRequested();
  await steps[Symbol.asyncDispose]();
}, { program: 'test-program' });
`;

let directory: string;
let bundle: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'robustmq-run-main-'));
  bundle = join(directory, 'program.mjs');
  const banner = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
  await build({
    stdin: { contents: PROGRAM, loader: 'ts', resolveDir: join(import.meta.dirname, '../src') },
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@robustmq/source'],
    mainFields: ['module', 'main'],
    banner: { js: banner },
  });
});
afterAll(() => rm(directory, { recursive: true }));

class Program {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #exit: Promise<number | null>;
  out = '';
  err = '';

  constructor(mode: string) {
    this.#child = spawn(process.execPath, [bundle, mode], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exit = once(this.#child, 'close').then(([code]) => code);
    this.#child.stdout.on('data', (chunk) => {
      this.out += chunk;
    });
    this.#child.stderr.on('data', (chunk) => {
      this.err += chunk;
    });
  }

  async says(text: string): Promise<void> {
    while (!this.out.includes(text)) await once(this.#child.stdout, 'data');
  }

  /** Whoever read the log is gone. */
  closeOutput(): void {
    this.#child.stdout.destroy();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  exited(): Promise<number | null> {
    return this.#exit;
  }
}

describe('a process under runMain', () => {
  it('waits for timers that keep nothing alive, then ends with 0', async () => {
    const program = new Program('once');
    expect(await program.exited()).toBe(0);
    expect(program.out).toContain('"msg":"up"');
    expect(program.err).toBe('');
  });

  it('stops in order on SIGTERM: the last lines of the log are written', async () => {
    const program = new Program('serve');
    await program.says('"msg":"up"');
    program.kill('SIGTERM');
    expect(await program.exited()).toBe(0);
    expect(program.out).toContain('closed something');
    expect(program.err).toBe('');
  });

  it('is cut at the deadline when closing hangs', async () => {
    const program = new Program('hang');
    await program.says('"msg":"up"');
    program.kill('SIGINT');
    expect(await program.exited()).toBe(1);
    expect(program.err).toBe(
      'test-program: not stopped within 700 ms (still closing something): ended. The next start recovers; raise shutdown.deadline_ms if it needs longer\n',
    );
  });

  it('ends at once with 70 on a rejection that nobody handled', async () => {
    const program = new Program('fault');
    expect(await program.exited()).toBe(70);
    expect(program.err).toContain('test-program: ended by a failure that nobody handled: surprise');
    expect(program.out).not.toContain('"msg":"up"');
  });

  it('outlives the reader of its log', async () => {
    const program = new Program('serve');
    await program.says('"msg":"up"');
    program.closeOutput();
    program.kill('SIGTERM');
    expect(await program.exited()).toBe(0);
  });
});
