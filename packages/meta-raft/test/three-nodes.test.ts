// Three nodes with real sockets and disks, in one process.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { connectMeta } from '../src/client/connect-meta.js';
import { type MetaService, startMeta } from '../src/index.js';

interface Node {
  readonly id: number;
  readonly port: number;
  server: Server;
  service: MetaService | undefined;
}

let directory = '';
let nodes: Node[] = [];

const listen = (server: Server, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });

async function startNode(node: Node): Promise<void> {
  const peers = Object.fromEntries(nodes.map(({ id, port }) => [id, `127.0.0.1:${port}`]));
  node.service = await startMeta(
    { nodeId: node.id, clusterName: 'three', dataDirectory: join(directory, String(node.id)), peers },
    { rpc: { mount: (definition, implementation) => node.server.addService(definition, implementation) } },
  );
}

async function stopNode(node: Node): Promise<void> {
  await node.service?.close();
  node.service = undefined;
  node.server.forceShutdown();
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meta-three-'));
  nodes = [];
  for (const id of [1, 2, 3]) {
    const server = new Server();
    nodes.push({ id, port: await listen(server, 0), server, service: undefined });
  }
});

afterEach(async () => {
  for (const node of nodes) await stopNode(node);
  await rm(directory, { recursive: true, force: true });
});

describe('three fresh nodes', () => {
  it('form one cluster, answer on each of them, and go on when the leader leaves', async () => {
    await Promise.all(nodes.map(startNode));
    const terms = new Set(nodes.map((node) => node.service?.status().leader));
    expect(terms.size).toBe(1);
    for (const node of nodes) {
      await node.service?.client.put(`from ${node.id}`, Buffer.from('x'));
      expect(await node.service?.client.range({ prefix: 'from' })).toMatchObject({ count: node.id });
    }
    const leader = nodes.find((node) => node.service?.status().role === 'leader') as Node; // there is one
    await stopNode(leader);
    const rest = nodes.filter((node) => node !== leader);
    const client = connectMeta({ endpoints: rest.map(({ port }) => `127.0.0.1:${port}`) });
    await client.put('after', Buffer.from('x'));
    expect(await client.range({ prefix: '' })).toMatchObject({ count: 4 });
    await client.close();
    leader.server = new Server();
    await listen(leader.server, leader.port);
    await startNode(leader);
    expect(await leader.service?.client.range({ prefix: '' })).toMatchObject({ count: 4 });
  }, 30_000);
});
