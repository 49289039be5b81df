// No container engine is at hand where the tests run, so this checks what can be checked without one: that the
// files agree with each other, with the artefact and with the command line.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse as parseToml } from 'smol-toml';
import { parse } from 'yaml';
import { repositoryRoot, runCommand } from '../src/server-process.js';

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8');

interface Service {
  readonly environment: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes: readonly string[];
  readonly build: { readonly context: string; readonly dockerfile: string };
}

const compose = (path: string) =>
  parse(read(path), { merge: true }) as { services: Record<string, Service>; volumes: Record<string, null> };

/** `config print` prints TOML that can be loaded again. */
interface PrintedConfig {
  readonly node_id: number;
  readonly advertise_host: string;
  readonly meta: { readonly peers: Readonly<Record<string, string>> };
  readonly mqtt: {
    readonly listeners: { readonly tcp: { readonly bind: string }; readonly ws: { readonly bind: string } };
  };
  readonly http: { readonly bind: string };
  readonly grpc: { readonly bind: string };
}

const printed = (toml: string) => parseToml(toml) as unknown as PrintedConfig; // the settings this file looks at

/** What `config print` makes of a service's environment. */
async function configOf(service: Service) {
  const env = Object.fromEntries(
    Object.entries(service.environment).map(([key, value]) => [
      key,
      value.replace(/^\$\{.*\}$/, 'a-secret-of-enough-characters'),
    ]),
  );
  const { code, stdout, stderr } = await runCommand(['config', 'print'], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return printed(stdout);
}

describe('Dockerfile', () => {
  const dockerfile = read('docker/Dockerfile');

  it('installs the pnpm of the workspace', () => {
    expect(dockerfile).toContain(JSON.parse(read('package.json'))['packageManager']);
  });

  it('starts and checks the command that the archive has', async () => {
    expect(read('scripts/package.mjs')).toContain("'bin/robust-server'");
    expect(dockerfile).toContain('/opt/robustmq/bin/robust-server');
    expect(dockerfile).toMatch(/HEALTHCHECK .*CMD \["robust-server", "status"\]/);
    const status = await runCommand(['status', '--help']);
    expect(status.code).toBe(0);
  });

  it('exposes the default ports', async () => {
    const { stdout } = await runCommand(['config', 'print']);
    const config = printed(stdout);
    const binds: string[] = [
      config.mqtt.listeners.tcp.bind,
      config.mqtt.listeners.ws.bind,
      config.http.bind,
      config.grpc.bind,
    ];
    const exposed = /^EXPOSE (.*)$/m.exec(dockerfile)?.[1]?.split(' ');
    expect(exposed).toEqual(binds.map((bind) => bind.split(':').at(-1)));
  });
});

for (const path of ['docker/compose.yaml', 'docker/compose.cluster.yaml']) {
  describe(path, () => {
    const { services, volumes } = compose(path);

    for (const [name, service] of Object.entries(services)) {
      it(`${name} is built from the Dockerfile, keeps its data, and has a configuration that is accepted`, async () => {
        expect(service.build).toEqual({ context: '..', dockerfile: 'docker/Dockerfile' });
        for (const volume of service.volumes) {
          const [source = '', target] = volume.split(':');
          expect(Object.keys(volumes)).toContain(source);
          expect(target).toBe('/data');
        }
        const config = await configOf(service);
        for (const port of service.ports ?? []) {
          const [host, , inside] = port.split(':');
          expect(host).toBe('127.0.0.1');
          expect([config.mqtt.listeners.tcp.bind, config.mqtt.listeners.ws.bind]).toContain(`0.0.0.0:${inside}`);
        }
      });
    }
  });
}

it('the three nodes of the cluster know each other and differ in their id', async () => {
  const configs = await Promise.all(Object.values(compose('docker/compose.cluster.yaml').services).map(configOf));
  expect(configs.map((config) => config.node_id)).toEqual([1, 2, 3]);
  for (const config of configs) {
    expect(config.meta.peers).toEqual({ 1: 'node1:1228', 2: 'node2:1228', 3: 'node3:1228' });
    expect(config.meta.peers[config.node_id]?.split(':')[0]).toBe(config.advertise_host);
  }
});
