// The main job, on the built artefact with a client no one here wrote (MQTT.js): it starts, stock clients use it,
// and it survives kill -9 with nothing acknowledged lost.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { connectMeta } from '@robustmq/meta-raft/client';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { sensorFeed } from '../src/sensor-feed.js';
import { freePort, type ReadyAddresses, ServerProcess } from '../src/server-process.js';

const directories: string[] = [];
const clients: MqttClient[] = [];

async function dataDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'robustmq-e2e-'));
  directories.push(directory);
  return directory;
}

async function connect(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options });
  clients.push(client);
  return client;
}

interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
}

/** Collects from now on; `count(n)` resolves with the first n. */
function collect(client: MqttClient) {
  const received: Received[] = [];
  let look = () => {};
  client.on('message', (topic, payload, { qos, retain }) => {
    received.push({ topic, payload: payload.toString(), qos, retain });
    look();
  });
  const until = (enough: () => boolean) =>
    new Promise<void>((resolve) => {
      look = () => {
        if (enough()) resolve();
      };
      look();
    });
  return { received, until, count: (n: number) => until(() => received.length >= n).then(() => received.slice(0, n)) };
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true).catch(() => {})));
});

afterAll(async () => {
  await Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true })));
});

describe('publish and receive', () => {
  let server: ServerProcess;
  let addresses: ReadyAddresses;

  beforeAll(async () => {
    server = new ServerProcess({ dataPath: await dataDirectory() });
    addresses = await server.ready();
  }, 30_000);

  afterAll(async () => {
    expect(await server.end()).toBe(0);
  });

  const url = (transport: 'tcp' | 'ws') =>
    transport === 'tcp' ? `mqtt://${addresses.mqtt}` : `ws://${addresses.ws}/mqtt`;

  for (const transport of ['tcp', 'ws'] as const) {
    for (const protocolVersion of [4, 5] as const) {
      for (const qos of [0, 1, 2] as const) {
        it(`over ${transport}, MQTT ${protocolVersion === 5 ? '5.0' : '3.1.1'}, QoS ${qos}`, async () => {
          const topic = `check/${transport}/${protocolVersion}/${qos}`;
          const subscriber = await connect(url(transport), { protocolVersion });
          const publisher = await connect(url(transport), { protocolVersion });
          const inbox = collect(subscriber);
          await subscriber.subscribeAsync(`check/+/+/${qos}`, { qos });
          await publisher.publishAsync(topic, 'twenty-one degrees', { qos });
          const [message] = await inbox.count(1);
          expect(message).toEqual({ topic, payload: 'twenty-one degrees', qos, retain: false });
        }, 20_000);
      }
    }
  }

  it('speaks MQTT 3.1 as well', async () => {
    const client = await connect(url('tcp'), { protocolVersion: 3, protocolId: 'MQIsdp' });
    const inbox = collect(client);
    await client.subscribeAsync('old/timer', { qos: 1 });
    await client.publishAsync('old/timer', 'still here', { qos: 1 });
    expect((await inbox.count(1))[0]?.payload).toBe('still here');
  }, 20_000);

  it('keeps the retained message of a topic for those who come later', async () => {
    const publisher = await connect(url('tcp'));
    await publisher.publishAsync('door/front', 'open', { qos: 1, retain: true });
    await publisher.publishAsync('door/front', 'closed', { qos: 1, retain: true });
    const late = await connect(url('ws'), { protocolVersion: 5 });
    const inbox = collect(late);
    await late.subscribeAsync('door/#', { qos: 1 });
    expect(await inbox.count(1)).toEqual([{ topic: 'door/front', payload: 'closed', qos: 1, retain: true }]);
  }, 20_000);

  it('publishes the will of a connection that drops', async () => {
    const watcher = await connect(url('tcp'), { protocolVersion: 5 });
    const inbox = collect(watcher);
    await watcher.subscribeAsync('wills/#', { qos: 1 });
    const dropper = await connect(url('tcp'), {
      will: { topic: 'wills/press-4', payload: Buffer.from('gone'), qos: 1, retain: false },
    });
    dropper.stream.destroy();
    expect((await inbox.count(1))[0]).toEqual({ topic: 'wills/press-4', payload: 'gone', qos: 1, retain: false });
  }, 20_000);
});

describe('kill -9 in the middle of a feed', () => {
  it('loses nothing that was acknowledged, keeps its order, and remembers sessions and retained messages', async () => {
    const dataPath = await dataDirectory();
    const tcpPort = await freePort();
    const set = { 'mqtt.listeners.tcp.bind': `127.0.0.1:${tcpPort}` };
    const url = `mqtt://127.0.0.1:${tcpPort}`;
    const first = new ServerProcess({ dataPath, set });
    await first.ready();

    const device: IClientOptions = {
      clientId: 'dashboard',
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 86_400 },
    };
    const before = await connect(url, device);
    await before.subscribeAsync('plant/#', { qos: 1 });
    await before.endAsync();

    const feed = sensorFeed(10_000, 'kill -9');
    const acknowledged = new Set<number>();
    const publisher = await connect(url, { clientId: 'gateway', clean: false, reconnectPeriod: 100 });
    publisher.on('error', () => {}); // the server goes away in the middle: MQTT.js reconnects and sends again
    await publisher.publishAsync('status/gateway', 'running', { qos: 1, retain: true });

    const second = await publishThroughKill({
      publisher,
      feed,
      acknowledged,
      first,
      restart: () => new ServerProcess({ dataPath, set }),
    });
    expect(acknowledged.size).toBe(feed.length);

    const after = mqtt.connect(url, { ...device, reconnectPeriod: 0 });
    clients.push(after);
    const inbox = collect(after);
    const connack = await new Promise<mqtt.IConnackPacket>((resolve) => after.once('connect', resolve));
    expect(connack.sessionPresent).toBe(true);
    const missing = new Set(acknowledged);
    let looked = 0;
    await inbox.until(() => {
      for (; looked < inbox.received.length; looked++) {
        missing.delete(JSON.parse(inbox.received[looked]?.payload ?? '').sequence);
      }
      return missing.size === 0;
    });
    expectOrderWithinTopics(inbox.received);

    const late = await connect(url);
    const retained = collect(late);
    await late.subscribeAsync('status/#', { qos: 1 });
    expect(await retained.count(1)).toEqual([{ topic: 'status/gateway', payload: 'running', qos: 1, retain: true }]);

    const { grpc = '' } = await second.ready();
    const meta = connectMeta({ endpoints: [grpc] });
    const registered = await meta.range({ prefix: 'nodes/' });
    expect(registered.kvs.map(({ value }) => JSON.parse(value.toString()))).toMatchObject([
      { nodeId: 1, roles: ['meta', 'broker', 'journal'], addresses: { mqtt: `127.0.0.1:${tcpPort}` } },
    ]);
    await meta.close();

    await publisher.endAsync(true);
    expect(await second.end()).toBe(0);
  }, 120_000);
});

interface KillRun {
  readonly publisher: MqttClient;
  readonly feed: ReturnType<typeof sensorFeed>;
  readonly acknowledged: Set<number>;
  readonly first: ServerProcess;
  readonly restart: () => ServerProcess;
}

/** Publishes the feed with 100 messages under way; kills the server halfway, restarts it, goes on to the end. */
async function publishThroughKill({ publisher, feed, acknowledged, first, restart }: KillRun): Promise<ServerProcess> {
  let server = first;
  let killed: Promise<void> | undefined;
  const killAndRestart = async () => {
    await server.end('SIGKILL');
    server = restart();
    await server.ready();
  };
  let next = 0;
  const worker = async () => {
    for (let reading = feed[next++]; reading; reading = feed[next++]) {
      await publisher.publishAsync(reading.topic, reading.payload, { qos: 1 });
      acknowledged.add(reading.sequence);
      if (acknowledged.size === feed.length / 2) killed = killAndRestart();
    }
  };
  await Promise.all(Array.from({ length: 100 }, worker));
  await killed;
  return server;
}

/** Redelivery may repeat a message, never reorder: the first arrivals of a topic rise. [MQTT-4.6.0-6] */
function expectOrderWithinTopics(received: readonly Received[]): void {
  const newest = new Map<string, number>();
  const seen = new Set<number>();
  const misplaced: string[] = [];
  for (const { topic, payload } of received) {
    const { sequence } = JSON.parse(payload);
    if (seen.has(sequence)) continue;
    seen.add(sequence);
    const last = newest.get(topic) ?? -1;
    if (sequence < last) misplaced.push(`${topic}: ${sequence} after ${last}`);
    newest.set(topic, sequence);
  }
  expect(misplaced).toEqual([]);
}
