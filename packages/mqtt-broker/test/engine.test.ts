import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createMemoryMeta, type MemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import { createEngine } from '../src/engine.js';
import type { EngineOptions } from '../src/engine-options.js';
import type { SessionEngine } from '../src/session/session-port.js';
import { KillableMeta, KillableStorage } from './killable.js';
import { type ClientOptions, ScriptedClient } from './scripted-client.js';

let clock: ManualClock;
let disk: MemoryShardStorage;
let meta: MemoryMeta;
/** What the running engine holds of them. */
let storage: KillableStorage;
let metaClient: KillableMeta;
let engine: SessionEngine;
const engineOptions: EngineOptions = { messageShards: 4 };

beforeEach(async () => {
  clock = new ManualClock();
  disk = new MemoryShardStorage({ clock });
  meta = createMemoryMeta({ clock });
  await start(engineOptions);
});

afterEach(async () => {
  await engine.close();
  await meta.close();
  await disk.close();
});

async function start(options: EngineOptions): Promise<void> {
  storage = new KillableStorage(disk);
  metaClient = new KillableMeta(meta);
  engine = await createEngine(options, { storage, meta: metaClient, clock });
  await settle();
}

/** Lets storage, meta and the write turns do what is due now. */
async function settle(): Promise<void> {
  for (let i = 0; i < 24; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function connect(options: ClientOptions): Promise<ScriptedClient> {
  const client = await new ScriptedClient(clock, options).connect(engine);
  await settle();
  return client;
}

/** As a killed process leaves it: nothing is committed or noted any more. */
async function killAndRestart(options: EngineOptions = engineOptions): Promise<void> {
  storage.kill();
  metaClient.kill();
  await start(options);
}

const durable = (clientId: string, more: Partial<ClientOptions> = {}): ClientOptions => ({
  clientId,
  cleanStart: false,
  expirySeconds: 3600,
  ...more,
});

describe('live messages', () => {
  it('go to every matching client at the lower QoS, and are acknowledged', async () => {
    const publisher = await connect({ clientId: 'p' });
    const zero = await connect({ clientId: 's0', version: 4 });
    const two = await connect({ clientId: 's2' });
    zero.subscribe('a/+', { qos: 0 });
    two.subscribe('a/#', { qos: 2 });
    await settle();
    publisher.publish('a/b', 'm0', { qos: 0 });
    const id1 = publisher.publish('a/b', 'm1', { qos: 1 });
    const id2 = publisher.publish('a/b', 'm2', { qos: 2 });
    const lonely = publisher.publish('z', 'm3', { qos: 1 });
    await settle();
    expect(zero.received.map(({ payload, qos }) => [payload, qos])).toEqual([
      ['m0', 0],
      ['m1', 0],
      ['m2', 0],
    ]);
    expect(two.received.map(({ payload, qos }) => [payload, qos])).toEqual([
      ['m0', 0],
      ['m1', 1],
      ['m2', 2],
    ]);
    expect(publisher.log).toEqual([
      `puback ${id1} 0x00`,
      `pubrec ${id2} 0x00`,
      `puback ${lonely} 0x10`,
      `pubcomp ${id2} 0x00`,
    ]);
    for (const shard of await disk.listShards('mqtt/default/messages'))
      expect(await disk.describeShard(shard)).toMatchObject({ end: 0 });
  });

  it('wait in a bounded queue for a client without a durable session whose window is full', async () => {
    const publisher = await connect({ clientId: 'p' });
    const slow = await connect({ clientId: 's', receiveMaximum: 2, acks: 'manual' });
    slow.subscribe('a');
    await settle();
    for (let i = 0; i < 5; i++) publisher.publish('a', `m${i}`);
    await settle();
    expect(slow.payloads).toEqual(['m0', 'm1']);
    slow.session.onPuback(slow.received[0]?.packetId ?? 0, 0);
    await settle();
    expect(slow.payloads).toEqual(['m0', 'm1', 'm2']);
    expect(engine.stats.messagesDropped.queueFull).toBe(0);
  });

  it('reach many subscribers of one topic in one batch, in the order of their other packets', async () => {
    const publisher = await connect({ clientId: 'p' });
    const many = await Promise.all(Array.from({ length: 12 }, (_, i) => connect({ clientId: `s${i}` })));
    for (const client of many) client.subscribe('wide', { qos: 0 });
    await settle();
    for (let i = 0; i < 50; i++) publisher.publish('wide', `m${i}`, { qos: 0 });
    await settle();
    for (const client of many) expect(client.payloads).toEqual(Array.from({ length: 50 }, (_, i) => `m${i}`));
  });
});

describe('a durable session', () => {
  it('gets what was published while it was away, in order, and acknowledged only once it is kept', async () => {
    const publisher = await connect({ clientId: 'p' });
    const away = await connect(durable('s'));
    away.subscribe('a/#', { qos: 1 });
    await settle();
    await away.drop();
    for (let i = 0; i < 1000; i++) publisher.publish('a/b', `m${i}`);
    expect(publisher.log).toEqual([]);
    await settle();
    expect(publisher.log).toHaveLength(1000);
    const back = await connect(durable('s'));
    await settle();
    expect(back.sessionPresent).toBe(true);
    expect(back.payloads).toEqual(Array.from({ length: 1000 }, (_, i) => `m${i}`));
    publisher.publish('a/b', 'live');
    await settle();
    expect(back.payloads.at(-1)).toBe('live');
  });

  it('gets everything acknowledged after the broker was killed', async () => {
    const publisher = await connect({ clientId: 'p' });
    const away = await connect(durable('s'));
    away.subscribe('a/#', { qos: 1 });
    await settle();
    publisher.publish('a/b', 'seen');
    await settle();
    expect(away.payloads).toEqual(['seen']);
    clock.advance(1000); // the cursor is committed
    await settle();
    await away.drop();
    for (let i = 0; i < 300; i++) publisher.publish('a/b', `m${i}`);
    await settle();
    await killAndRestart();
    const back = await connect(durable('s'));
    await settle();
    expect(back.sessionPresent).toBe(true);
    expect(back.payloads).toEqual(Array.from({ length: 300 }, (_, i) => `m${i}`));
  });

  it('is sent again what it has not acknowledged: same packet ids, DUP, in order', async () => {
    const publisher = await connect({ clientId: 'p' });
    const first = await connect(durable('s', { acks: 'manual' }));
    first.subscribe('a', { qos: 2 });
    await settle();
    publisher.publish('a', 'm1', { qos: 1 });
    publisher.publish('a', 'm2', { qos: 2 });
    publisher.publish('a', 'm3', { qos: 1 });
    publisher.publish('a', 'm4', { qos: 2 });
    await settle();
    expect(first.payloads).toEqual(['m1', 'm2', 'm3', 'm4']);
    const [m1, m2, m3, m4] = first.received;
    first.session.onPubrec(m4?.packetId ?? 0, 0);
    await settle();
    await first.drop();
    const second = new ScriptedClient(clock, durable('s', { acks: 'manual' }));
    await second.connect(engine);
    await settle();
    expect(second.log).toEqual([`pubrel ${m4?.packetId} 0x00`]);
    expect(second.received.map(({ payload, packetId, dup }) => [payload, packetId, dup])).toEqual(
      [m1, m2, m3].map((sent) => [sent?.payload, sent?.packetId, true]),
    );
  });

  it('falls back to the log when its window is full, and returns to live', async () => {
    const publisher = await connect({ clientId: 'p' });
    const slow = await connect(durable('s', { receiveMaximum: 3, acks: 'manual' }));
    slow.subscribe('a');
    await settle();
    for (let i = 0; i < 10; i++) publisher.publish('a', `m${i}`);
    await settle();
    expect(slow.payloads).toEqual(['m0', 'm1', 'm2']);
    for (let acked = 0; acked < 10; acked++) {
      slow.session.onPuback(slow.received[acked]?.packetId ?? 0, 0);
      await settle();
    }
    publisher.publish('a', 'live');
    await settle();
    expect(slow.payloads).toEqual([...Array.from({ length: 10 }, (_, i) => `m${i}`), 'live']);
  });

  it('ends with its expiry interval, and leaves nothing behind', async () => {
    const client = await connect(durable('s', { expirySeconds: 60 }));
    client.subscribe('a');
    await settle();
    await client.drop();
    expect((await meta.range({ prefix: 'mqtt/' })).count).toBe(1);
    await clock.advanceAndSettle(59_000);
    expect(engine.stats.sessions).toBe(1);
    await clock.advanceAndSettle(2_000);
    await settle();
    expect(engine.stats).toMatchObject({ sessions: 0, subscriptions: 0 });
    expect((await meta.range({ prefix: 'mqtt/' })).count).toBe(0);
  });

  it('is taken over: the old connection is told 0x8E and touches nothing any more', async () => {
    const old = await connect(durable('s'));
    old.subscribe('a');
    await settle();
    const taker = await connect(durable('s'));
    expect(old.closedWith).toBe(0x8e);
    expect(taker.sessionPresent).toBe(true);
    old.unsubscribe('a');
    await old.drop();
    const publisher = await connect({ clientId: 'p' });
    publisher.publish('a', 'm');
    await settle();
    expect(taker.payloads).toEqual(['m']);
  });
});

describe('QoS 2', () => {
  it('publishes a packet once, however often it is sent, also across a reconnect', async () => {
    const subscriber = await connect(durable('s'));
    subscriber.subscribe('a', { qos: 2 });
    const first = await connect(durable('p', { acks: 'manual' }));
    await settle();
    first.publish('a', 'once', { qos: 2, packetId: 7 });
    first.publish('a', 'once', { qos: 2, packetId: 7, dup: true });
    await settle();
    await first.drop();
    const second = await connect(durable('p', { acks: 'manual' }));
    second.publish('a', 'once', { qos: 2, packetId: 7, dup: true });
    await settle();
    expect(second.log).toEqual(['pubrec 7 0x00']);
    second.session.onPubrel(7, 0);
    await settle();
    second.session.onPubrel(7, 0);
    await settle();
    expect(second.log).toEqual(['pubrec 7 0x00', 'pubcomp 7 0x00', 'pubcomp 7 0x92']);
    expect(subscriber.payloads).toEqual(['once']);
    second.publish('a', 'next', { qos: 2, packetId: 7 });
    await settle();
    expect(subscriber.payloads).toEqual(['once', 'next']);
  });
});

describe('QoS 2 across a kill of the broker', () => {
  it('publishes a packet once that was sent before and after', async () => {
    const subscriber = await connect(durable('s'));
    subscriber.subscribe('#', { qos: 1 });
    const before = await connect(durable('p', { acks: 'manual' }));
    before.publish('a', 'one', { qos: 2, packetId: 1 });
    before.publish('b', 'two', { qos: 2, packetId: 2 });
    await settle();
    expect(before.log).toEqual(['pubrec 1 0x00', 'pubrec 2 0x00']);
    before.session.onPubrel(2, 0);
    await settle();
    expect(before.log.at(-1)).toBe('pubcomp 2 0x00');
    await killAndRestart();
    const after = await connect(durable('p', { acks: 'manual' }));
    expect(after.sessionPresent).toBe(true);
    after.publish('a', 'one', { qos: 2, packetId: 1, dup: true });
    after.publish('b', 'three', { qos: 2, packetId: 2 });
    await settle();
    expect(after.log).toEqual(['pubrec 1 0x00', 'pubrec 2 0x00']);
    const back = await connect(durable('s'));
    await settle();
    const all = [...new Set([...subscriber.payloads, ...back.payloads])];
    expect(all.sort()).toEqual(['one', 'three', 'two']);
    expect(back.payloads.filter((payload) => payload === 'one').length).toBeLessThanOrEqual(1);
  });

  it.each(['before a snapshot', 'after a snapshot'])('delivers each message once, %s', async (when) => {
    const options = { ...engineOptions, sessionLogEntriesMax: 100 };
    await killAndRestart(options);
    const held = new Set<number>();
    const publisher = await connect({ clientId: 'p' });
    const first = await new ScriptedClient(clock, durable('s', { acks: 'manual' }), held).connect(engine);
    first.subscribe('a', { qos: 2 });
    await settle();
    if (when === 'after a snapshot') {
      for (let i = 0; i < 150; i++) publisher.publish('a', `early ${i}`, { qos: 2 });
      await settle();
      for (const { packetId } of first.received) first.session.onPubrec(packetId, 0);
      await settle();
      for (const { packetId } of first.received) first.session.onPubcomp(packetId, 0);
      await settle();
    }
    const early = first.received.length;
    for (let i = 0; i < 5; i++) publisher.publish('a', `m${i}`, { qos: 2 });
    await settle();
    const sent = first.received.slice(early);
    expect(sent.map(({ payload }) => payload)).toEqual(['m0', 'm1', 'm2', 'm3', 'm4']);
    // m1 is done, m2 is released by us, m3 has PUBREC on its way to the log when the broker dies.
    const [, m1, m2, m3] = sent.map(({ packetId }) => packetId) as [number, number, number, number, number];
    first.session.onPubrec(m1, 0);
    first.session.onPubrec(m2, 0);
    await settle();
    first.session.onPubcomp(m1, 0);
    if (when === 'after a snapshot') await clock.advanceAndSettle(1000);
    await settle();
    first.session.onPubrec(m3, 0);
    await killAndRestart(options);
    const second = await new ScriptedClient(clock, durable('s'), held).connect(engine);
    await settle();
    expect(second.sessionPresent).toBe(true);
    expect(second.payloads).toEqual([]); // the client holds every id: nothing it gets again is new to it
    expect(held.size).toBe(0); // and every handshake has been completed
    publisher.publish('a', 'dead', { qos: 2 });
    const alive = await connect({ clientId: 'p2' });
    alive.publish('a', 'last', { qos: 2 });
    await settle();
    expect(second.payloads).toEqual(['last']);
  });
});

describe('retained messages', () => {
  it('are sent to new subscriptions as their retain handling says, after SUBACK, and survive a restart', async () => {
    const publisher = await connect({ clientId: 'p' });
    publisher.publish('r/1', 'one', { retain: true });
    publisher.publish('r/2', 'two', { qos: 0, retain: true });
    publisher.publish('r/3', 'gone', { retain: true });
    publisher.publish('r/3', '', { retain: true });
    const eager = await connect({ clientId: 'eager' });
    eager.subscribe('r/#');
    await settle();
    expect(eager.received.map(({ payload, retain, qos }) => [payload, retain, qos])).toEqual([
      ['one', true, 1],
      ['two', true, 0],
    ]);
    await killAndRestart();
    const late = await connect({ clientId: 'late' });
    late.subscribe('r/+', { retainHandling: 1 });
    await settle();
    expect(late.payloads.sort()).toEqual(['one', 'two']);
    late.subscribe('r/+', { retainHandling: 1 });
    late.subscribe('r/1', { retainHandling: 2 });
    await settle();
    expect(late.received).toHaveLength(2);
  });

  it('are kept without being sent on when nobody listens, and flagged for who asked for it', async () => {
    const publisher = await connect({ clientId: 'p' });
    const plain = await connect({ clientId: 'plain' });
    const asPublished = await connect({ clientId: 'rap' });
    plain.subscribe('r');
    asPublished.subscribe('r', { retainAsPublished: true });
    await settle();
    publisher.publish('r', 'm', { retain: true });
    await settle();
    expect(plain.received.map(({ retain }) => retain)).toEqual([false]);
    expect(asPublished.received.map(({ retain }) => retain)).toEqual([true]);
  });
});
