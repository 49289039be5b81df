// The broker beside Mosquitto with our own generator, for a machine that has not the shared yardstick.
//
// Each round starts every broker in turn, pinned to one core, and runs the scenarios from the other. Only processes
// started here are measured or stopped.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { quantile, table } from './statistics.js';

const SCENARIOS = ['pair0', 'pair1', 'pair2', 'fanout0', 'fanin0', 'single0', 'single1', 'latency1', 'durable1'];
const READY_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 50;
const SETTLE_MS = 500;
const STOP_WITHIN_MS = 5000;

export interface MqttComparison {
  readonly rounds: number;
  readonly scratch: string;
  /** The command that starts our broker on a port. */
  readonly ours: (port: number) => readonly string[];
}

interface Rival {
  readonly name: string;
  readonly command: (port: number) => readonly string[];
}

interface Result {
  readonly broker: string;
  readonly scenario: string;
  /** Messages received for one second of the broker's processor time. */
  readonly perCore: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly lost: number;
}

/**
 * A table of medians; idle connections, and what could not be run, are under it. `durable1` is not a fair race: ours
 * answers after fdatasync, Mosquitto keeps its messages in memory.
 */
export async function compareMqtt({ rounds, scratch, ours }: MqttComparison): Promise<string> {
  const generator = builtGenerator();
  const rivals: Rival[] = [{ name: 'ours', command: ours }];
  if (spawnSync('mosquitto', ['-h']).error === undefined) {
    rivals.unshift({ name: 'mosquitto', command: (port) => mosquitto(scratch, port) });
  }
  const results: Result[] = [];
  const notes: string[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const { name, command } of rivals) {
      const port = await freePort();
      const [program = '', ...args] = pinned(0, command(port));
      const broker = spawn(program, args, { stdio: 'ignore' });
      try {
        await listening(broker, port);
        for (const scenario of SCENARIOS) {
          const outcome = measure({ generator, scenario, port, pid: broker.pid ?? 0 });
          if (typeof outcome === 'string') notes.push(`${name} ${scenario}: ${outcome}`);
          else results.push({ broker: name, scenario, ...outcome });
        }
        notes.push(`idle, ${name}: ${measureIdle({ generator, scenario: 'idle', port, pid: broker.pid ?? 0 })}`);
      } finally {
        await stop(broker);
      }
    }
  }
  return report(results, notes);
}

function report(results: readonly Result[], notes: readonly string[]): string {
  const rows = SCENARIOS.flatMap((scenario) => {
    const of = (broker: string) => results.filter((result) => result.scenario === scenario && result.broker === broker);
    const base = median(of('mosquitto').map(({ perCore }) => perCore));
    return ['mosquitto', 'ours']
      .filter((broker) => of(broker).length > 0)
      .map((broker) => {
        const mine = of(broker);
        const perCore = mine.map((result) => result.perCore);
        const ratio = median(perCore) / base;
        return [
          scenario,
          broker,
          `${Math.round(Math.min(...perCore))} / **${Math.round(median(perCore))}** / ${Math.round(Math.max(...perCore))}`,
          Number.isNaN(ratio) ? '' : `${ratio.toFixed(2)}×`,
          `${ms(median(mine.map(({ p50Us }) => p50Us)))} / ${ms(median(mine.map(({ p99Us }) => p99Us)))}`,
          String(mine.reduce((sum, { lost }) => sum + lost, 0)),
        ];
      });
  });
  const head = ['scenario', 'broker', 'received per broker core: min / median / max', 'ratio', 'p50 / p99 ms', 'lost'];
  return [table(head, rows), '', ...notes.map((note) => `- ${note}`)].join('\n');
}

const median = (values: readonly number[]) => quantile(values, 0.5);
const ms = (microseconds: number) => (microseconds / 1000).toFixed(2);

interface Run {
  readonly generator: string;
  readonly scenario: string;
  readonly port: number;
  readonly pid: number;
}

/** What was measured, or why nothing was. */
function measure(run: Run): Omit<Result, 'broker' | 'scenario'> | string {
  const report = generate(run);
  if (typeof report === 'string') return report;
  const { cores, receivedPerSecond, latencyUs, lost } = report;
  const perCore: number = receivedPerSecond / Math.max(cores.broker ?? Number.NaN, 0.01);
  return { perCore, p50Us: Number(latencyUs.p50), p99Us: Number(latencyUs.p99), lost: Number(lost) };
}

function measureIdle(run: Run): string {
  const report = generate(run);
  if (typeof report === 'string') return report;
  const kibibytes = (report.brokerBytesPerConnection / 1024).toFixed(1);
  return `${Math.round(report.connectsPerSecond)} connects/s, ${kibibytes} KiB each, ${report.brokerCpuSeconds.toFixed(2)} s of the broker's processor time for ${report.connected}`;
}

/** The report of robust-bench, whose shape is in apps/robust-bench/src/report.ts, or why there is none. */
function generate({ generator, scenario, port, pid }: Run) {
  const flags = ['--port', String(port), '--broker-pid', String(pid), '--json', '-'];
  const node = [process.execPath, '--max-semi-space-size=32', generator, 'mqtt', 'scenario', scenario, ...flags];
  const [program = '', ...args] = pinned(1, node);
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 90_000, maxBuffer: 1 << 24 });
  if (stdout === '') return stderr.trim();
  const report = JSON.parse(stdout);
  return report.failure === undefined ? report : String(report.failure);
}

/** With room for the idle connections. On a machine of one core, or without taskset, nothing is pinned. */
function pinned(core: number, command: readonly string[]): readonly string[] {
  const can = cpus().length > 1 && spawnSync('taskset', ['-V']).error === undefined;
  const roomy = ['sh', '-c', 'ulimit -n 20000; exec "$@"', 'sh']; // exec: the process id stays the broker's
  return [...roomy, ...(can ? ['taskset', '-c', String(core)] : []), ...command];
}

function mosquitto(scratch: string, port: number): readonly string[] {
  mkdirSync(scratch, { recursive: true });
  const file = join(scratch, `mosquitto-${port}.conf`);
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'persistence false',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    'log_dest none',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return ['mosquitto', '-c', file];
}

function builtGenerator(): string {
  const app = join(process.cwd(), 'apps/robust-bench');
  const bundle = join(app, 'dist/robust-bench.mjs');
  if (!existsSync(bundle)) {
    spawnSync(process.execPath, [join(process.cwd(), 'scripts/bundle.mjs')], { cwd: app, stdio: 'inherit' });
  }
  return bundle;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo; // listening, on TCP
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

async function listening(broker: ChildProcess, port: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < READY_WITHIN_MS; waitedMs += LOOK_EVERY_MS) {
    if (broker.exitCode !== null)
      throw new Error(`${broker.spawnfile} ended with ${broker.exitCode} before it listened`);
    const answered = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
    });
    if (answered) {
      await sleep(SETTLE_MS);
      return;
    }
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`${broker.spawnfile} does not listen on ${port} after ${READY_WITHIN_MS} ms`);
}

async function stop(broker: ChildProcess): Promise<void> {
  if (broker.exitCode !== null || broker.signalCode !== null) return;
  const ended = new Promise((resolve) => {
    broker.once('exit', resolve);
  });
  broker.kill();
  const patience = setTimeout(() => broker.kill('SIGKILL'), STOP_WITHIN_MS);
  await ended;
  clearTimeout(patience);
}
