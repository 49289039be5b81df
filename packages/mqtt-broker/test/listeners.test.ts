// TLS, WebSocket over TLS, and load balancers, on real sockets.

import { writeFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock, systemClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import mqtt, { type IClientOptions } from 'mqtt';
import { type Credentials, createBroker } from '../src/index.js';
import { TlsCredentials } from '../src/listener/tls-credentials.js';
import type { BrokerOptions } from '../src/options.js';
import { newAuthority, toFiles } from './test-certificates.js';

const loopback = { host: '127.0.0.1', port: 0 } as const;

/** A broker that notes who asks to be let in. */
async function open(options: BrokerOptions) {
  const seen: Credentials[] = [];
  const authenticate = (credentials: Credentials) => {
    seen.push(credentials);
    return { kind: 'unknown' } as const;
  };
  const broker = await createBroker({
    storage: new MemoryShardStorage({ clock: systemClock }),
    meta: createMemoryMeta(),
    hooks: { authenticators: [{ authenticate }] },
    ...options,
  });
  return { broker, seen, [Symbol.asyncDispose]: () => broker.close() };
}

const authority = await newAuthority('test authority');
const stranger = await newAuthority('another authority');
const server = await authority.issue({ commonName: 'server', hosts: ['broker.example', 'localhost'] });
const other = await authority.issue({ commonName: 'other', hosts: ['other.example', '*.wild.example'] });
const files = await toFiles({
  ca: authority.cert,
  cert: server.cert,
  key: server.key,
  otherCert: other.cert,
  otherKey: other.key,
});
const tls = { certificates: [{ cert: files.cert, key: files.key }] };

/** Connects, publishes to itself over QoS 1, and ends. Rejects when it is not let in. */
async function roundTrip(url: string, options: IClientOptions): Promise<string> {
  const client = await mqtt.connectAsync(url, { ca: authority.cert, reconnectPeriod: 0, ...options }, false);
  const got = new Promise<string>((resolve) => client.on('message', (_topic, payload) => resolve(String(payload))));
  await client.subscribeAsync('t', { qos: 1 });
  await client.publishAsync('t', 'it works', { qos: 1 });
  const text = await got;
  await client.endAsync();
  return text;
}

const nameOf = (port: number, servername: string) =>
  new Promise<unknown>((resolve, reject) => {
    const socket = connectTls({ ...loopback, port, servername, ca: authority.cert }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', reject);
  });

describe('TLS', () => {
  it.each(['tls', 'wss'] as const)('carries MQTT, for clients that trust the authority only: %s', async (kind) => {
    await using rig = await open({ listeners: [{ kind, ...loopback, tls }] });
    const url = (rig.broker.addresses[0]?.url ?? '').replace('127.0.0.1', 'localhost');
    expect(url).toMatch(kind === 'tls' ? /^mqtts:/ : /^wss:.*\/mqtt$/);
    expect(await roundTrip(url, {})).toBe('it works');
    await expect(roundTrip(url, { ca: stranger.cert })).rejects.toThrow(/certificate/);
  });

  it('shows each name its certificate, and the first to all others (SNI)', async () => {
    const certificates = [...tls.certificates, { cert: files.otherCert, key: files.otherKey }];
    await using rig = await open({ listeners: [{ kind: 'tls', ...loopback, tls: { certificates } }] });
    const port = rig.broker.addresses[0]?.port ?? 0;
    expect(await nameOf(port, 'broker.example')).toBe('server');
    expect(await nameOf(port, 'other.example')).toBe('other');
    expect(await nameOf(port, 'a.wild.example')).toBe('other');
    await expect(nameOf(port, 'nobody.example')).rejects.toThrow(/altnames/);
  });

  it('refuses TLS 1.1', async () => {
    await using rig = await open({ listeners: [{ kind: 'tls', ...loopback, tls }] });
    const port = rig.broker.addresses[0]?.port ?? 0;
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    const failure = await new Promise((resolve) => {
      const socket = connectTls({ ...loopback, port, servername: 'localhost', ca: authority.cert, ...old }, () => {
        resolve('connected');
        socket.destroy();
      });
      socket.on('error', ({ message }) => resolve(message));
    });
    expect(failure).toMatch(/alert|version|closed|disconnected/);
  });

  it.each(['tls', 'wss'] as const)(
    'gives authenticators what a verified client certificate says, and lets no other in: %s (attack 42)',
    async (kind) => {
      const client = await authority.issue({ commonName: 'sensor-7', hosts: ['sensor-7.example'] });
      const forged = await stranger.issue({ commonName: 'sensor-7', hosts: ['sensor-7.example'] });
      const mutual = { ...tls, ca: files.ca };
      for (const clientCertificate of ['required', 'optional'] as const) {
        await using rig = await open({ listeners: [{ kind, ...loopback, tls: { ...mutual, clientCertificate } }] });
        const url = (rig.broker.addresses[0]?.url ?? '').replace('127.0.0.1', 'localhost');
        expect(await roundTrip(url, client)).toBe('it works');
        expect(rig.seen[0]?.peer.certificate).toMatchObject({
          commonName: 'sensor-7',
          alternativeNames: ['sensor-7.example'],
        });
        await expect(roundTrip(url, forged)).rejects.toThrow();
        expect(rig.seen).toHaveLength(1);
        if (clientCertificate === 'required') await expect(roundTrip(url, {})).rejects.toThrow();
        else expect(await roundTrip(url, {})).toBe('it works');
        expect(rig.seen.map(({ peer }) => peer.certificate?.commonName)).toEqual(
          clientCertificate === 'required' ? ['sensor-7'] : ['sensor-7', undefined],
        );
      }
    },
  );

  it('takes new files while it runs, and keeps the old ones when the new do not load (attack 42)', async () => {
    const own = await toFiles({ cert: server.cert, key: server.key });
    const warnings: string[] = [];
    const logger = { ...nullLogger, error: (_fields: unknown, message: string) => warnings.push(message) };
    const clock = new ManualClock();
    const credentials = await TlsCredentials.load({ certificates: [own] }, { clock, logger: logger as never });
    const standards: unknown[] = [];
    credentials.watch((standard) => standards.push(standard.cert));
    expect(await credentials.check()).toBe('same');
    await writeFile(own.cert, 'no certificate');
    expect(await credentials.check()).toBe('refused');
    expect(await credentials.check()).toBe('refused');
    await writeFile(own.cert, other.cert); // with the key of another
    expect(await credentials.check()).toBe('refused');
    expect(warnings).toHaveLength(2); // once for each
    expect(standards).toEqual([]);
    await writeFile(own.key, other.key);
    expect(await credentials.check()).toBe('replaced');
    expect(String(standards)).toBe(other.cert);
    credentials.close();
  });

  it('does not start with files that do not load, and says which', async () => {
    const certificates = [{ cert: files.cert, key: files.otherKey }];
    await expect(open({ listeners: [{ kind: 'tls', ...loopback, tls: { certificates } }] })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(files.otherKey),
    });
    const missing = { certificates: [{ cert: '/nowhere/cert.pem', key: files.key }] };
    await expect(open({ listeners: [{ kind: 'wss', ...loopback, tls: missing }] })).rejects.toThrow(
      '/nowhere/cert.pem',
    );
  });
});

describe('The PROXY protocol', () => {
  const header = 'PROXY TCP4 203.0.113.9 198.51.100.1 40000 1883\r\n';
  const trusted = { ...loopback, proxyProtocol: ['127.0.0.0/8'] };

  /** A socket to the broker that has sent `bytes`; `open` is called with it before anything is read. */
  const through = (port: number, bytes: string | Buffer): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = connectTcp({ host: '127.0.0.1', port }, () => {
        socket.write(bytes);
        resolve(socket);
      });
      socket.on('error', reject);
    });

  const ended = (socket: Socket) =>
    new Promise<string>((resolve) => {
      socket.on('close', () => resolve('closed')).resume();
      socket.removeAllListeners('error').on('error', () => {});
    });

  it('tells whom a load balancer speaks for, before TCP, TLS and WebSocket', async () => {
    for (const kind of ['tcp', 'tls', 'ws', 'wss'] as const) {
      const listener = kind === 'tcp' || kind === 'ws' ? { kind, ...trusted } : { kind, ...trusted, tls };
      await using rig = await open({ listeners: [listener], auth: { anonymous: 'everywhere' } });
      const { port } = rig.broker.addresses[0] ?? { port: 0 };
      const raw = await through(port, header);
      const { WebSocket, createWebSocketStream } = await import('ws');
      const stream = () => {
        const carrier =
          kind === 'tls' || kind === 'wss'
            ? connectTls({ socket: raw, servername: 'localhost', ca: authority.cert })
            : raw;
        if (kind === 'tcp' || kind === 'tls') return carrier;
        return createWebSocketStream(
          new WebSocket('ws://localhost/mqtt', ['mqtt'], { createConnection: () => carrier }),
        );
      };
      const client = new mqtt.MqttClient(stream as never, { reconnectPeriod: 0, clientId: `by-${kind}` });
      await new Promise((resolve, reject) => client.on('connect', resolve).on('error', reject));
      expect(rig.seen.map(({ peer }) => [peer.address, peer.port, peer.scope])).toEqual([
        ['203.0.113.9', 40_000, 'remote'],
      ]);
      await client.endAsync();
    }
  });

  it('does not make a client from elsewhere one of this machine', async () => {
    await using rig = await open({ listeners: [{ kind: 'tcp', ...trusted }] });
    const { port } = rig.broker.addresses[0] ?? { port: 0 };
    const raw = await through(port, header);
    const client = new mqtt.MqttClient(() => raw, { reconnectPeriod: 0, protocolVersion: 5 });
    const refusal = await new Promise<Error>((resolve) => client.on('error', resolve));
    expect(refusal.message).toMatch(/Not authorized/);
    client.end(true);
  });

  it('is refused from others, and demanded of those that are trusted (attack 44)', async () => {
    const connect = Buffer.from('101000044d5154540402003c000474657374', 'hex');
    for (const [proxyProtocol, bytes] of [
      [['192.0.2.0/24'], header], // not from there
      [['127.0.0.1'], connect], // no header
      [['127.0.0.1'], `${'PROXY TCP4 '.padEnd(120, 'x')}`],
      [['127.0.0.1'], Buffer.from('0d0a0d0a000d0a515549540a2111ffff', 'hex')],
    ] as const) {
      await using rig = await open({ listeners: [{ kind: 'tcp', ...loopback, proxyProtocol }] });
      const { port } = rig.broker.addresses[0] ?? { port: 0 };
      expect(await ended(await through(port, bytes))).toBe('closed');
      expect(rig.seen).toEqual([]);
    }
  });

  it('must come in time', async () => {
    await using rig = await open({ listeners: [{ kind: 'tcp', ...trusted }], limits: { connectTimeoutMs: 30 } });
    const { port } = rig.broker.addresses[0] ?? { port: 0 };
    expect(await ended(await through(port, 'PROXY'))).toBe('closed');
  });

  it('is trusted from networks only', async () => {
    for (const network of ['10.0.0.0/33', 'example.com', '10.0.0.0/8/8', '']) {
      await expect(open({ listeners: [{ kind: 'tcp', ...loopback, proxyProtocol: [network] }] })).rejects.toMatchObject(
        {
          code: 'INVALID_OPTION',
        },
      );
    }
  });
});
