// What etcd's own clients rely on, asked in etcd's words: answers, status codes and texts.

import { credentials, Metadata, Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import {
  KVClient,
  LeaseClient,
  MaintenanceClient,
  PutRequest,
  RangeRequest,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  TxnRequest,
  WatchClient,
  WatchCreateRequest,
  WatchCreateRequest_FilterType,
  type WatchRequest,
  type WatchResponse,
} from '../src/gen/etcdserverpb/rpc.js';
import { Event_EventType } from '../src/gen/mvccpb/kv.js';
import { DEFAULT_REQUEST_LIMITS } from '../src/options.js';
import { mountEtcdServices } from '../src/service/etcd-services.js';
import { SoloStateAccess } from '../src/testing/solo-state-access.js';

const b = (text: string) => Buffer.from(text);
/** A message with the fields given and every other at its default, as a client of another language sends it. */
const range = (given: Partial<RangeRequest>) => ({ ...RangeRequest.decode(new Uint8Array()), ...given });
const put = (given: Partial<PutRequest>) => ({ ...PutRequest.decode(new Uint8Array()), ...given });
const txn = (given: Partial<TxnRequest>) => ({ ...TxnRequest.decode(new Uint8Array()), ...given });
const create = (given: Partial<WatchCreateRequest>): WatchRequest => ({
  requestUnion: { $case: 'createRequest', value: { ...WatchCreateRequest.decode(new Uint8Array()), ...given } },
});

/** Of a generated stub the form with all arguments is declared last, which is the one TypeScript infers from. */
type Stub<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: object,
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

function ask<Request, Response>(stub: Stub<Request, Response>, request: Request): Promise<Response> {
  return new Promise((resolve, reject) =>
    stub(request, new Metadata(), {}, (error, response) => (error ? reject(error) : resolve(response))),
  );
}

let clock: ManualClock;
let access: SoloStateAccess;
let server: Server;
let kv: KVClient;
let lease: LeaseClient;
let watches: WatchClient;
let address = '';

beforeEach(async () => {
  clock = new ManualClock();
  access = new SoloStateAccess(clock);
  server = new Server();
  const view = () => ({
    clusterId: '14841639068965178418',
    memberId: 3,
    term: 9,
    leader: 3,
    commitIndex: 12,
    appliedIndex: 11,
    members: [
      { id: 3, address: 'three:1', role: 'voter' as const },
      { id: 4, address: 'four:1', role: 'learner' as const },
    ],
  });
  mountEtcdServices(
    {
      access,
      view,
      transferLeadership: async () => {},
      limits: DEFAULT_REQUEST_LIMITS,
      clock,
      prng: createPrng(1),
    },
    (definition, implementation) => server.addService(definition, implementation),
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  address = `127.0.0.1:${port}`;
  kv = new KVClient(address, credentials.createInsecure());
  lease = new LeaseClient(address, credentials.createInsecure());
  watches = new WatchClient(address, credentials.createInsecure());
});

afterEach(() => {
  for (const client of [kv, lease, watches]) client.close();
  server.forceShutdown();
  access.close();
});

describe('KV', () => {
  it('sorts, bounds, counts and leaves values out as etcd does', async () => {
    for (const [key, value] of ['b2', 'a3', 'c1'].map((pair) => [pair[0] ?? '', pair[1] ?? '']))
      await ask(kv.put.bind(kv), put({ key: b(key ?? ''), value: b(value ?? '') }));
    const all = { key: b('\0'), rangeEnd: b('\0') };
    const keys = async (given: Partial<RangeRequest>) => {
      const answer = await ask(kv.range.bind(kv), range({ ...all, ...given }));
      return [answer.kvs.map((pair) => `${pair.key}${pair.value}`).join(' '), answer.more, answer.count];
    };
    const { ASCEND, DESCEND } = RangeRequest_SortOrder;
    const { CREATE, VALUE, KEY } = RangeRequest_SortTarget;
    expect(await keys({})).toEqual(['a3 b2 c1', false, 3]);
    expect(await keys({ limit: 2 })).toEqual(['a3 b2', true, 3]);
    expect(await keys({ sortOrder: DESCEND, sortTarget: KEY, limit: 1 })).toEqual(['c1', true, 3]);
    expect(await keys({ sortOrder: ASCEND, sortTarget: VALUE })).toEqual(['c1 b2 a3', false, 3]);
    expect(await keys({ sortTarget: CREATE })).toEqual(['b2 a3 c1', false, 3]);
    expect(await keys({ keysOnly: true })).toEqual(['a b c', false, 3]);
    expect(await keys({ countOnly: true })).toEqual(['', false, 3]);
    expect(await keys({ minModRevision: 3 })).toEqual(['a3 c1', false, 3]);
    expect(await keys({ maxCreateRevision: 2 })).toEqual(['b2', false, 3]);
    expect(await keys({ key: b('b'), rangeEnd: b('a') })).toEqual(['', false, 0]);
    const { header } = await ask(kv.range.bind(kv), range(all));
    expect(header).toEqual({ clusterId: '14841639068965178418', memberId: '3', revision: 4, raftTerm: 9 });
  });

  it('keeps value or lease when asked to, and gives the pair before', async () => {
    const { ID } = await ask(lease.leaseGrant.bind(lease), { TTL: 60, ID: '9223372036854775807' });
    expect(ID).toBe('9223372036854775807');
    await ask(kv.put.bind(kv), put({ key: b('k'), value: b('1'), lease: ID }));
    const kept = await ask(kv.put.bind(kv), put({ key: b('k'), value: b('2'), ignoreLease: true, prevKv: true }));
    expect(kept.prevKv).toMatchObject({ value: b('1'), version: 1, lease: ID });
    await ask(kv.put.bind(kv), put({ key: b('k'), ignoreValue: true }));
    const { kvs } = await ask(kv.range.bind(kv), range({ key: b('k') }));
    expect(kvs).toMatchObject([{ value: b('2'), version: 3, lease: '0' }]);
  });

  it("answers what is wrong with etcd's codes and texts", async () => {
    await ask(kv.put.bind(kv), put({ key: b('k'), value: b('1') }));
    await ask(kv.put.bind(kv), put({ key: b('k'), value: b('2') }));
    await ask(kv.compact.bind(kv), { revision: 3, physical: true });
    const operation = (value: PutRequest) => ({ request: { $case: 'requestPut' as const, value } });
    const wrong: [() => Promise<unknown>, status, string][] = [
      [() => ask(kv.put.bind(kv), put({})), status.INVALID_ARGUMENT, 'key is not provided'],
      [() => ask(kv.range.bind(kv), range({})), status.INVALID_ARGUMENT, 'key is not provided'],
      [
        () => ask(kv.range.bind(kv), range({ key: b('k'), revision: 2 })),
        status.OUT_OF_RANGE,
        'required revision has been compacted',
      ],
      [
        () => ask(kv.range.bind(kv), range({ key: b('k'), revision: 9 })),
        status.OUT_OF_RANGE,
        'required revision is a future revision',
      ],
      [() => ask(kv.put.bind(kv), put({ key: b('k'), lease: '77' })), status.NOT_FOUND, 'requested lease not found'],
      [() => ask(kv.put.bind(kv), put({ key: b('x'), ignoreValue: true })), status.INVALID_ARGUMENT, 'key not found'],
      [
        () => ask(kv.put.bind(kv), put({ key: b('k'), value: Buffer.alloc(2_000_000) })),
        status.INVALID_ARGUMENT,
        'request is too large',
      ],
      [
        () =>
          ask(kv.txn.bind(kv), txn({ success: [operation(put({ key: b('k') })), operation(put({ key: b('k') }))] })),
        status.INVALID_ARGUMENT,
        'duplicate key given in txn request',
      ],
      [
        () => ask(kv.txn.bind(kv), txn({ success: [{ request: { $case: 'requestTxn', value: txn({}) } }] })),
        status.UNIMPLEMENTED,
        'not capable',
      ],
      [() => ask(kv.compact.bind(kv), { revision: 3, physical: false }), status.OUT_OF_RANGE, 'has been compacted'],
      [() => ask(kv.compact.bind(kv), { revision: 30, physical: false }), status.OUT_OF_RANGE, 'future revision'],
      [() => ask(lease.leaseRevoke.bind(lease), { ID: '77' }), status.NOT_FOUND, 'requested lease not found'],
    ];
    for (const [call, code, text] of wrong) {
      const error: ServiceError = await call().then(
        () => Promise.reject(new Error(`no error: ${text}`)),
        (thrown) => thrown,
      );
      expect([error.code, error.details]).toEqual([code, expect.stringContaining(`etcdserver: `)]);
      expect(error.details).toContain(text);
    }
  });
});

describe('Lease', () => {
  it('counts in whole seconds, and tells what hangs on it', async () => {
    const granted = await ask(lease.leaseGrant.bind(lease), { TTL: 10, ID: '0' });
    expect(granted).toMatchObject({ TTL: 10, error: '' });
    await ask(kv.put.bind(kv), put({ key: b('k'), lease: granted.ID }));
    await clock.advanceAndSettle(3_500);
    const left = await ask(lease.leaseTimeToLive.bind(lease), { ID: granted.ID, keys: true });
    expect(left).toMatchObject({ TTL: 6, grantedTTL: 10, keys: [b('k')] });
    expect(await ask(lease.leaseTimeToLive.bind(lease), { ID: '5', keys: false })).toMatchObject({ TTL: -1 });
    expect((await ask(lease.leaseLeases.bind(lease), {})).leases).toEqual([{ ID: granted.ID }]);
    const stream = lease.leaseKeepAlive();
    stream.on('error', () => {}); // the server goes away with the test
    const answers: string[] = [];
    const two = new Promise<void>((resolve) =>
      stream.on('data', (answer) => {
        answers.push(`${answer.ID} ${answer.TTL}`);
        if (answers.length === 2) resolve();
      }),
    );
    stream.write({ ID: granted.ID });
    stream.write({ ID: '5' });
    await two;
    expect(answers.sort()).toEqual([`${granted.ID} 10`, '5 0'].sort());
    stream.end();
  });
});

describe('Watch', () => {
  /** The responses of one stream, as they come. */
  function open() {
    const stream = watches.watch();
    const responses: WatchResponse[] = [];
    const waiting: (() => void)[] = [];
    stream.on('data', (response: WatchResponse) => {
      responses.push(response);
      for (const wake of waiting.splice(0)) wake();
    });
    stream.on('error', () => {});
    const next = async (): Promise<WatchResponse> => {
      for (;;) {
        const response = responses.shift();
        if (response) return response;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    };
    return { stream, next };
  }

  it('serves several watches on one stream, filtered, with the pair before, until cancelled', async () => {
    const { stream, next } = open();
    stream.write(create({ key: b('a'), rangeEnd: b('b'), prevKv: true }));
    stream.write(create({ key: b('a'), filters: [WatchCreateRequest_FilterType.NOPUT], watchId: 42 }));
    stream.write(create({ key: b('a'), watchId: 42 }));
    const created = [await next(), await next(), await next()];
    expect(created.map(({ watchId, created: is, canceled }) => [watchId, is, canceled])).toEqual([
      [0, true, false],
      [42, true, false],
      [-1, true, true],
    ]);
    await ask(kv.put.bind(kv), put({ key: b('a'), value: b('1') }));
    await ask(kv.deleteRange.bind(kv), { key: b('a'), rangeEnd: b(''), prevKv: false });
    const seen = [await next(), await next(), await next()].map((response) => [
      response.watchId,
      response.header?.revision,
      response.events.map((event) => [event.type, event.kv?.modRevision, event.prevKv?.value.toString()]),
    ]);
    expect(seen).toContainEqual([0, 2, [[Event_EventType.PUT, 2, undefined]]]);
    expect(seen).toContainEqual([0, 3, [[Event_EventType.DELETE, 3, '1']]]);
    expect(seen).toContainEqual([42, 3, [[Event_EventType.DELETE, 3, undefined]]]);
    stream.write({ requestUnion: { $case: 'cancelRequest', value: { watchId: 42 } } });
    expect(await next()).toMatchObject({ watchId: 42, canceled: true });
    expect(access.watches.watchers).toBe(1);
    stream.cancel();
  });

  it('reports progress only behind the events, when asked and by itself', async () => {
    const { stream, next } = open();
    stream.write(create({ key: b('a'), progressNotify: true }));
    await next();
    await ask(kv.put.bind(kv), put({ key: b('elsewhere') }));
    await ask(kv.put.bind(kv), put({ key: b('a') }));
    stream.write({ requestUnion: { $case: 'progressRequest', value: {} } });
    expect(await next()).toMatchObject({ watchId: 0, events: [{}] });
    expect(await next()).toMatchObject({ watchId: -1, events: [], header: { revision: 3 } });
    await ask(kv.put.bind(kv), put({ key: b('elsewhere') }));
    clock.advance(120_000);
    expect(await next()).toMatchObject({ watchId: 0, events: [], header: { revision: 4 } });
    stream.cancel();
  });

  it('splits a large revision when asked to, and never otherwise', async () => {
    const operations = Array.from({ length: 100 }, (_, i) => i);
    for (let round = 0; round < 25; round++) {
      const success = operations.map((i) => ({
        request: { $case: 'requestPut' as const, value: put({ key: b(`k${round}/${i}`) }) },
      }));
      await ask(kv.txn.bind(kv), txn({ success }));
    }
    const { header } = await ask(kv.deleteRange.bind(kv), { key: b('k'), rangeEnd: b('l'), prevKv: false });
    const startRevision = header?.revision ?? 0;
    const { stream, next } = open();
    stream.write(create({ key: b('k'), rangeEnd: b('l'), startRevision, fragment: true }));
    await next();
    const parts = [await next(), await next(), await next()];
    expect(parts.map((part) => [part.events.length, part.fragment])).toEqual([
      [1000, true],
      [1000, true],
      [500, false],
    ]);
    stream.write(create({ key: b('k'), rangeEnd: b('l'), startRevision }));
    await next();
    expect((await next()).events).toHaveLength(2500);
    stream.cancel();
  });

  it('cancels a watch from a compacted revision, and says where history begins', async () => {
    for (let i = 0; i < 4; i++) await ask(kv.put.bind(kv), put({ key: b('a'), value: b(String(i)) }));
    await ask(kv.compact.bind(kv), { revision: 4, physical: false });
    const { stream, next } = open();
    stream.write(create({ key: b('a'), startRevision: 2 }));
    expect(await next()).toMatchObject({ created: true });
    expect(await next()).toMatchObject({ canceled: true, compactRevision: 4 });
    stream.cancel();
  });
});

describe('Maintenance', () => {
  it('tells how this member stands, and sums its keys as of a revision', async () => {
    const maintenance = new MaintenanceClient(address, credentials.createInsecure());
    const answer = await ask(maintenance.status.bind(maintenance), {});
    expect(answer).toMatchObject({ leader: '3', raftTerm: 9, raftIndex: 12, raftAppliedIndex: 11, errors: [] });
    const before = await ask(maintenance.hashKv.bind(maintenance), { revision: 0 });
    await ask(kv.put.bind(kv), put({ key: b('k') }));
    const after = await ask(maintenance.hashKv.bind(maintenance), { revision: 0 });
    expect(after.hash).not.toBe(before.hash);
    expect((await ask(maintenance.hashKv.bind(maintenance), { revision: 1 })).hash).toBe(before.hash);
    maintenance.close();
  });
});
