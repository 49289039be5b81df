import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePort, isInstalled, whenItListens } from './servers.js';

export const hasRedis = isInstalled('redis-server');

/** A Redis server of the test's own, with its files in a directory of its own. */
export class RedisServer {
  readonly url: string;
  readonly #port: number;
  readonly #directory: string;
  readonly #settings: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(parts: { port: number; directory: string; settings: readonly string[] }) {
    this.#port = parts.port;
    this.#directory = parts.directory;
    this.#settings = parts.settings;
    this.url = `redis://127.0.0.1:${parts.port}`;
  }

  static async start(...settings: string[]): Promise<RedisServer> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'redis-'));
    const server = new RedisServer({ port: await freePort(), directory, settings });
    await server.run();
    return server;
  }

  /** Starts the process; after kill() on what it left. */
  async run(): Promise<void> {
    const address = ['--bind', '127.0.0.1', '--port', String(this.#port), '--dir', this.#directory, '--save', ''];
    this.#process = spawn('redis-server', [...address, ...this.#settings], { stdio: 'ignore' });
    await whenItListens(this.#port, () => {
      const pong = execFileSync('redis-cli', ['-p', String(this.#port), 'ping'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return pong.toString().trim() === 'PONG';
    });
  }

  async kill(): Promise<void> {
    const process = this.#process;
    if (!process || process.exitCode !== null) return;
    const gone = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await gone;
  }

  async stop(): Promise<void> {
    await this.kill();
    await fs.rm(this.#directory, { recursive: true, force: true });
  }
}
