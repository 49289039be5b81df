// What a person sees when the server is ready: what listens where, how durable it is, who may connect, what to try.

import type { Config } from '@robustmq/node-runtime';

export interface FirstScreenFacts {
  readonly config: Config;
  /** Where things are reached, by name: `mqtt`, `tls`, `ws`, `wss`, `http`, `grpc`. */
  readonly addresses: ReadonlyMap<string, string>;
}

const DURABILITY: Readonly<Record<Config['storage']['type'], (path: string) => string>> = {
  journal: (path) =>
    `journal in ${path}: what is acknowledged is on disk (fdatasync), and survives kill -9 and power loss`,
  level: (path) => `level in ${path}: what is acknowledged is on disk (synced), for small nodes`,
  postgres: () => 'postgres, another server: what is acknowledged is committed there',
  redis: () => 'redis, another server: what is acknowledged may be lost when it fails over',
  memory: () => 'memory: nothing is kept when this process ends, not even what was acknowledged',
};

const WHO: Readonly<Record<Config['mqtt']['auth']['anonymous'], string>> = {
  loopback:
    'clients on this machine, without a password; others are refused (--set mqtt.auth.anonymous=everywhere lets them in)',
  everywhere: 'every client that can reach the port, WITHOUT a password (mqtt.auth.anonymous)',
  nowhere: 'nobody without credentials (mqtt.auth.anonymous)',
};

/** One line each; the first screen of a start. */
export function firstScreen({ config, addresses }: FirstScreenFacts): string[] {
  const reached: readonly (readonly [string, string | undefined])[] = [
    ['MQTT', addresses.get('mqtt')],
    ['MQTT over TLS', addresses.get('tls')],
    ['MQTT over WebSocket', prefixed('ws://', addresses.get('ws'), config.mqtt.listeners.ws.path)],
    ['MQTT over WebSocket and TLS', prefixed('wss://', addresses.get('wss'), config.mqtt.listeners.wss.path)],
    ['health, status, metrics', prefixed('http://', addresses.get('http'), '')],
    ['cluster (gRPC)', addresses.get('grpc')],
  ];
  const lines = [
    `listening: ${reached.flatMap(([what, where]) => (where === undefined ? [] : [`${what} at ${where}`])).join(', ')}`,
  ];
  if (!config.roles.includes('broker')) return lines;
  lines.push(`storage: ${DURABILITY[config.storage.type](config.data_path)}`);
  lines.push(`who may connect: ${WHO[config.mqtt.auth.anonymous]}`);
  const port = addresses.get('mqtt')?.split(':').at(-1);
  if (port !== undefined) {
    const flag = port === '1883' ? '' : ` -p ${port}`;
    lines.push(
      `try: mosquitto_sub${flag} -t 'hello/#' -q 1    and in another window: mosquitto_pub${flag} -t hello/world -m 'it works' -q 1`,
    );
  }
  return lines;
}

function prefixed(scheme: string, address: string | undefined, path: string): string | undefined {
  return address === undefined ? undefined : `${scheme}${address}${path}`;
}
