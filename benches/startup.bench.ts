// From starting the process to its line "ready": the all-in-one server, on an empty and on a used directory.
// Goal: at most 1.0 s on an empty directory (floor), 0.4 s (goal).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type BenchContext, spread, table } from './statistics.js';

const LAUNCHER = join(process.cwd(), 'apps/robust-server/dist/bin/robust-server');
const PORTS = ['grpc.bind', 'http.bind', 'mqtt.listeners.tcp.bind', 'mqtt.listeners.ws.bind'].flatMap((key) => [
  '--set',
  `${key}=127.0.0.1:0`,
]);

export async function run({ quick, scratch }: BenchContext): Promise<string> {
  const rounds = quick ? 3 : 15;
  const empty: number[] = [];
  const used: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const dataPath = mkdtempSync(join(scratch, 'data-'));
    empty.push(await startToReadyMs(dataPath));
    used.push(await startToReadyMs(dataPath));
  }
  return table(
    ['start to ready', 'ms (min / median / max)', 'rounds'],
    [
      ['empty directory', spread(empty), String(rounds)],
      ['second start of the same', spread(used), String(rounds)],
    ],
  );
}

async function startToReadyMs(dataPath: string): Promise<number> {
  const from = performance.now();
  const child = spawn(LAUNCHER, ['start', '--data-path', dataPath, '--set', 'log.format=json', ...PORTS], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('"msg":"ready"')) break;
  }
  const took = performance.now() - from;
  child.kill('SIGTERM');
  await exited;
  return took;
}
