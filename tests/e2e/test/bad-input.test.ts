// What goes wrong before and at the start: one clear line with what, why and what to do, the documented exit code,
// no stack trace, and nothing damaged. On the built artefact.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import mqtt from 'mqtt';
import { repositoryRoot, type ServerOptions, ServerProcess } from '../src/server-process.js';

const scratch: string[] = [];
const running: ServerProcess[] = [];
const listeners: Server[] = [];

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'robustmq-bad-'));
  scratch.push(path);
  return path;
}

function start(options: ServerOptions): ServerProcess {
  const server = new ServerProcess(options);
  running.push(server);
  return server;
}

/** Starts, expects it to end by itself, and returns what it said on stderr. */
async function refused(options: ServerOptions): Promise<{ readonly code: number | null; readonly said: string }> {
  const server = start(options);
  const { code } = await server.exited;
  return { code, said: server.text.trim() };
}

/** One line, with the program in front, and no stack. */
function expectClear(said: string, ...parts: (string | RegExp)[]): void {
  expect(said).toMatch(/^robust-server: |^broker-only: /);
  expect(said.split('\n')).toHaveLength(1);
  expect(said).not.toMatch(/\bat .*\(.*:\d+:\d+\)/);
  for (const part of parts) expect(said).toMatch(part);
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.end('SIGKILL')));
  for (const listener of listeners.splice(0)) listener.close();
});

afterAll(async () => {
  await Promise.all(scratch.map((path) => rm(path, { recursive: true, force: true })));
});

describe('ports', () => {
  for (const key of ['grpc.bind', 'http.bind', 'mqtt.listeners.tcp.bind', 'mqtt.listeners.ws.bind']) {
    it(`${key} in use`, async () => {
      const taken = createServer().listen(0, '127.0.0.1');
      listeners.push(taken);
      await once(taken, 'listening');
      const address = taken.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const { code, said } = await refused({ dataPath: await directory(), set: { [key]: `127.0.0.1:${port}` } });
      expect(code).toBe(69);
      expectClear(said, `127.0.0.1:${port}`, /in use|another process listens/, key);
    }, 20_000);
  }
});

describe('the data directory', () => {
  it('in use by another server', async () => {
    const dataPath = await directory();
    const holder = start({ dataPath });
    await holder.ready();
    const { code, said } = await refused({ dataPath });
    expect(code).toBe(69);
    expectClear(said, dataPath, String(holder.pid));
  }, 30_000);

  it('of another format version, node or cluster; and it is left as it was', async () => {
    const dataPath = await directory();
    const first = start({ dataPath });
    await first.ready();
    expect(await first.end()).toBe(0);

    const node = await refused({ dataPath, set: { node_id: '2' } });
    expect(node.code).toBe(78);
    expectClear(node.said, dataPath, 'node_id');
    const cluster = await refused({ dataPath, set: { cluster_name: 'elsewhere' } });
    expect(cluster.code).toBe(78);
    expectClear(cluster.said, 'cluster_name', 'elsewhere');

    const identityFile = join(dataPath, 'identity.json');
    const identity = await readFile(identityFile, 'utf8');
    await writeFile(identityFile, identity.replace(/"format": \d+/, '"format": 99'));
    const format = await refused({ dataPath });
    expect(format.code).toBe(78);
    expectClear(format.said, 'format version 99');

    await writeFile(identityFile, identity);
    await start({ dataPath }).ready();
  }, 60_000);
});

describe('the configuration', () => {
  it('missing file', async () => {
    const { code, said } = await refused({ args: ['--config', '/nowhere/robust.toml'] });
    expect(code).toBe(78);
    expectClear(said, '/nowhere/robust.toml');
  });

  it('not TOML', async () => {
    const file = join(await directory(), 'broken.toml');
    await writeFile(file, 'node_id = \n');
    const { code, said } = await refused({ args: ['--config', file] });
    expect(code).toBe(78);
    expect(said).toMatch(/broken\.toml/);
    expect(said).toMatch(/line 1|:1/);
  });

  it('a key nobody knows, with the nearest one', async () => {
    const { code, said } = await refused({ set: { 'mqtt.auth.anonimous': 'everywhere' } });
    expect(code).toBe(78);
    expectClear(said, 'mqtt.auth.anonimous', 'mqtt.auth.anonymous');
  });

  it('a value out of range', async () => {
    const { code, said } = await refused({ set: { node_id: '0' } });
    expect(code).toBe(78);
    expectClear(said, 'node_id');
  });

  it('gRPC open to others without a secret', async () => {
    const { code, said } = await refused({ set: { 'grpc.bind': '0.0.0.0:0' } });
    expect(code).toBe(78);
    expectClear(said, 'grpc.secret');
  });
});

describe('the machine', () => {
  it('too few file descriptors', async () => {
    const shell = spawn(
      'sh',
      ['-c', `ulimit -n 128; exec apps/robust-server/dist/bin/robust-server start --data-path ${await directory()}`],
      { cwd: repositoryRoot },
    );
    let said = '';
    shell.stderr.on('data', (chunk) => {
      said += chunk;
    });
    const [code] = await once(shell, 'close');
    expect(code).toBe(78);
    expectClear(said.trim(), 'too few file descriptors', 'ulimit -n');
  }, 20_000);

  it('a missing native binding', async () => {
    const copy = join(await directory(), 'dist');
    await cp(join(repositoryRoot, 'apps/robust-server/dist'), copy, { recursive: true });
    await rm(join(copy, 'native'), { recursive: true });
    const { code, said } = await refused({ launcher: join(copy, 'bin/robust-server'), dataPath: await directory() });
    expect(code).toBe(69);
    expectClear(said, /native/);
  }, 20_000);

  it('a meta node that cannot be reached', async () => {
    const { code, said } = await refused({
      app: 'broker-only',
      dataPath: await directory(),
      set: { 'meta.peers.1': '127.0.0.1:9', node_id: '7', 'storage.type': 'memory', 'start.deadline_ms': '1500' },
    });
    expect(code).toBe(69);
    expectClear(said, '127.0.0.1:9', 'meta');
  }, 20_000);
});

describe('while it runs', () => {
  it('malformed MQTT closes that connection only', async () => {
    const server = start({ dataPath: await directory() });
    const { mqtt: address = '' } = await server.ready();
    const good = await mqtt.connectAsync(`mqtt://${address}`, { reconnectPeriod: 0 });
    const [host = '', port = ''] = address.split(':');
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(64, 0xff),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0xc0, 0]),
    ];
    for (const bytes of garbage) {
      const socket = tcpConnect(Number(port), host);
      socket.on('error', () => {}); // a reset is as good as an end
      socket.write(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    await good.publishAsync('still/here', 'yes', { qos: 1 });
    await good.endAsync();
    expect(await server.end()).toBe(0);
  }, 30_000);

  it('a stop is orderly, and refuses nothing it was asked for before', async () => {
    const server = start({ dataPath: await directory() });
    await server.ready();
    expect(await server.end('SIGINT')).toBe(0);
    expect(server.lines.map((line) => line.msg)).toEqual(
      expect.arrayContaining([expect.stringMatching(/SIGINT: stopping/)]),
    );
  }, 20_000);
});
