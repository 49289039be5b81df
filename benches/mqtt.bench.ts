// The broker beside Mosquitto and a bare Node forwarder, by processor second: the shared yardstick drives it where it
// is at hand (../shared/bench, its generator is C), and our own robust-bench where it is not.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compareMqtt } from './mqtt-scenarios.js';
import type { BenchContext } from './statistics.js';

const YARDSTICK = join(process.cwd(), '../shared/bench');
const SCENARIOS = 'pair0,pair1,fanout0,fanin0,single0,single1,latency1,idle';

export async function run({ quick, scratch, scenarios = SCENARIOS, ...asked }: BenchContext): Promise<string> {
  const rounds = asked.rounds ?? (quick ? 1 : 5);
  if (!existsSync(YARDSTICK)) {
    const made = await compareMqtt({
      rounds,
      scratch,
      ours: (port) => [process.execPath, ...ourServer(scratch, port)],
    });
    return `robust-bench, the broker pinned to one core, the generator to the other; medians of ${rounds} interleaved rounds.\n\n${made}`;
  }
  const brokers = ['mosquitto', 'nodemin-tick', 'ours'].filter(
    (name) => name !== 'mosquitto' || spawnSync('mosquitto', ['-h']).error === undefined,
  );
  const bench = join(scratch, 'bench');
  mkdirSync(bench);
  cpSync(YARDSTICK, bench, { recursive: true });
  execFileSync('cc', ['-O2', '-std=c99', '-o', join(bench, 'mqload'), join(bench, 'mqload.c')]);
  const port = 21890;
  const ours = `${port} node ${ourServer(scratch, port).join(' ')}`;
  const compare = [
    '-c',
    `ulimit -n 20000; exec node ${join(bench, 'compare.mjs')} --rounds ${rounds} --scenarios ${scenarios} --brokers ${brokers.join(',')} --ours '${ours}'`,
  ];
  const { stdout, stderr, status } = spawnSync('bash', compare, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (status !== 0) return `Failed: ${stderr.slice(-2000)}`;
  const result = stdout.slice(stdout.lastIndexOf('\nscenario'));
  return `Broker pinned to one core, generator to the other; medians of ${rounds} interleaved rounds.\n\n\`\`\`\n${result.trim()}\n\`\`\``;
}

/** The arguments of node that start our broker on a port. */
function ourServer(scratch: string, port: number): readonly string[] {
  const server = join(process.cwd(), 'apps/robust-server/dist/robust-server.mjs');
  const settings = [
    'grpc.bind=127.0.0.1:0',
    'http.bind=off',
    'mqtt.listeners.ws.bind=off',
    `mqtt.listeners.tcp.bind=127.0.0.1:${port}`,
  ];
  const flags = settings.flatMap((setting) => ['--set', setting]);
  return ['--max-semi-space-size=32', server, 'start', '--data-path', join(scratch, 'data'), ...flags];
}
