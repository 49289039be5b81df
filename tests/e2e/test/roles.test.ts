// The roles apart: a broker that keeps nothing finds its metadata by gRPC; three metadata nodes form one cluster and
// outlive the loss of one. On the built artefacts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { connectMeta, type MetaClient } from '@robustmq/meta-raft/client';
import mqtt from 'mqtt';
import { freePort, runCommand, type ServerOptions, ServerProcess } from '../src/server-process.js';

const scratch: string[] = [];
const running: ServerProcess[] = [];
const clients: MetaClient[] = [];

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'robustmq-roles-'));
  scratch.push(path);
  return path;
}

async function start(options: ServerOptions): Promise<ServerProcess> {
  const server = new ServerProcess({ dataPath: await directory(), ...options });
  running.push(server);
  return server;
}

function metaClient(endpoints: readonly string[]): MetaClient {
  const client = connectMeta({ endpoints });
  clients.push(client);
  return client;
}

async function registeredNodes(meta: MetaClient): Promise<number[]> {
  const { kvs } = await meta.range({ prefix: 'nodes/' });
  return kvs.map(({ value }) => JSON.parse(value.toString()).nodeId).sort();
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await Promise.all(running.splice(0).map((server) => server.end('SIGKILL')));
});

afterAll(async () => {
  await Promise.all(scratch.map((path) => rm(path, { recursive: true, force: true })));
});

describe('a broker apart from its metadata', () => {
  it('finds it by gRPC, serves clients, and both are registered', async () => {
    const meta = await start({ app: 'meta-only' });
    const { grpc = '' } = await meta.ready();
    const broker = await start({
      app: 'broker-only',
      set: { node_id: '2', 'meta.peers.1': grpc, 'storage.type': 'memory' },
    });
    const { mqtt: address, http: httpAddress = '' } = await broker.ready();

    const client = await mqtt.connectAsync(`mqtt://${address}`, { protocolVersion: 5, reconnectPeriod: 0 });
    const arrived = new Promise<string>((resolve) =>
      client.once('message', (_topic, payload) => resolve(payload.toString())),
    );
    await client.subscribeAsync('apart/#', { qos: 1 });
    await client.publishAsync('apart/from', 'the metadata', { qos: 1 });
    expect(await arrived).toBe('the metadata');
    await client.endAsync();

    expect(await registeredNodes(metaClient([grpc]))).toEqual([1, 2]);

    const status = await runCommand(
      ['status', '--set', `http.bind=${httpAddress}`, '--set', 'meta.peers.1=127.0.0.1:1'],
      { app: 'broker-only' },
    );
    expect(status.code).toBe(0);
    expect(JSON.parse(status.stdout)).toMatchObject({ node: 2, roles: ['broker'], health: { status: 'ready' } });

    await meta.end('SIGKILL');
    const ready = async () => (await fetch(`http://${httpAddress}/health/ready`)).status;
    while ((await ready()) !== 503); // it must tell the truth about its metadata within a few heartbeats
    expect(await broker.end()).toBe(0);
  }, 60_000);
});

describe('three metadata nodes', () => {
  it('form one cluster, and go on when one is killed', async () => {
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    const endpoints = ports.map((port) => `127.0.0.1:${port}`);
    const peers = Object.fromEntries(endpoints.map((endpoint, i) => [`meta.peers.${i + 1}`, endpoint]));
    const nodes = await Promise.all(
      endpoints.map((endpoint, i) =>
        start({ app: 'meta-only', set: { ...peers, node_id: String(i + 1), 'grpc.bind': endpoint } }),
      ),
    );
    await Promise.all(nodes.map((node) => node.ready()));

    const meta = metaClient(endpoints);
    expect(await registeredNodes(meta)).toEqual([1, 2, 3]);
    const { revision } = await meta.put('colour', Buffer.from('blue'));
    for (const endpoint of endpoints) {
      const seen = await metaClient([endpoint]).get('colour');
      expect([seen?.value.toString(), seen?.modRevision]).toEqual(['blue', revision]);
    }

    await nodes[0]?.end('SIGKILL');
    await meta.put('colour', Buffer.from('green'));
    expect((await meta.get('colour'))?.value.toString()).toBe('green');
  }, 60_000);
});

describe('stop and status', () => {
  it('find the server of a configuration, and say when there is none', async () => {
    const dataPath = await directory();
    const server = await start({ dataPath });
    const { http = '' } = await server.ready();
    const flags = ['--data-path', dataPath, '--set', `http.bind=${http}`];

    const status = await runCommand(['status', ...flags]);
    expect({ code: status.code, stderr: status.stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(status.stdout)).toMatchObject({ pid: server.pid, storage: 'journal', dataPath });

    const stop = await runCommand(['stop', ...flags]);
    expect(stop.code).toBe(0);
    expect(stop.stdout).toMatch(new RegExp(`stopping process ${server.pid}[^]*stopped`));
    expect((await server.exited).code).toBe(0);

    expect((await runCommand(['stop', ...flags])).stdout).toContain(`nothing runs on ${dataPath}`);
    const gone = await runCommand(['status', ...flags]);
    expect(gone.code).toBe(69);
    expect(gone.stderr).toMatch(/^robust-server: nothing answers at http:\/\/127\.0\.0\.1/);
  }, 40_000);

  it('several servers on one machine differ only by configuration', async () => {
    const servers = await Promise.all([start({}), start({})]);
    const addresses = await Promise.all(servers.map((server) => server.ready()));
    expect(new Set(addresses.map(({ mqtt: address }) => address)).size).toBe(2);
  }, 40_000);
});
