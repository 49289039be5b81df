// Real sockets and a client no one here wrote.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { systemClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import mqtt from 'mqtt';
import { WebSocket } from 'ws';
import { createBroker, MqttError } from '../src/index.js';
import type { BrokerOptions } from '../src/options.js';
import { BROKER_VERSION } from '../src/version.js';

const loopback = { host: '127.0.0.1', port: 0 } as const;

const open = (options: BrokerOptions) =>
  createBroker({ storage: new MemoryShardStorage({ clock: systemClock }), meta: createMemoryMeta(), ...options });

describe('MQTT.js', () => {
  it.each([
    { kind: 'tcp', protocolVersion: 4 },
    { kind: 'tcp', protocolVersion: 5 },
    { kind: 'ws', protocolVersion: 4 },
    { kind: 'ws', protocolVersion: 5 },
  ] as const)(
    'publishes and receives at QoS 0, 1 and 2 over $kind in version $protocolVersion',
    async ({ kind, protocolVersion }) => {
      await using broker = await open({ listeners: [{ kind, ...loopback }] });
      const client = await mqtt.connectAsync(broker.addresses[0]?.url ?? '', { protocolVersion });
      const got: string[] = [];
      client.on('message', (topic, payload, { qos }) => got.push(`${topic} ${qos} ${payload}`));
      await client.subscribeAsync('a/+', { qos: 2 });
      for (const qos of [0, 1, 2] as const) await client.publishAsync(`a/${qos}`, `message ${qos}`, { qos });
      await client.unsubscribeAsync('a/+');
      expect(got).toEqual(['a/0 0 message 0', 'a/1 1 message 1', 'a/2 2 message 2']);
      await client.endAsync();
    },
  );

  it('sends and gets a megabyte', async () => {
    await using broker = await open({ listeners: [{ kind: 'tcp', ...loopback }] });
    const client = await mqtt.connectAsync(broker.addresses[0]?.url ?? '');
    const got = new Promise<Buffer>((resolve) => client.on('message', (_topic, payload) => resolve(payload)));
    await client.subscribeAsync('big', { qos: 1 });
    const payload = Buffer.alloc(1_000_000, 'x');
    await client.publishAsync('big', payload, { qos: 1 });
    expect((await got).equals(payload)).toBe(true);
    await client.endAsync();
  });

  it('gets $SYS topics', async () => {
    await using broker = await open({ listeners: [{ kind: 'tcp', ...loopback }], sysIntervalMs: 20 });
    const client = await mqtt.connectAsync(broker.addresses[0]?.url ?? '');
    const connected = new Promise<string>((resolve) =>
      client.on('message', (topic, payload) => topic.endsWith('clients/connected') && resolve(String(payload))),
    );
    await client.subscribeAsync('$SYS/broker/clients/#');
    expect(await connected).toBe('1');
    await client.endAsync();
  });
});

describe('A listener', () => {
  it('whose port is taken says which, and what to do, and nothing stays open', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen({ ...loopback }, resolve));
    const address = holder.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    for (const kind of ['tcp', 'ws'] as const) {
      const failure = await open({
        listeners: [
          { kind: 'tcp', ...loopback },
          { kind, host: '127.0.0.1', port },
        ],
      }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(MqttError);
      expect(failure).toMatchObject({ code: 'ADDRESS_IN_USE' });
      expect(String(failure)).toContain(`127.0.0.1:${port}`);
      expect(String(failure)).toContain('another port');
    }
    await new Promise((resolve) => holder.close(resolve));
  });

  it('is closed by the signal of createBroker', async () => {
    const abort = new AbortController();
    const broker = await open({ listeners: [{ kind: 'tcp', ...loopback }], ...{ signal: abort.signal } });
    const client = await mqtt.connectAsync(broker.addresses[0]?.url ?? '', { protocolVersion: 5, reconnectPeriod: 0 });
    const reason = new Promise<number | undefined>((resolve) =>
      client.on('disconnect', ({ reasonCode }) => resolve(reasonCode)),
    );
    abort.abort();
    expect(await reason).toBe(0x8b);
    await broker.close();
    client.end(true);
  });
});

describe('WebSocket', () => {
  const refused = (url: string, protocols: string[], headers = {}) =>
    new Promise<number | undefined>((resolve) => {
      const socket = new WebSocket(url, protocols, { headers });
      socket.on('unexpected-response', (_request, response) => {
        resolve(response.statusCode);
        response.destroy();
      });
      socket.on('open', () => {
        resolve(undefined);
        socket.terminate();
      });
      socket.on('error', () => {});
    });

  it('must ask for the subprotocol mqtt, at the path, from a page that may [MQTT-6.0.0-3]', async () => {
    await using broker = await open({ listeners: [{ kind: 'ws', ...loopback, origins: ['https://good.example'] }] });
    const url = broker.addresses[0]?.url ?? '';
    expect(await refused(url, [])).toBe(400);
    expect(await refused(url, ['chat'])).toBe(400);
    expect(await refused(url.replace('/mqtt', '/other'), ['mqtt'])).toBe(404);
    expect(await refused(url, ['mqtt'], { origin: 'https://evil.example' })).toBe(403);
    expect(await refused(url, ['mqtt'], { origin: 'https://good.example' })).toBe(undefined);
    expect(await refused(url, ['chat', 'mqttv3.1'])).toBe(undefined);
    expect((await fetch(url.replace('ws:', 'http:'))).status).toBe(426);
  });

  it('carries binary messages only, and none above the limit [MQTT-6.0.0-1]', async () => {
    await using broker = await open({ listeners: [{ kind: 'ws', ...loopback }], limits: { packetBytesMax: 4096 } });
    for (const [message, code] of [
      ['text', 1003],
      [Buffer.alloc(8192), 1009],
    ] as const) {
      const socket = new WebSocket(broker.addresses[0]?.url ?? '', ['mqtt']);
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.on('open', () => socket.send(message));
      expect(await closed).toBe(code);
    }
  });
});

describe('BROKER_VERSION', () => {
  it('is the version of the package', async () => {
    const packageJson = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
    expect(BROKER_VERSION).toBe(packageJson.version);
  });
});
