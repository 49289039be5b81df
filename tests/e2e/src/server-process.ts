// A server of ours as its users run it: the built artefact in a process of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const repositoryRoot = fileURLToPath(new URL('../../..', import.meta.url));

export interface ServerOptions {
  /** Which app, by the name of its folder; the all-in-one when absent. */
  readonly app?: 'robust-server' | 'meta-only' | 'broker-only';
  /** The launcher to start instead of the one in the app's dist folder. */
  readonly launcher?: string;
  readonly dataPath?: string;
  /** `--set key=value` for each. */
  readonly set?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly cwd?: string;
}

export interface LogLine {
  readonly msg: string;
  readonly level: string | number;
  readonly [field: string]: unknown;
}

export interface ReadyAddresses {
  readonly mqtt: string | undefined;
  readonly ws: string | undefined;
  readonly http: string | undefined;
  readonly grpc: string | undefined;
}

/** Every listener on a port of the system's choosing, so that tests never meet. */
const ANY_PORTS = {
  'grpc.bind': '127.0.0.1:0',
  'http.bind': '127.0.0.1:0',
  'mqtt.listeners.tcp.bind': '127.0.0.1:0',
  'mqtt.listeners.ws.bind': '127.0.0.1:0',
};

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #lines: LogLine[] = [];
  readonly #waiting = new Set<(line: LogLine) => void>();
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** All of stderr, and what stdout carried beside log lines. */
  text = '';

  constructor(options: ServerOptions = {}) {
    const app = options.app ?? 'robust-server';
    const launcher = options.launcher ?? join(repositoryRoot, 'apps', app, 'dist/bin', app);
    const anyPorts = app === 'meta-only' ? { 'grpc.bind': '127.0.0.1:0', 'http.bind': '127.0.0.1:0' } : ANY_PORTS;
    const settings = { 'log.format': 'json', ...anyPorts, ...options.set };
    const args = ['start', ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])];
    if (options.dataPath !== undefined) args.push('--data-path', options.dataPath);
    this.#child = spawn(launcher, [...args, ...(options.args ?? [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: options.cwd ?? repositoryRoot,
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
    });
    this.exited = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#read(line));
    }
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** Resolves with the addresses once the server says it is ready; rejects with its output when it ends before. */
  async ready(): Promise<ReadyAddresses> {
    const line = await this.waitFor((candidate) => candidate.msg === 'ready');
    return line as unknown as ReadyAddresses; // the fields of the ready line are this interface
  }

  /** The first line, past or to come, that satisfies. */
  async waitFor(wanted: (line: LogLine) => boolean): Promise<LogLine> {
    const seen = this.#lines.find(wanted);
    if (seen) return seen;
    let stop = () => {};
    const found = new Promise<LogLine>((resolve) => {
      const look = (line: LogLine) => {
        if (wanted(line)) resolve(line);
      };
      this.#waiting.add(look);
      stop = () => this.#waiting.delete(look);
    });
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`the server ended with ${signal ?? code} before it said so:\n${this.transcript()}`);
    });
    try {
      return await Promise.race([found, ended]);
    } finally {
      stop();
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends the signal and waits until the process is gone. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal);
    const { code } = await this.exited;
    return code;
  }

  transcript(): string {
    return [this.text, ...this.#lines.map((line) => JSON.stringify(line))].join('\n');
  }

  #read(text: string): void {
    let line: LogLine;
    try {
      line = JSON.parse(text);
    } catch {
      this.text += `${text}\n`;
      return;
    }
    this.#lines.push(line);
    for (const look of this.#waiting) look(line);
  }
}

/** A port that was free a moment ago, for servers that must come back at the same address. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}

/** Runs a command of an app to its end. */
export async function runCommand(args: readonly string[], options: ServerOptions = {}) {
  const app = options.app ?? 'robust-server';
  const launcher = options.launcher ?? join(repositoryRoot, 'apps', app, 'dist/bin', app);
  const child = spawn(launcher, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd ?? repositoryRoot,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  return { code: code as number | null, stdout, stderr }; // 'close' carries the exit code first
}
