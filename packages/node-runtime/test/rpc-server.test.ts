import { createServer } from 'node:net';
import {
  type CallOptions,
  Client,
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Address } from '../src/config/address.js';
import { HealthClient, HealthCheckResponse_ServingStatus as ServingStatus } from '../src/gen/grpc/health/v1/health.js';
import { Health } from '../src/health.js';
import { type RpcServer, type RpcServerOptions, startRpcServer } from '../src/rpc-server.js';

// A service with one method of each kind, its messages plain text.
const text = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
};
const echo = {
  unary: { path: '/test.Echo/Unary', requestStream: false, responseStream: false, ...text },
  collect: { path: '/test.Echo/Collect', requestStream: true, responseStream: false, ...text },
  repeat: { path: '/test.Echo/Repeat', requestStream: false, responseStream: true, ...text },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...text },
} as const;
const definition: ServiceDefinition = echo;

const unary: handleUnaryCall<string, string> = (call, answer) => answer(null, `echo ${call.request}`);
const collect: handleClientStreamingCall<string, string> = (call, answer) => {
  const parts: string[] = [];
  call.on('data', (part: string) => parts.push(part));
  call.on('end', () => answer(null, parts.join('+')));
};
const repeat: handleServerStreamingCall<string, string> = (call) => {
  call.write(call.request);
  call.write(call.request);
  call.end();
};
const chat: handleBidiStreamingCall<string, string> = (call) => {
  call.on('data', (part: string) => call.write(part.toUpperCase()));
  call.on('end', () => call.end());
};
const implementation = { unary, collect, repeat, chat };

const LOOPBACK: Address = { host: '127.0.0.1', port: 0 };
const SECRET = 'correct horse battery staple';
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function start(options: Partial<RpcServerOptions> = {}, activity = 'starting meta') {
  const health = new Health({ checks: ['all'] });
  const rpc = await startRpcServer(
    { bind: LOOPBACK, services: [definition], ...options },
    { health, activity: () => activity },
  );
  open.push(rpc);
  return { rpc, health };
}

function clientOf(rpc: RpcServer): Client {
  const client = new Client(`127.0.0.1:${rpc.address.port}`, credentials.createInsecure());
  open.push(client);
  return client;
}

function bearer(secret: string | undefined): Metadata {
  const metadata = new Metadata();
  if (secret !== undefined) metadata.set('authorization', `Bearer ${secret}`);
  return metadata;
}

type Outcome = { readonly code: status; readonly details: string } | { readonly received: readonly string[] };

/** Calls each of the four methods once; what came back, or the status it ended with. */
function callAll(client: Client, metadata: Metadata): Promise<readonly Outcome[]> {
  const { requestSerialize: encode, responseDeserialize: decode } = text;
  const options: CallOptions = {};
  const single = (call: (done: (error: unknown, value?: string) => void) => void) =>
    new Promise<Outcome>((resolve) => {
      call((error, value) => resolve(error ? outcomeOf(error) : { received: [value ?? ''] }));
    });
  const streamed = (stream: NodeJS.ReadableStream) =>
    new Promise<Outcome>((resolve) => {
      const received: string[] = [];
      stream.on('data', (value) => received.push(String(value)));
      stream.on('error', (error) => resolve(outcomeOf(error)));
      stream.on('end', () => resolve({ received }));
    });
  const talk = client.makeBidiStreamRequest(echo.chat.path, encode, decode, metadata, options);
  talk.write('a');
  talk.end();
  return Promise.all([
    single((done) => client.makeUnaryRequest(echo.unary.path, encode, decode, 'hi', metadata, options, done)),
    single((done) => {
      const stream = client.makeClientStreamRequest(echo.collect.path, encode, decode, metadata, options, done);
      stream.write('a');
      stream.write('b');
      stream.end();
    }),
    streamed(client.makeServerStreamRequest(echo.repeat.path, encode, decode, 'r', metadata, options)),
    streamed(talk),
  ]);
}

function outcomeOf(error: unknown): Outcome {
  const { code, details } = error as { code: status; details: string }; // grpc-js errors carry both
  return { code, details };
}

const ANSWERS = [{ received: ['echo hi'] }, { received: ['a+b'] }, { received: ['r', 'r'] }, { received: ['A'] }];

describe('a service', () => {
  it('answers UNAVAILABLE with what the node is doing until it is mounted, in all four kinds of call', async () => {
    const { rpc } = await start();
    const client = clientOf(rpc);
    const starting = { code: status.UNAVAILABLE, details: 'starting meta' };
    expect(await callAll(client, new Metadata())).toEqual([starting, starting, starting, starting]);
    rpc.mount(definition, implementation);
    expect(await callAll(client, new Metadata())).toEqual(ANSWERS);
  });

  it('must be declared before it is mounted', async () => {
    const { rpc } = await start({ services: [] });
    expect(() => rpc.mount(definition, implementation)).toThrow('declared');
  });
});

describe('the shared secret', () => {
  it('opens the door; without it, or with another, no service is reached', async () => {
    const { rpc } = await start({ secret: SECRET });
    rpc.mount(definition, implementation);
    const client = clientOf(rpc);
    expect(await callAll(client, bearer(SECRET))).toEqual(ANSWERS);
    for (const wrong of [undefined, '', `${SECRET} `.repeat(2), SECRET.slice(1), SECRET.toUpperCase()]) {
      for (const outcome of await callAll(client, bearer(wrong))) {
        expect(outcome).toMatchObject({
          code: status.UNAUTHENTICATED,
          details: expect.stringContaining('grpc.secret'),
        });
      }
    }
  });

  it('is not asked of probes of the health service', async () => {
    const { rpc } = await start({ secret: SECRET });
    expect(await checkHealth(rpc)).toBe(ServingStatus.NOT_SERVING);
  });
});

describe('grpc.health.v1', () => {
  it('says SERVING when every check is true, and nothing of single services', async () => {
    const { rpc, health } = await start();
    expect(await checkHealth(rpc)).toBe(ServingStatus.NOT_SERVING);
    health.bind('all', () => ({ ok: true }));
    expect(await checkHealth(rpc)).toBe(ServingStatus.SERVING);
    await expect(checkHealth(rpc, 'test.Echo')).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('tells a watcher the state now, and the end when the server closes', async () => {
    const { rpc } = await start();
    const states: ServingStatus[] = [];
    const stream = healthClient(rpc).watch({ service: '' });
    const first = new Promise<void>((resolve) => stream.once('data', () => resolve()));
    stream.on('data', (response: { status: ServingStatus }) => states.push(response.status));
    await first;
    const ended = new Promise<void>((resolve) => stream.on('end', resolve));
    await rpc.close();
    await ended;
    expect(states).toEqual([ServingStatus.NOT_SERVING, ServingStatus.NOT_SERVING]);
  });
});

describe('listening', () => {
  it('on a port in use names the address and the setting', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(LOOPBACK, resolve));
    open.push(squatter);
    const { port } = squatter.address() as { port: number }; // it listens
    await expect(start({ bind: { host: '127.0.0.1', port } })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `the gRPC server cannot listen on 127.0.0.1:${port}: the port is in use. Stop the other program (ss -ltnp shows it) or set grpc.bind to another address`,
    });
  });

  it('on an address of another machine says so', async () => {
    await expect(start({ bind: { host: '192.0.2.1', port: 0 } })).rejects.toMatchObject({ code: 'ADDRESS_UNUSABLE' });
  });

  it('closes within its deadline although a stream is open', async () => {
    const { rpc } = await start({ closeDeadlineMs: 50 });
    rpc.mount(definition, implementation);
    const { requestSerialize: encode, responseDeserialize: decode } = text;
    const stream = clientOf(rpc).makeBidiStreamRequest(echo.chat.path, encode, decode, new Metadata(), {});
    const ended = new Promise<Outcome>((resolve) => stream.on('error', (error) => resolve(outcomeOf(error))));
    const echoed = new Promise((resolve) => stream.once('data', resolve));
    stream.write('a');
    expect(await echoed).toBe('A');
    await rpc.close();
    expect(await ended).toMatchObject({ code: status.CANCELLED });
  });
});

function healthClient(rpc: RpcServer): HealthClient {
  const client = new HealthClient(`127.0.0.1:${rpc.address.port}`, credentials.createInsecure());
  open.push(client);
  return client;
}

function checkHealth(rpc: RpcServer, service = ''): Promise<ServingStatus> {
  return new Promise((resolve, reject) => {
    healthClient(rpc).check({ service }, (error, response) => (error ? reject(error) : resolve(response.status)));
  });
}
