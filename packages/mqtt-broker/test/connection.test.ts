// What both specifications demand of a connection, at packet level, with their clauses.

import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { encodeConnect, PINGREQ } from '../src/codec/encode.js';
import type { ConnectPacket } from '../src/codec/packets.js';
import { encodePublish } from '../src/codec/publish-frame.js';
import { ReasonCode } from '../src/codec/reason-codes.js';
import { TestBroker, type TestBrokerOptions } from '../src/testing/index.js';

const start = (options: Partial<TestBrokerOptions> = {}) => TestBroker.start({ meta: createMemoryMeta(), ...options });

const CONNECT: ConnectPacket = {
  protocolVersion: 5,
  clientId: 'c',
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: undefined,
  bridge: false,
};

describe('CONNECT', () => {
  it('must be the first packet, judged by its first byte [MQTT-3.1.0-1]', async () => {
    await using broker = await start();
    const client = broker.open();
    client.send(Buffer.from([0x30])); // the first byte of a PUBLISH whose length never comes
    await client.closed;
    expect(client.pending).toEqual([]);
  });

  it('is a protocol error the second time [MQTT-3.1.0-2]', async () => {
    await using broker = await start();
    const client = await broker.connect();
    client.sendConnect();
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.protocolError);
    await client.closed;
  });

  it('closes a client of MQTT 3.1.1 without a word the second time', async () => {
    await using broker = await start();
    const client = await broker.connect({ version: 4 });
    client.sendConnect();
    await client.closed;
    expect(client.pending).toEqual([]);
  });

  it.each([
    ['6, in the words of MQTT 5', '100d00044d51545406020000000000', '2003008400'],
    ['3 under the name of 4, in those of MQTT 3', '100c00044d5154540302000000000000', '20020001'],
  ])('of level %s is refused with "unacceptable protocol version" [MQTT-3.1.2-2]', async (_, bytes, answer) => {
    await using broker = await start();
    const link = broker.openLink();
    const got: Buffer[] = [];
    link.onBytes((chunk) => got.push(chunk));
    link.send(Buffer.from(bytes, 'hex'));
    await link.closed;
    const bare = Buffer.concat(got).toString('hex');
    if (answer.length === 8) expect(bare).toBe(answer);
    else expect(bare.slice(4, 8)).toBe(answer.slice(4, 8)); // a reason string may follow
  });

  it('without a client id gets one, and is told [MQTT-3.1.3-6] [MQTT-3.1.3-7]', async () => {
    await using broker = await start();
    const { connack } = await broker.connect({ clientId: '' });
    expect(connack.properties?.assignedClientIdentifier).toBe('assigned-1');
    const second = await broker.connect({ clientId: '' });
    expect(second.connack.properties?.assignedClientIdentifier).toBe('assigned-2');
    const old = await broker.connect({ version: 4, clientId: '' }); // [MQTT311-3.1.3-6]
    expect(old.connack).toMatchObject({ reasonCode: 0 });
  });

  it('of MQTT 3.1.1 without a client id must ask for a clean session [MQTT311-3.1.3-8] [MQTT311-3.1.3-9]', async () => {
    await using broker = await start();
    const client = broker.open({ version: 4 });
    const connack = await client.connect({ clientId: '', cleanStart: false });
    expect(connack.reasonCode).toBe(ReasonCode.clientIdentifierNotValid);
    await client.closed;
  });

  it('may be followed by packets at once; they are served after CONNACK, in order [MQTT-3.1.4-6]', async () => {
    await using broker = await start();
    const client = broker.open();
    const publish = (n: number) =>
      encodePublish(
        {
          topicName: 't',
          payload: Buffer.alloc(0),
          qos: 1,
          retain: false,
          dup: false,
          packetId: n,
          properties: undefined,
        },
        5,
      );
    client.send(Buffer.concat([encodeConnect(CONNECT), publish(1), PINGREQ, publish(2)]));
    client.send(publish(3));
    await client.receive('connack'); // [MQTT-3.2.0-1]
    await broker.idle();
    const answers = client.pending.map(({ type }) => type);
    expect(answers.toSorted()).toEqual(['pingresp', 'puback', 'puback', 'puback']);
    const acked = client.pending.filter((packet) => packet.type === 'puback').map((packet) => packet.packetId);
    expect(acked).toEqual([1, 2, 3]);
  });

  it('with an authentication method nobody offers is refused with 0x8C [MQTT-4.12.0-1]', async () => {
    await using broker = await start();
    const client = broker.open();
    const connack = await client.connect({ properties: { authenticationMethod: 'SCRAM-SHA-256' } });
    expect(connack).toMatchObject({ reasonCode: ReasonCode.badAuthenticationMethod, sessionPresent: false });
    await client.closed;
  });

  it('that does not arrive in time ends the connection', async () => {
    await using broker = await start({ limits: { connectTimeoutMs: 3000 } });
    const silent = broker.open();
    const dripping = broker.open();
    await broker.advance('2s');
    dripping.send(encodeConnect(CONNECT).subarray(0, 5)); // a byte now and then does not buy time
    await broker.advance('2500ms');
    await silent.closed;
    await dripping.closed;
  });

  it('takes the session of the same client id over, and tells the old client [MQTT-3.1.4-3]', async () => {
    await using broker = await start();
    const old = await broker.connect({ clientId: 'same' });
    const oldest = await broker.connect({ clientId: 'same', version: 4 });
    expect((await old.receive('disconnect')).reasonCode).toBe(ReasonCode.sessionTakenOver);
    await old.closed;
    const young = await broker.connect({ clientId: 'same' });
    await oldest.closed;
    young.ping();
    await young.receive('pingresp');
    expect(broker.broker.connectionCount).toBe(1);
  });

  it('of many at once with one client id leaves exactly one', async () => {
    await using broker = await start();
    const clients = Array.from({ length: 10 }, () => broker.open());
    for (const client of clients) client.sendConnect({ clientId: 'same' });
    await broker.idle();
    expect(clients.filter((client) => client.isOpen)).toHaveLength(1);
    expect(broker.broker.connectionCount).toBe(1);
    expect(broker.broker.aedes.connectedClients).toBe(1);
  });
});

describe('CONNACK', () => {
  it('tells a client of MQTT 5 what the server limits', async () => {
    await using broker = await start({
      limits: { packetBytesMax: 2048, keepAliveSecondsMax: 30, topicAliasMaximum: 7 },
      engine: { sessionExpirySecondsMax: 100, receiveMaximum: 9, maximumQoS: 1 },
    });
    const { connack } = await broker.connect({ keepAlive: 600, properties: { sessionExpiryInterval: 0xffff_ffff } });
    expect(connack.properties).toMatchObject({
      maximumPacketSize: 2048,
      serverKeepAlive: 30, // [MQTT-3.2.2-21]
      topicAliasMaximum: 7,
      sessionExpiryInterval: 100,
      receiveMaximum: 9,
      maximumQoS: 1, // [MQTT-3.2.2-9]
    });
  });

  it('is left out when it is larger than the client accepts, and the connection closed [MQTT-3.1.2-24]', async () => {
    await using broker = await start();
    const client = broker.open();
    client.sendConnect({ properties: { maximumPacketSize: 5 } });
    await client.closed;
    expect(client.pending).toEqual([]);
  });

  it('refuses without session present, then the connection ends [MQTT-3.2.2-6] [MQTT-3.2.2-7]', async () => {
    await using broker = await start({ auth: { anonymous: 'nowhere' } });
    for (const version of [4, 5] as const) {
      const client = broker.open({ version });
      const connack = await client.connect();
      expect(connack).toMatchObject({ reasonCode: ReasonCode.notAuthorized, sessionPresent: false });
      await client.closed;
    }
  });
});

describe('Keep alive', () => {
  it('ends a connection that is silent for one and a half intervals [MQTT-3.1.2-22]', async () => {
    await using broker = await start();
    const client = await broker.connect({ keepAlive: 10 });
    await broker.advance('14900ms');
    expect(client.isOpen).toBe(true);
    await broker.advance('1500ms');
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.keepAliveTimeout);
    await client.closed;
  });

  it('counts from the last packet of any kind', async () => {
    await using broker = await start();
    const client = await broker.connect({ version: 4, keepAlive: 10 });
    for (let i = 0; i < 5; i++) {
      await broker.advance('12s');
      if (i % 2 === 0) client.ping();
      else client.publish({ topicName: 'a' });
      await broker.idle();
    }
    expect(client.isOpen).toBe(true);
    await broker.advance('17s');
    await client.closed;
  });

  it('of 0 never ends', async () => {
    await using broker = await start();
    const client = await broker.connect({ keepAlive: 0 });
    await broker.advance('3h');
    client.ping();
    await client.receive('pingresp');
  });

  it('is the server’s where it says so [MQTT-3.2.2-21]', async () => {
    await using broker = await start({ limits: { keepAliveSecondsMax: 10 } });
    const client = await broker.connect({ keepAlive: 0 });
    await broker.advance('17s');
    await client.closed;
  });
});

describe('PINGREQ', () => {
  it('is answered [MQTT-3.12.4-1]', async () => {
    await using broker = await start();
    const client = await broker.connect({ version: 4 });
    client.ping();
    await client.receive('pingresp');
  });
});

describe('DISCONNECT', () => {
  it('ends the connection; nothing behind it counts [MQTT-3.14.4-1] [MQTT-3.14.4-2]', async () => {
    await using broker = await start();
    const watcher = await broker.connect();
    await watcher.subscribe('t');
    const client = await broker.connect({ version: 4 });
    client.disconnect();
    client.publish({ topicName: 't' });
    await client.closed;
    await broker.idle();
    expect(watcher.pending).toEqual([]);
  });

  it('must not prolong a session that ends with the connection [MQTT-3.14.2-2]', async () => {
    await using broker = await start();
    const client = await broker.connect();
    client.disconnect({ reasonCode: 0, properties: { sessionExpiryInterval: 60 } });
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.protocolError);
    await client.closed;
  });

  it('is sent to clients of MQTT 5 when the server shuts down; others are just closed', async () => {
    const broker = await start();
    const five = await broker.connect();
    const four = await broker.connect({ version: 4 });
    await broker.close();
    expect((await five.receive('disconnect')).reasonCode).toBe(ReasonCode.serverShuttingDown);
    await five.closed;
    await four.closed;
    expect(four.pending).toEqual([]);
  });
});

describe('A fault of the client', () => {
  it('is named to a client of MQTT 5, and ends that connection only [MQTT-4.13.1-1]', async () => {
    await using broker = await start();
    const good = await broker.connect();
    const bad = await broker.connect();
    bad.send(Buffer.from([0x36, 0x00])); // PUBLISH with QoS 3 [MQTT-3.3.1-4]
    const disconnect = await bad.receive('disconnect');
    expect(disconnect.reasonCode).toBe(ReasonCode.malformedPacket);
    expect(disconnect.properties?.reasonString).toMatch(/QoS/);
    await bad.closed;
    good.ping();
    await good.receive('pingresp');
  });

  it('of QoS above the maximum is 0x9B [MQTT-3.2.2-11]', async () => {
    await using broker = await start({ engine: { maximumQoS: 1 } });
    const client = await broker.connect();
    client.publish({ topicName: 't', qos: 2 });
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.qosNotSupported);
  });

  it('is AUTH where no method is in use [MQTT-4.12.0-6]', async () => {
    await using broker = await start();
    const client = await broker.connect();
    client.auth({ reasonCode: ReasonCode.reAuthenticate, properties: { authenticationMethod: 'x' } });
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.protocolError);
  });
});

describe('Topic aliases', () => {
  it('stand for the topic they were bound to, on that connection only [MQTT-3.3.2-7]', async () => {
    await using broker = await start();
    const watcher = await broker.connect();
    await watcher.subscribe('#');
    const client = await broker.connect();
    client.publish({ topicName: 'long/topic', payload: '1', properties: { topicAlias: 3 } });
    client.publish({ topicName: '', payload: '2', properties: { topicAlias: 3 } });
    client.publish({ topicName: 'other', payload: '3', properties: { topicAlias: 3 } });
    client.publish({ topicName: '', payload: '4', properties: { topicAlias: 3 } });
    const topics = [];
    for (let i = 0; i < 4; i++) topics.push((await watcher.receive('publish')).topicName);
    expect(topics).toEqual(['long/topic', 'long/topic', 'other', 'other']);

    const stranger = await broker.connect();
    stranger.publish({ topicName: '', properties: { topicAlias: 3 } });
    expect((await stranger.receive('disconnect')).reasonCode).toBe(ReasonCode.topicAliasInvalid);
  });

  it('above the maximum are refused with 0x94 [MQTT-3.3.2-9]', async () => {
    await using broker = await start({ limits: { topicAliasMaximum: 2 } });
    const client = await broker.connect();
    client.publish({ topicName: 't', properties: { topicAlias: 3 } });
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.topicAliasInvalid);
  });
});
