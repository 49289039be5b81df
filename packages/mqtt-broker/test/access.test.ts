// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders of access rules are plain text

// Who is let in, and what they may do: users, tokens, a service over HTTP, and access rules that change.

import { createHmac, generateKeyPairSync, pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import { exportJWK, SignJWT } from 'jose';
import type { Authentication, Credentials } from '../src/auth/authenticator.js';
import { CertificateUsers } from '../src/auth/certificate-users.js';
import { HttpAuthenticator } from '../src/auth/http-authenticator.js';
import { JwtAuthenticator, type JwtOptions } from '../src/auth/jwt-authenticator.js';
import { PasswordFile } from '../src/auth/password-file.js';
import { PasswordUsers } from '../src/auth/password-users.js';
import { AccessStore, hashPassword, ReasonCode } from '../src/index.js';
import { TestBroker } from '../src/testing/index.js';

const remote = { address: '192.0.2.1', port: 1, scope: 'remote' } as const;

const credentials = (fields: { username?: string; password?: string; clientId?: string }): Credentials => ({
  clientId: fields.clientId ?? 'c',
  username: fields.username,
  password: fields.password === undefined ? undefined : Buffer.from(fields.password),
  peer: remote,
  version: 5,
});

const newDirectory = () => mkdtemp(join(tmpdir(), 'robustmq-access-'));

async function newFile(name: string, content: string | Buffer): Promise<string> {
  const path = join(await newDirectory(), name);
  await writeFile(path, content);
  return path;
}

const accepted = (username: string) => expect.objectContaining({ kind: 'accepted', username });
const refused = expect.objectContaining({ kind: 'refused' });
const unknown: Authentication = { kind: 'unknown' };

describe('A password file', () => {
  const clock = new ManualClock();

  it('holds what we and mosquitto_passwd write, and is read again while the broker runs', async () => {
    const salt = randomBytes(12);
    const key = pbkdf2Sync('pass', salt, 101, 64, 'sha512');
    const bob = `bob:$7$101$${salt.toString('base64')}$${key.toString('base64')}`;
    const ann = `ann:${await hashPassword('secret', randomBytes(16))}`;
    const path = await newFile('passwords', `# who may come in\n\n${ann}\n${bob}\n`);
    const errors: object[] = [];
    const logger = { ...nullLogger, error: (fields: object) => errors.push(fields) };
    const file = await PasswordFile.open(path, { clock, logger: logger as never });
    const users = new PasswordUsers([file]);
    expect(await users.authenticate(credentials({ username: 'ann', password: 'secret' }))).toEqual(accepted('ann'));
    expect(await users.authenticate(credentials({ username: 'bob', password: 'pass' }))).toEqual(accepted('bob'));
    for (const password of ['secreT', 'SECRET', 'secre', 'secret ', '', undefined]) {
      const shown = password === undefined ? { username: 'ann' } : { username: 'ann', password };
      expect(await users.authenticate(credentials(shown))).toEqual(refused); // attacks 35 and 36
    }
    expect(await users.authenticate(credentials({ password: 'secret' }))).toEqual(unknown);

    await writeFile(path, `${bob}\nann:\n`); // a blank hash is no password (attack 41, CVE-2018-12551)
    await file.check();
    await file.check();
    expect(errors).toHaveLength(1);
    expect(JSON.stringify(errors)).toContain(':2:');
    expect(file.size).toBe(2); // as before
    await writeFile(path, `${bob}\n`);
    await file.check();
    expect(await users.authenticate(credentials({ username: 'ann', password: 'secret' }))).toEqual(unknown);
    file.close();
  });

  it('that cannot be read stops the start', async () => {
    for (const content of ['ann', 'ann:secret', ':scrypt$2$1$1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA']) {
      const path = await newFile('passwords', content);
      await expect(PasswordFile.open(path, { clock, logger: nullLogger })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.not.stringContaining('secret'),
      });
    }
  });
});

describe('A token (attack 37)', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const clock = new ManualClock();
  const seconds = () => Math.floor(clock.wallTime() / 1000);
  const claims = () => ({ sub: 'ann', iss: 'issuer', aud: 'mqtt', exp: seconds() + 60 });
  const sign = (payload: Record<string, unknown>, key = privateKey, header = {}) =>
    new SignJWT(payload).setProtectedHeader({ alg: 'ES256', ...header }).sign(key);
  const open = async (fields: Partial<JwtOptions> = {}) => {
    const keyFile = await newFile('key.pem', pem);
    return JwtAuthenticator.open(
      { keyFile, algorithms: ['ES256'], issuer: 'issuer', audience: 'mqtt', ...fields },
      clock,
    );
  };
  const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

  it('lets in by its claims, until it expires', async () => {
    const jwt = await open();
    const password = await sign(claims());
    const expiresAtMs = (seconds() + 60) * 1000;
    expect(await jwt.authenticate(credentials({ password }))).toEqual({
      kind: 'accepted',
      username: 'ann',
      expiresAtMs,
    });
    expect(await jwt.authenticate(credentials({ username: 'ann', password }))).toEqual(accepted('ann'));
    expect(await jwt.authenticate(credentials({ username: 'bob', password }))).toEqual(refused);
    const other = await open({ usernameClaim: 'device' });
    expect(await other.authenticate(credentials({ password: await sign({ ...claims(), device: 'd7' }) }))).toEqual(
      accepted('d7'),
    );
  });

  it('is refused when anything about it is wrong', async () => {
    const jwt = await open();
    const good = claims();
    const secret = createHmac('sha256', pem)
      .update(`${base64({ alg: 'HS256' })}.${base64(good)}`)
      .digest('base64url');
    const { exp: _exp, ...endless } = good;
    const { sub: _sub, ...nameless } = good;
    const tokens = [
      `${base64({ alg: 'none' })}.${base64(good)}.`,
      `${base64({ alg: 'HS256' })}.${base64(good)}.${secret}`, // the public key as a secret
      await sign(good, stranger.privateKey),
      await sign(good, stranger.privateKey, { kid: "../../dev/null' OR 1=1 --" }),
      await sign(good, stranger.privateKey, { jwk: await exportJWK(stranger.publicKey) }),
      await sign({ ...good, exp: seconds() - 60 }),
      await sign({ ...good, nbf: seconds() + 60 }),
      await sign({ ...good, iss: 'somebody' }),
      await sign({ ...good, aud: 'web' }),
      await sign(endless),
      await sign(nameless),
      await sign({ ...good, sub: ['ann'] }),
      await sign({ ...good, sub: '' }),
      await sign({ ...good, more: 'x'.repeat(20_000) }),
      'e30.e30.e30',
    ];
    for (const password of tokens) expect(await jwt.authenticate(credentials({ password }))).toEqual(refused);
    for (const password of ['secret', '', 'a.b', 'a.b.c.d', 'a b.c.d']) {
      expect(await jwt.authenticate(credentials({ password }))).toEqual(unknown); // another's to judge
    }
  });

  it('is checked with keys that fit what it may be signed with, or not at all', async () => {
    const secretFile = await newFile('secret', 'x'.repeat(32));
    for (const fields of [
      { algorithms: [] },
      { algorithms: ['none'] },
      { algorithms: ['ES256', 'HS256'] }, // a public key as a secret
      { algorithms: ['HS256'] },
      { keyFile: secretFile },
      { keyFile: '/nowhere' },
      { jwksUrl: 'https://issuer.example/jwks' }, // and a file
      { keyFile: undefined },
      { keyFile: undefined, jwksUrl: 'http://issuer.example/jwks' },
      { keyFile: undefined, jwksUrl: 'https://issuer.example/jwks', algorithms: ['HS256'] },
    ]) {
      await expect(open(fields)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    }
    const shared = await open({ keyFile: secretFile, algorithms: ['HS256'] });
    const password = await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.alloc(32, 'x'));
    expect(await shared.authenticate(credentials({ password }))).toEqual(accepted('ann'));
  });

  it('is checked with the keys of its issuer, and refused when they cannot be had', async () => {
    const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] });
    const served = await serve((_request, response) =>
      response.setHeader('content-type', 'application/json').end(keys),
    );
    const jwt = await open({ keyFile: undefined, jwksUrl: served.url });
    const password = await sign(claims(), privateKey, { kid: 'k1' });
    expect(await jwt.authenticate(credentials({ password }))).toEqual(accepted('ann'));
    expect(await jwt.authenticate(credentials({ password: await sign(claims(), privateKey, { kid: 'k2' }) }))).toEqual(
      refused,
    );
    await served.close();
    const down = await open({ keyFile: undefined, jwksUrl: served.url });
    expect(await down.authenticate(credentials({ password }))).toEqual(refused); // attack 38
  });

  it('ends the connection with it: 0xA0', async () => {
    const keyFile = await newFile('key.pem', pem);
    await using broker = await TestBroker.start({
      meta: createMemoryMeta(),
      auth: { jwt: { keyFile, algorithms: ['ES256'] } },
    });
    const exp = Math.floor(broker.clock.wallTime() / 1000) + 3600;
    const client = await broker.connect({ username: 'ann', password: await sign({ sub: 'ann', exp }) });
    await broker.advance('59m');
    expect(broker.broker.connectionCount).toBe(1);
    await broker.advance('2m');
    expect((await client.receive('disconnect')).reasonCode).toBe(0xa0);
  });
});

interface Served {
  readonly url: string;
  close(): Promise<void>;
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Served> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/auth`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

describe('A service over HTTP', () => {
  it('is asked what the client shows, and remembers nothing but "allow"', async () => {
    const asked: unknown[] = [];
    const served = await serve(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      const question = JSON.parse(text);
      asked.push(question);
      const result =
        question.username === 'ann' && question.password === 'secret' ? 'allow' : (question.username ?? 'ignore');
      response.end(JSON.stringify({ result }));
    });
    const clock = new ManualClock();
    const http = new HttpAuthenticator({ url: served.url, cacheMs: 1000 }, clock);
    const ann = credentials({ username: 'ann', password: 'secret' });
    expect(await http.authenticate(ann)).toEqual(accepted('ann'));
    expect(await http.authenticate(ann)).toEqual(accepted('ann'));
    expect(asked).toEqual([
      {
        clientId: 'c',
        username: 'ann',
        password: 'secret',
        address: '192.0.2.1',
        protocolVersion: 5,
        certificateCommonName: null,
      },
    ]);
    clock.advance(1001);
    expect(await http.authenticate(ann)).toEqual(accepted('ann'));
    expect(await http.authenticate(credentials({ username: 'ann', password: 'wrong' }))).toEqual(refused);
    expect(await http.authenticate(credentials({ username: 'deny' }))).toEqual(refused);
    expect(await http.authenticate(credentials({ username: 'deny' }))).toEqual(refused);
    expect(await http.authenticate(credentials({}))).toEqual(unknown);
    expect(asked).toHaveLength(6);
    await served.close();
  });

  it('that does not answer as agreed lets nobody in (attack 38)', async () => {
    const answers: readonly ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(500).end('{"result":"allow"}'),
      (response) => response.writeHead(302, { location: '/allow' }).end(),
      (response) => response.end('allow'),
      (response) => response.end('null'),
      (response) => response.end('{"result":"Allow"}'),
      (response) => response.end('{"result":"allow","username":7}'),
      (response) => response.end(`{"result":"allow","x":"${'x'.repeat(100_000)}"}`),
      (response) => response.destroy(),
    ];
    for (const answer of answers) {
      const served = await serve((_request, response) => answer(response));
      const http = new HttpAuthenticator({ url: served.url }, new ManualClock());
      expect(await http.authenticate(credentials({ username: 'ann' }))).toMatchObject({
        kind: 'refused',
        reasonCode: ReasonCode.serverUnavailable,
      });
      await served.close();
    }
    expect(() => new HttpAuthenticator({ url: 'file:///etc/passwd' }, new ManualClock())).toThrow(/http or https/);
  });

  it('that does not answer in time lets nobody in', async () => {
    const clock = new ManualClock();
    const served = await serve(() => clock.advance(5001)); // the question is there, and stays without an answer
    const http = new HttpAuthenticator({ url: served.url }, clock);
    expect(await http.authenticate(credentials({ username: 'ann' }))).toEqual(refused);
    await served.close();
  });
});

describe('A client certificate', () => {
  const shown = (commonName: string | undefined, alternativeNames: readonly string[] = []) => ({
    ...credentials({}),
    peer: { ...remote, certificate: { commonName, alternativeNames, fingerprint: 'AB' } },
  });

  it('is a user name, where it has one', () => {
    const byCommonName = new CertificateUsers('common_name');
    expect(byCommonName.authenticate(shown('sensor-7'))).toEqual(accepted('sensor-7'));
    expect(byCommonName.authenticate({ ...shown('sensor-7'), username: 'sensor-7' })).toEqual(accepted('sensor-7'));
    expect(byCommonName.authenticate({ ...shown('sensor-7'), username: 'sensor-8' })).toEqual(unknown);
    expect(byCommonName.authenticate(shown(undefined))).toEqual(unknown);
    expect(byCommonName.authenticate(credentials({}))).toEqual(unknown);
    const byAlternativeName = new CertificateUsers('alternative_name');
    expect(byAlternativeName.authenticate(shown('x', ['sensor-7']))).toEqual(accepted('sensor-7'));
    expect(byAlternativeName.authenticate(shown('x', ['a', 'b']))).toEqual(unknown);
  });
});

describe('Users in the metadata', () => {
  it('come and go while the broker runs', async () => {
    const meta = createMemoryMeta();
    await using broker = await TestBroker.start({ meta });
    const store = new AccessStore(meta);
    const connect = async (username: string, password: string) =>
      (await broker.open({ peer: remote }).connect({ clientId: 'c', username, password })).reasonCode;
    expect(await connect('ann', 'secret')).toBe(ReasonCode.notAuthorized); // nobody is known: anonymous from afar
    await store.setUser('ann', 'secret');
    await broker.idle();
    expect(await connect('ann', 'secret')).toBe(0);
    expect(await connect('ann', 'wrong')).toBe(ReasonCode.badUserNameOrPassword);
    expect(await connect('bob', 'secret')).toBe(ReasonCode.badUserNameOrPassword);
    expect(await store.userNames()).toEqual(['ann']);
    expect(await store.removeUser('ann')).toBe('removed');
    expect(await store.removeUser('ann')).toBe('unknown');
    await broker.idle();
    expect(await connect('ann', 'secret')).toBe(ReasonCode.notAuthorized);
    for (const [name, password] of [
      ['', 'x'],
      ['a\n', 'x'],
      ['a', ''],
      ['x'.repeat(1025), 'x'],
    ] as const) {
      await expect(store.setUser(name, password)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    }
  });

  it('whose record cannot be read are let in by no password', async () => {
    const meta = createMemoryMeta();
    await meta.put('mqtt/default/users/ann', Buffer.from('{"hash":""}'));
    await using broker = await TestBroker.start({ meta });
    const { reasonCode } = await broker.open().connect({ clientId: 'c', username: 'ann', password: '' });
    expect(reasonCode).toBe(ReasonCode.badUserNameOrPassword);
  });
});

describe('Access rules', () => {
  const qos1 = { qos: 1 } as const;

  it('of the configuration hold for PUBLISH, SUBSCRIBE and wills (attack 15)', async () => {
    const rules = ['allow all devices/${clientid}/#', 'deny subscribe secret/#', 'allow subscribe #'];
    await using broker = await TestBroker.start({ meta: createMemoryMeta(), auth: { acl: { rules } } });
    const client = await broker.connect({ clientId: 'd1' });
    expect((await client.subscribe('devices/d1/#')).reasonCodes).toEqual([0]);
    expect((await client.subscribe('#')).reasonCodes).toEqual([ReasonCode.notAuthorized]);
    expect((await client.subscribe('$share/g/secret/x')).reasonCodes).toEqual([ReasonCode.notAuthorized]);
    client.publish({ topicName: 'devices/d2/x', packetId: 1, ...qos1 });
    expect((await client.receive('puback')).reasonCode).toBe(ReasonCode.notAuthorized);
    const will = {
      topicName: 'devices/d1/x',
      payload: Buffer.alloc(0),
      qos: 0,
      retain: false,
      properties: undefined,
    } as const;
    const refusal = await broker.open().connect({ clientId: 'd2', will });
    expect(refusal.reasonCode).toBe(ReasonCode.notAuthorized);
  });

  it('in the metadata are in force at once, also for what is subscribed and stored (attack 16)', async () => {
    const meta = createMemoryMeta();
    await using broker = await TestBroker.start({ meta });
    const store = new AccessStore(meta);
    const durable = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const;
    const reader = await broker.connect({ clientId: 'reader' });
    await reader.subscribe('secret/#');
    await reader.subscribe('open/#');
    const away = await broker.connect({ clientId: 'away', ...durable });
    await away.subscribe('secret/#', { qos: 1 });
    away.link.cut();
    const writer = await broker.connect({ clientId: 'writer' });
    const publish = async (topicName: string) => {
      writer.publish({ topicName, packetId: 1, payload: topicName, ...qos1 });
      await writer.receive('puback');
      await broker.idle();
    };
    await publish('secret/1');
    expect((await reader.receive('publish')).topicName).toBe('secret/1');

    await store.setRules('10', ['deny subscribe secret/#', 'allow all #']);
    await broker.idle();
    await publish('secret/2');
    await publish('open/2');
    expect((await reader.receive('publish')).topicName).toBe('open/2');
    expect((await reader.subscribe('secret/#')).reasonCodes).toEqual([ReasonCode.notAuthorized]);
    const back = await broker.connect({ clientId: 'away', ...durable });
    expect(back.connack.sessionPresent).toBe(true);
    await broker.idle();
    back.ping();
    await back.receive('pingresp'); // and not what waited for it

    expect(await store.rules()).toEqual([{ name: '10', rules: ['deny subscribe secret/#', 'allow all #'] }]);
    await meta.put('mqtt/default/acl/05', Buffer.from('{"rules":["allow everything"]}')); // a slip of somebody's pen
    await broker.idle();
    expect((await reader.subscribe('open/#')).reasonCodes).toEqual([ReasonCode.notAuthorized]);
    expect(await store.removeRules('05')).toBe('removed');
    await broker.idle();
    expect((await reader.subscribe('open/#')).reasonCodes).toEqual([0]);
    await expect(store.setRules('20', ['allow everything'])).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('and ways to log in that are not as they should be stop the start (attack 41)', async () => {
    for (const auth of [
      { acl: { rules: ['allow'] } },
      { users: { ann: 'secret' } },
      { http: { url: 'http://127.0.0.1/' }, order: ['password'] },
    ] as const) {
      await expect(TestBroker.start({ meta: createMemoryMeta(), auth })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      });
    }
  });
});
