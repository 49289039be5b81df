// Nodes that come, go and are replaced, with real sockets and disks.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ClusterClient } from '../src/gen/etcdserverpb/rpc.js';
import { type MetaService, startMeta } from '../src/index.js';

interface Node {
  readonly id: number;
  readonly port: number;
  readonly server: Server;
  service: MetaService | undefined;
  failure: Promise<Error>;
}

let directory = '';
const nodes: Node[] = [];
const clients: ClusterClient[] = [];

async function newNode(id: number, port = 0): Promise<Node> {
  const server = new Server();
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    );
  });
  const node: Node = { id, port: bound, server, service: undefined, failure: new Promise(() => {}) };
  nodes.push(node);
  return node;
}

async function start(node: Node, among: readonly Node[], options: { readonly join?: boolean } = {}): Promise<void> {
  const peers = Object.fromEntries(among.map(({ id, port }) => [id, `127.0.0.1:${port}`]));
  const dataDirectory = join(directory, String(node.id));
  let failed: (error: Error) => void = () => {};
  node.failure = new Promise((resolve) => {
    failed = resolve;
  });
  node.service = await startMeta(
    { nodeId: node.id, clusterName: 'members', dataDirectory, peers, ...options },
    { rpc: { mount: (definition, implementation) => node.server.addService(definition, implementation) }, failed },
  );
}

async function stop(node: Node): Promise<void> {
  await node.service?.close();
  node.service = undefined;
  node.server.forceShutdown();
}

function cluster(node: Node): ClusterClient {
  const client = new ClusterClient(`127.0.0.1:${node.port}`, credentials.createInsecure());
  clients.push(client);
  return client;
}

function call<Answer>(run: (done: (error: Error | null, answer: Answer) => void) => unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    run((error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function voters(node: Node, wanted: readonly number[]): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      const now = node.service?.status().membership.voters ?? [];
      if (JSON.stringify(now) === JSON.stringify(wanted)) resolve();
      else setImmediate(look);
    };
    look();
  });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meta-members-'));
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const node of nodes.splice(0)) await stop(node);
  await rm(directory, { recursive: true, force: true });
});

describe('a cluster whose members change', () => {
  it('takes nodes in that join, replaces a lost one under a new id, and tells a removed one', async () => {
    const one = await newNode(1);
    await start(one, [one]);
    await one.service?.client.put('before', Buffer.from('x'));

    const two = await newNode(2);
    await start(two, [one, two], { join: true });
    await voters(two, [1, 2]);
    const three = await newNode(3);
    // It knows only node 2, which hands the wish on to the leader.
    await start(three, [two, three], { join: true });
    await voters(three, [1, 2, 3]);
    expect(await three.service?.client.range({ prefix: '' })).toMatchObject({ count: 1 });
    await three.service?.client.put('from three', Buffer.from('x'));

    // Node 2 loses its disk: it is replaced by node 4.
    await stop(two);
    const four = await newNode(4);
    const joined = start(four, [one, three, four], { join: true });
    await joined;
    await voters(four, [1, 2, 3, 4]);
    await call((done) => cluster(four).memberRemove({ ID: '2' }, done));
    await voters(four, [1, 3, 4]);
    const again = await newNode(2);
    await expect(start(again, [one, again], { join: true })).rejects.toMatchObject({ code: 'REMOVED' });

    // Node 3 is removed while it runs, and says so.
    await call((done) => cluster(one).memberRemove({ ID: '3' }, done));
    expect(await three.failure).toMatchObject({ code: 'REMOVED' });
    expect(three.service?.isReady()).toBe(false);
    await four.service?.client.put('after', Buffer.from('x'));
    expect(await one.service?.client.range({ prefix: '' })).toMatchObject({ count: 3 });
  }, 60_000);

  it('speaks of members as etcd does', async () => {
    const one = await newNode(1);
    await start(one, [one]);
    const client = cluster(one);
    const url = 'http://127.0.0.1:1';
    const added = await call<{ member: { ID: string } | undefined }>((done) =>
      client.memberAdd({ peerURLs: [url], isLearner: true }, done),
    );
    expect(added.member).toMatchObject({ ID: '2', name: '', isLearner: true, peerURLs: [url], clientURLs: [] });
    await expect(call((done) => client.memberAdd({ peerURLs: [url], isLearner: true }, done))).rejects.toMatchObject({
      details: 'etcdserver: Peer URLs already exists',
    });
    await expect(call((done) => client.memberPromote({ ID: '2' }, done))).rejects.toMatchObject({
      details: 'etcdserver: can only promote a learner member which is in sync with leader',
    });
    await expect(call((done) => client.memberPromote({ ID: '1' }, done))).rejects.toMatchObject({
      details: 'etcdserver: can only promote a learner member',
    });
    const moved = 'http://127.0.0.1:2';
    expect(await call((done) => client.memberUpdate({ ID: '2', peerURLs: [moved] }, done))).toMatchObject({
      members: [{ ID: '1' }, { ID: '2', peerURLs: [moved] }],
    });
    await call((done) => client.memberRemove({ ID: '2' }, done));
    await expect(call((done) => client.memberRemove({ ID: '2' }, done))).rejects.toMatchObject({
      details: 'etcdserver: member not found',
    });
    // An id is used once.
    const next = await call<{ member: { ID: string } | undefined }>((done) =>
      client.memberAdd({ peerURLs: [url], isLearner: true }, done),
    );
    expect(next.member?.ID).toBe('3');
  }, 30_000);

  it('is joined by a node that learns the addresses from the state, after all restarted', async () => {
    const one = await newNode(1);
    await start(one, [one]);
    const two = await newNode(2);
    await start(two, [one, two], { join: true });
    await voters(one, [1, 2]);
    await stop(two);
    await stop(one);
    const [oneAgain, twoAgain] = [await newNode(1, one.port), await newNode(2, two.port)];
    // Node 1's configuration still says that it is alone; the state knows better.
    await Promise.all([start(oneAgain, [one]), start(twoAgain, [one, two])]);
    await twoAgain.service?.client.put('k', Buffer.from('v'));
    expect(await oneAgain.service?.client.range({ prefix: '' })).toMatchObject({ count: 1 });
  }, 30_000);
});
