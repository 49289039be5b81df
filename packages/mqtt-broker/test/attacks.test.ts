// Attacks that other brokers have suffered, as far as they aim at a connection.

import { createConnection, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { systemClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import type { Broker } from '../src/broker.js';
import { encodeConnect, PINGREQ } from '../src/codec/encode.js';
import type { ConnectPacket } from '../src/codec/packets.js';
import { ReasonCode } from '../src/codec/reason-codes.js';
import type { BrokerOptions } from '../src/options.js';
import { startBroker } from '../src/start-broker.js';
import { TestBroker, type TestBrokerOptions } from '../src/testing/index.js';

const start = (options: Partial<TestBrokerOptions> = {}) => TestBroker.start({ meta: createMemoryMeta(), ...options });

const CONNECT: ConnectPacket = {
  protocolVersion: 4,
  clientId: 'c',
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: undefined,
  bridge: false,
};

describe('1 and 2: large packets before CONNECT is accepted', () => {
  it.each([
    ['a CONNECT of 256 MiB', '10ffffff7f'],
    ['a CONNECT above 64 KiB', '1081800400'],
    ['a PUBLISH first, whatever its length', '30'],
    ['a SUBSCRIBE first', '82ffffff7f'],
  ])('%s is refused at its fixed header', async (_, hex) => {
    await using broker = await start();
    const link = broker.openLink();
    link.send(Buffer.from(hex, 'hex'));
    await link.closed;
  });

  it('a packet above the limit is refused at its fixed header with 0x95', async () => {
    await using broker = await start({ limits: { packetBytesMax: 4096 } });
    const client = await broker.connect();
    client.send(Buffer.from([0x30, 0x80, 0x40]));
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.packetTooLarge);
  });

  it('what follows CONNECT while it is decided is held in bounds', async () => {
    await using broker = await start({
      hooks: { authenticators: [{ authenticate: () => new Promise(() => {}) }] },
      limits: { admissionTimeoutMs: 60_000 },
    });
    const link = broker.openLink();
    link.send(encodeConnect(CONNECT));
    await broker.idle();
    for (let i = 0; i < 200; i++) link.send(Buffer.alloc(64 * 1024, 0xc0));
    await broker.idle();
    expect(link.serverState).toBe('open'); // reading is stopped: it waits with the sender
    await broker.advance('61s');
    await link.closed;
  });
});

describe('3: lengths', () => {
  it.each([
    ['of five bytes', '10ffffffff01'],
    ['with more bytes than it needs', '1080808000'],
  ])('a remaining length %s is malformed', async (_, hex) => {
    await using broker = await start();
    const link = broker.openLink();
    link.send(Buffer.from(hex, 'hex'));
    await link.closed;
  });

  it.each(Array.from({ length: 15 }, (_, i) => i + 1))('packet type %i of length 0 harms nobody', async (type) => {
    await using broker = await start();
    for (const flags of [0, 2]) {
      const client = await broker.connect({ version: 4 });
      client.send(Buffer.from([(type << 4) | flags, 0]));
      await broker.idle();
    }
    const good = await broker.connect();
    good.ping();
    await good.receive('pingresp');
  });

  it('a CONNECT byte by byte is served', async () => {
    await using broker = await start();
    const client = broker.open({ version: 4 });
    for (const byte of encodeConnect(CONNECT)) client.send(Buffer.from([byte]));
    expect((await client.receive('connack')).reasonCode).toBe(0);
  });
});

describe('10: text that is not', () => {
  it.each([
    ['U+0000', [0x00]],
    ['an overlong form', [0xc0, 0x80]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a truncated sequence', [0xe2, 0x82]],
  ])('%s in a client id or a topic is malformed [MQTT-1.5.4-1] [MQTT-1.5.4-2]', async (_, bytes) => {
    await using broker = await start();
    const link = broker.openLink();
    const id = Buffer.from(bytes);
    const head = Buffer.from('00044d5154540402003c', 'hex');
    link.send(Buffer.concat([Buffer.from([0x10, head.length + 2 + id.length]), head, Buffer.from([0, id.length]), id]));
    await link.closed;
    const client = await broker.connect();
    client.send(Buffer.concat([Buffer.from([0x30, id.length + 3, 0, id.length]), id, Buffer.from([0])]));
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.malformedPacket);
  });
});

describe('27: packets of a server', () => {
  it.each([0x20, 0x90, 0xb0, 0xd0, 0x00])('first byte 0x%x from a client is malformed', async (first) => {
    await using broker = await start();
    const client = await broker.connect();
    client.send(Buffer.from([first, 2, 0, 0]));
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.malformedPacket);
    await client.closed;
  });
});

describe('28: maxima', () => {
  it.each([{ receiveMaximum: 0 }, { maximumPacketSize: 0 }])(
    '%j in CONNECT is a protocol error',
    async (properties) => {
      await using broker = await start();
      const client = broker.open();
      client.sendConnect({ properties });
      expect((await client.receive('connack')).reasonCode).toBe(ReasonCode.protocolError);
      await client.closed;
    },
  );

  it('more QoS 2 packets than the server allowed are 0x93 [MQTT-3.3.4-9]', async () => {
    await using broker = await start({ engine: { receiveMaximum: 3 } });
    const client = await broker.connect();
    for (let i = 0; i < 4; i++) client.publish({ topicName: 't', qos: 2 });
    await broker.idle();
    const last = client.pending.at(-1);
    expect(last).toMatchObject({ type: 'disconnect', reasonCode: ReasonCode.receiveMaximumExceeded });
  });

  it('a client that takes packets of 20 bytes gets none larger [MQTT-3.1.2-24]', async () => {
    await using broker = await start();
    const client = await broker.connect({ properties: { maximumPacketSize: 40 } });
    await client.subscribe('t');
    client.publish({ topicName: 't', payload: Buffer.alloc(100) });
    client.publish({ topicName: 't', payload: 'small' });
    expect((await client.receive('publish')).payload.toString()).toBe('small');
  });
});

describe('31: a client that does not read', () => {
  it('is closed when too much waits for it, and slows nobody', async () => {
    await using broker = await start({ limits: { outboxHighWaterBytes: 64 * 1024, outboxBytesMax: 128 * 1024 } });
    const frozen = await broker.connect();
    await frozen.subscribe('t');
    const reader = await broker.connect();
    await reader.subscribe('t');
    frozen.link.freeze();
    const sender = await broker.connect();
    for (let i = 0; i < 40; i++) {
      sender.publish({ topicName: 't', payload: Buffer.alloc(8 * 1024) });
      await broker.idle();
    }
    expect(reader.pending).toHaveLength(40);
    expect(frozen.link.transport.pendingBytes).toBeLessThan(256 * 1024);
    // It is not read either, so that its own packets cannot make more wait.
    for (let i = 0; i < 1000; i++) frozen.send(PINGREQ);
    await broker.idle();
    expect(frozen.link.transport.pendingBytes).toBeLessThan(256 * 1024);
  });
});

describe('35: user names and passwords', () => {
  it.each([
    ['a password without a user name in MQTT 3.1.1', '100f00044d5154540442003c0001610000'],
    ['a user name that the packet ends before', '100d00044d5154540482003c000161'],
    ['a user name that ends before its length', '101000044d5154540482003c000161000561'],
  ])('%s is malformed', async (_, hex) => {
    await using broker = await start();
    const link = broker.openLink();
    link.send(Buffer.from(hex, 'hex'));
    await link.closed;
  });

  it('an empty password, and none, are wrong passwords', async () => {
    await using broker = await start({ auth: { users: { ann: HASH_OF_SECRET } } });
    expect((await broker.open().connect({ username: 'ann', password: 'secret' })).reasonCode).toBe(0);
    for (const password of [{ password: '' }, {}, { password: 'SECRET' }, { password: 'secret ' }]) {
      const connack = await broker.open().connect({ username: 'ann', ...password });
      expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword);
    }
    const connack = await broker.open().connect({ username: 'Ann', password: 'secret' });
    expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword);
  });
});

const HASH_OF_SECRET = 'scrypt$1024$8$1$c2FsdHNhbHRzYWx0c2E$fSkfVutbRsQGG81DKubqgBMm5WvCR6xWYq2T4Ka4IdY';

describe('29 and 55: many connections', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  async function open(options: BrokerOptions): Promise<Broker> {
    const storage = new MemoryShardStorage({ clock: systemClock });
    return await startBroker(options, { clock: systemClock, storage, meta: createMemoryMeta() });
  }

  function connect(port: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host: '127.0.0.1', port }, () => resolve(socket));
      socket.on('error', reject);
      sockets.push(socket);
    });
  }

  const closed = (socket: Socket) =>
    new Promise<void>((resolve) => {
      socket.resume().once('close', () => resolve());
    });

  it.each(['tcp', 'ws'] as const)(
    'beyond the limit are closed at once on %s, and make room when they go',
    async (kind) => {
      await using broker = await open({
        listeners: [{ kind, host: '127.0.0.1', port: 0 }],
        limits: { connectionsMax: 2 },
      });
      const port = broker.addresses[0]?.port ?? 0;
      const greet = async () => {
        const socket = await connect(port);
        if (kind === 'ws') socket.write(upgrade);
        return socket;
      };
      const first = await greet();
      const second = await greet();
      await until(() => broker.connectionCount === 2);
      await closed(await greet());
      expect(broker.connectionCount).toBe(2);
      first.destroy();
      await until(() => broker.connectionCount === 1);
      const fourth = await greet();
      await until(() => broker.connectionCount === 2);
      expect([second.destroyed, fourth.destroyed]).toEqual([false, false]);
    },
  );

  it('a hundred sockets that say nothing are gone after the connect timeout', async () => {
    await using broker = await open({
      listeners: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
      limits: { connectTimeoutMs: 200 },
    });
    const port = broker.addresses[0]?.port ?? 0;
    const silent = await Promise.all(Array.from({ length: 100 }, () => connect(port)));
    await Promise.all(silent.map(closed));
    await until(() => broker.connectionCount === 0);
  });
});

const upgrade = [
  'GET /mqtt HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol: mqtt',
  '',
  '',
].join('\r\n');

/** Real sockets report in turns of their own: the condition is looked at in each. */
async function until(reached: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000 && !reached(); turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(reached()).toBe(true);
}
