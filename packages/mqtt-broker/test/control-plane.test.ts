// aedes as the control plane: what its users know works here, and nothing of it reaches the data.

import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import type { Client } from 'aedes';
import type { Authorizer } from '../src/auth/authorizer.js';
import { ReasonCode } from '../src/codec/reason-codes.js';
import { TestBroker, type TestBrokerOptions } from '../src/testing/index.js';

const start = (options: Partial<TestBrokerOptions> = {}) => TestBroker.start({ meta: createMemoryMeta(), ...options });
const remote = { address: '192.0.2.7', port: 4711, scope: 'remote' } as const;

describe('aedes events', () => {
  it('tell of a client that comes and goes, in the order its users know', async () => {
    await using broker = await start();
    const events: string[] = [];
    const { aedes } = broker.broker;
    for (const name of ['client', 'clientReady', 'clientDisconnect', 'keepaliveTimeout'] as const) {
      aedes.on(name, (client: Client) => events.push(`${name} ${client.id}`));
    }
    aedes.on('clientError', (client, error) => events.push(`clientError ${client.id} ${error.message.slice(0, 10)}`));
    const polite = await broker.connect({ clientId: 'polite' });
    await broker.idle();
    expect(aedes.connectedClients).toBe(1);
    polite.disconnect();
    await polite.closed;
    await broker.idle();
    const rude = await broker.connect({ clientId: 'rude', keepAlive: 1 });
    await broker.advance('5s');
    await rude.closed;
    expect(events).toEqual([
      'client polite',
      'clientReady polite',
      'clientDisconnect polite',
      'client rude',
      'clientReady rude',
      'keepaliveTimeout rude',
      'clientError rude keep alive',
      'clientDisconnect rude',
    ]);
    expect(aedes.connectedClients).toBe(0);
  });

  it('name clients that are properties of every object', async () => {
    await using broker = await start();
    for (const clientId of ['__proto__', 'constructor', 'hasOwnProperty', 'toString']) {
      const client = await broker.connect({ clientId });
      await client.subscribe(clientId);
      client.publish({ topicName: clientId, payload: 'x' });
      expect((await client.receive('publish')).topicName).toBe(clientId);
      client.disconnect();
    }
  });
});

describe('client.close() of aedes', () => {
  it('ends the connection with "administrative action"', async () => {
    await using broker = await start();
    const ready = new Promise<Client>((resolve) => broker.broker.aedes.once('clientReady', resolve));
    const client = await broker.connect();
    (await ready).close();
    expect((await client.receive('disconnect')).reasonCode).toBe(ReasonCode.administrativeAction);
    await client.closed;
  });
});

describe('aedes.publish() and subscribe()', () => {
  it('go through the engine, and $SYS of aedes goes nowhere', async () => {
    await using broker = await start();
    const { aedes } = broker.broker;
    const client = await broker.connect();
    await client.subscribe(['#', '$SYS/#']);
    const heard: string[] = [];
    const listen = (packet: { topic: string; payload: string | Buffer }, done: () => void) => {
      heard.push(`${packet.topic} ${packet.payload}`);
      done();
    };
    aedes.subscribe('from/client', listen, () => {});
    await new Promise((resolve) => {
      aedes.publish(
        { cmd: 'publish', topic: 'from/aedes', payload: 'hello', qos: 1, retain: false, dup: false },
        resolve,
      );
    });
    expect((await client.receive('publish')).payload.toString()).toBe('hello');
    client.publish({ topicName: 'from/client', payload: 'hi', qos: 1 });
    await broker.idle();
    aedes.unsubscribe('from/client', listen, () => {});
    client.publish({ topicName: 'from/client', payload: 'unheard' });
    await broker.idle();
    expect(heard).toEqual(['from/client hi']);
    const topics = client.pending.flatMap((packet) => (packet.type === 'publish' ? [packet.topicName] : []));
    expect(topics).toEqual(['from/client', 'from/client']);
  });
});

describe('preConnect', () => {
  it.each([
    ['an error', (done: (error: Error | null, success: boolean) => void) => done(new Error('banned'), false)],
    ['false', (done: (error: Error | null, success: boolean) => void) => done(null, false)],
    [
      'a throw',
      () => {
        throw new Error('bug');
      },
    ],
  ])('refuses with %s', async (_, answer) => {
    await using broker = await start({
      hooks: { aedes: { preConnect: (_client, _packet, done) => answer(done) } },
    });
    const client = broker.open();
    expect((await client.connect()).reasonCode).toBe(ReasonCode.notAuthorized);
    await client.closed;
  });

  it('that never answers is a refusal when the time is up', async () => {
    await using broker = await start({
      hooks: { aedes: { preConnect: () => {} } },
      limits: { admissionTimeoutMs: 1000 },
    });
    const client = broker.open();
    client.sendConnect();
    await broker.advance('2s');
    expect((await client.receive('connack')).reasonCode).toBe(ReasonCode.serverUnavailable);
    await client.closed;
  });
});

describe('The authenticate and authorize hooks of aedes', () => {
  it('decide as their users know them', async () => {
    await using broker = await start({
      auth: { anonymous: 'nowhere' },
      hooks: {
        aedes: {
          authenticate: (_client, username, password, done) => {
            if (username === 'ann' && String(password) === 'secret') setImmediate(done, null, true);
            else done(Object.assign(new Error('wrong'), { returnCode: 4 }), false);
          },
          authorizePublish: (client, packet, done) =>
            done(packet.topic === `of/${client?.id}` ? null : new Error('not yours')),
          authorizeSubscribe: (_client, subscription, done) =>
            setImmediate(done, null, subscription.topic === 'secret' ? null : subscription),
        },
      },
    });
    for (const version of [4, 5] as const) {
      const connack = await broker.open({ version }).connect({ username: 'ann', password: 'wrong' });
      expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword);
    }
    const ann = await broker.connect({ clientId: 'a', username: 'ann', password: 'secret' });
    expect((await ann.subscribe(['of/a', 'secret'])).reasonCodes).toEqual([0, ReasonCode.notAuthorized]);
    ann.publish({ topicName: 'of/b', qos: 1 });
    expect((await ann.receive('puback')).reasonCode).toBe(ReasonCode.notAuthorized);
    ann.publish({ topicName: 'of/a', payload: 'mine' });
    expect((await ann.receive('publish')).payload.toString()).toBe('mine');
  });
});

describe('Anonymous clients', () => {
  const lines: string[] = [];
  const logger = {
    trace: () => {},
    debug: () => {},
    info: (_fields: object | string, message?: string) => lines.push(message ?? ''),
    warn: () => {},
    error: () => {},
    child: () => logger,
  };

  it('come from this machine only, and the refusal names the command that would let them in', async () => {
    await using broker = await start({ logger });
    await broker.connect();
    for (const [version, code] of [
      [5, ReasonCode.notAuthorized],
      [4, ReasonCode.notAuthorized],
    ] as const) {
      const client = broker.open({ version, peer: remote });
      expect((await client.connect()).reasonCode).toBe(code);
      await client.closed;
    }
    expect(lines.at(-1)).toContain('--set mqtt.auth.anonymous=everywhere');
    lines.length = 0;
    for (let i = 0; i < 100; i++) await broker.open({ peer: remote }).connect();
    expect(lines.length).toBeLessThan(25); // a flood of refusals is no flood of lines
  });

  it('come from everywhere where the configuration says so', async () => {
    await using broker = await start({ auth: { anonymous: 'everywhere' } });
    expect((await broker.open({ peer: remote }).connect()).reasonCode).toBe(0);
  });
});

describe('Authenticators', () => {
  it('prove who a client is; a name they do not know is refused', async () => {
    const seen: (string | undefined)[] = [];
    const authorizer: Authorizer = {
      mayPublish: ({ username }) => {
        seen.push(username);
        return 'allow';
      },
      maySubscribe: () => 'allow',
    };
    await using broker = await start({
      hooks: {
        authorizer,
        authenticators: [
          {
            authenticate: ({ username, password }) =>
              username === 'ann'
                ? password?.toString() === 'secret'
                  ? { kind: 'accepted', username }
                  : { kind: 'refused', reasonCode: ReasonCode.badUserNameOrPassword, why: 'wrong password' }
                : { kind: 'unknown' },
          },
        ],
      },
    });
    const ann = await broker.connect({ username: 'ann', password: 'secret' });
    ann.publish({ topicName: 't' });
    const nobody = await broker.connect();
    nobody.publish({ topicName: 't' });
    await broker.idle();
    expect(seen).toEqual(['ann', undefined]);
    for (const credentials of [
      { username: 'ann', password: 'wrong' },
      { username: 'ann' },
      { username: 'bob', password: 'secret' },
    ]) {
      const connack = await broker.open().connect({ clientId: 'x', ...credentials });
      expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword);
    }
  });

  it('that throw refuse', async () => {
    await using broker = await start({
      hooks: {
        authenticators: [
          {
            authenticate: () => {
              throw new TypeError('the database is gone');
            },
          },
        ],
      },
    });
    expect((await broker.open().connect()).reasonCode).toBe(ReasonCode.serverUnavailable);
  });
});

describe('The authorizer', () => {
  it('is asked for every PUBLISH and filter; order holds while it thinks', async () => {
    const authorizer: Authorizer = {
      mayPublish: async (_client, topicName) => {
        const turns = topicName.endsWith('1') ? 5 : 1; // the first takes longest
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        return topicName.startsWith('no/') ? 'deny' : 'allow';
      },
      maySubscribe: async (_client, topicFilter) => (topicFilter.startsWith('no/') ? 'deny' : 'allow'),
    };
    await using broker = await start({ hooks: { authorizer } });
    const client = await broker.connect();
    const { reasonCodes } = await client.subscribe(['yes/#', 'no/#', '$share/g/no/x'], { qos: 1 });
    expect(reasonCodes).toEqual([1, ReasonCode.notAuthorized, ReasonCode.notAuthorized]);
    for (let i = 1; i <= 3; i++) {
      client.publish({ topicName: `yes/${i}`, qos: 1, packetId: i });
      client.publish({ topicName: `no/${i}`, qos: 1, packetId: 10 + i });
    }
    await broker.idle();
    const acks = client.pending.flatMap((packet) =>
      packet.type === 'puback' ? [[packet.packetId, packet.reasonCode]] : [],
    );
    expect(acks).toEqual([
      [1, 0],
      [11, ReasonCode.notAuthorized],
      [2, 0],
      [12, ReasonCode.notAuthorized],
      [3, 0],
      [13, ReasonCode.notAuthorized],
    ]);
    const topics = client.pending.flatMap((packet) => (packet.type === 'publish' ? [packet.topicName] : []));
    expect(topics).toEqual(['yes/1', 'yes/2', 'yes/3']);
  });

  it('denies when it throws, rejects, or does not answer in time', async () => {
    const answers: (() => 'allow' | Promise<'allow'>)[] = [
      () => {
        throw new TypeError('bug');
      },
      () => Promise.reject(new TypeError('gone')),
      () => new Promise(() => {}),
    ];
    const authorizer: Authorizer = {
      mayPublish: () => (answers.shift() ?? (() => 'allow'))(),
      maySubscribe: () => 'allow',
    };
    await using broker = await start({ hooks: { authorizer }, limits: { permissionTimeoutMs: 1000 } });
    const client = await broker.connect();
    for (let i = 1; i <= 4; i++) client.publish({ topicName: 't', qos: 1, packetId: i });
    await broker.advance('1s');
    const codes = [];
    for (let i = 1; i <= 4; i++) codes.push((await client.receive('puback')).reasonCode);
    expect(codes.map((code) => code >= 0x80)).toEqual([true, true, true, false]);
  });

  it('never lets a client publish to a reserved topic, nor read one but $SYS', async () => {
    await using broker = await start({
      hooks: { authorizer: { mayPublish: () => 'allow', maySubscribe: () => 'allow' } },
    });
    const client = await broker.connect();
    const { reasonCodes } = await client.subscribe(['$SYS/#', '$internal/#', '#']);
    expect(reasonCodes).toEqual([0, ReasonCode.notAuthorized, 0]);
    client.publish({ topicName: '$SYS/broker/version', payload: 'forged', qos: 1 });
    expect((await client.receive('puback')).reasonCode).toBe(ReasonCode.notAuthorized);
  });

  it('is asked for a will at CONNECT', async () => {
    await using broker = await start();
    const client = broker.open();
    const will = {
      topicName: '$SYS/x',
      payload: Buffer.from('w'),
      qos: 0,
      retain: false,
      properties: undefined,
    } as const;
    expect((await client.connect({ will })).reasonCode).toBe(ReasonCode.notAuthorized);
  });
});
