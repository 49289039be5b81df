import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePort, whenItListens } from './servers.js';

const INSTALLED = '/usr/lib/postgresql';
const version = existsSync(INSTALLED) ? readdirSync(INSTALLED).sort().at(-1) : undefined;
const bin = (program: string) => path.join(INSTALLED, version ?? '', 'bin', program);

/** It refuses to run as root, so root runs it as the user that Debian made for it. */
const isRoot = os.userInfo().uid === 0;
const ids = isRoot && version !== undefined ? postgresIds() : {};

export const hasPostgres = version !== undefined && existsSync(bin('initdb'));

/** A PostgreSQL server of the test's own, in a directory of its own. */
export class PostgresServer {
  readonly url: string;
  readonly #port: number;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, directory: string) {
    this.#port = port;
    this.#directory = directory;
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  }

  static async start(...settings: string[]): Promise<PostgresServer> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'postgres-'));
    if (ids.uid !== undefined && ids.gid !== undefined) await fs.chown(directory, ids.uid, ids.gid);
    const data = path.join(directory, 'data');
    execFileSync(bin('initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'], {
      ...ids,
      cwd: directory,
      stdio: 'ignore',
    });
    const server = new PostgresServer(await freePort(), directory);
    await server.run(...settings);
    return server;
  }

  async run(...settings: string[]): Promise<void> {
    const all = ['listen_addresses=127.0.0.1', `port=${this.#port}`, 'unix_socket_directories=', ...settings];
    const args = ['-D', path.join(this.#directory, 'data'), ...all.flatMap((one) => ['-c', one])];
    this.#process = spawn(bin('postgres'), args, { ...ids, cwd: this.#directory, stdio: 'ignore' });
    await whenItListens(this.#port, () => {
      execFileSync(bin('pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(this.#port)], { stdio: 'ignore' });
      return true;
    });
  }

  /** `SIGQUIT`: it stops at once and recovers from its log when it runs again; its children go with it. */
  async kill(signal: 'SIGQUIT' | 'SIGINT' = 'SIGQUIT'): Promise<void> {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const gone = new Promise((resolve) => process.once('exit', resolve));
    process.kill(signal);
    await gone;
  }

  async stop(): Promise<void> {
    await this.kill();
    await fs.rm(this.#directory, { recursive: true, force: true });
  }
}

function postgresIds(): { uid?: number; gid?: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres']).toString());
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return {};
  }
}
