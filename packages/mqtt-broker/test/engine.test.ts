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

describe('a subscriber that does not read', () => {
  it('slows nobody: QoS 0 is dropped for it and counted, QoS 1 waits in the log or in its own queue', async () => {
    const publisher = await connect({ clientId: 'p' });
    const frozen = await connect(durable('frozen'));
    const queued = await connect({ clientId: 'queued' });
    const well = await connect({ clientId: 'well' });
    for (const client of [frozen, queued, well]) client.subscribe('a');
    await settle();
    frozen.congested = true;
    queued.congested = true;
    for (let i = 0; i < 1500; i++) publisher.publish('a', `m${i}`);
    publisher.publish('a', 'zero', { qos: 0 });
    await settle();
    expect(publisher.log).toHaveLength(1500);
    expect(well.received).toHaveLength(1501);
    expect([frozen.payloads, queued.payloads]).toEqual([[], []]);
    expect(engine.stats.messagesDropped).toMatchObject({ congested: 2, queueFull: 500 });
    frozen.congested = false;
    queued.congested = false;
    frozen.session.onWritable();
    queued.session.onWritable();
    await settle();
    expect(frozen.payloads).toEqual(Array.from({ length: 1500 }, (_, i) => `m${i}`));
    expect(queued.payloads).toEqual(Array.from({ length: 1000 }, (_, i) => `m${i}`));
  });

  it('and holds most of its window still gets what fits the rest', async () => {
    const publisher = await connect({ clientId: 'p' });
    const slow = await connect(durable('s', { receiveMaximum: 10, acks: 'manual' }));
    slow.subscribe('a');
    await settle();
    for (let i = 0; i < 15; i++) publisher.publish('a', `m${i}`);
    await settle();
    expect(slow.received).toHaveLength(10);
    slow.session.onPuback(slow.received[5]?.packetId ?? 0, 0);
    await settle();
    expect(slow.payloads.at(-1)).toBe('m10');
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

describe('shared subscriptions', () => {
  const publishMany = async (publisher: ScriptedClient, count: number) => {
    for (let i = 0; i < count; i++) publisher.publish('jobs/x', `m${i}`);
    await settle();
  };

  it('give each message to one member, and what a member leaves behind to another', async () => {
    const publisher = await connect({ clientId: 'p' });
    const one = await connect({ clientId: 'one', acks: 'manual' });
    const two = await connect({ clientId: 'two' });
    for (const member of [one, two]) member.subscribe('$share/g/jobs/+');
    await settle();
    await publishMany(publisher, 10);
    expect(one.received).toHaveLength(5);
    expect([...one.payloads, ...two.payloads].sort()).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`));
    await one.drop();
    await settle();
    expect(two.payloads.sort()).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`));
  });

  it('of durable members lose nothing while all are away, or when the broker is killed', async () => {
    const publisher = await connect({ clientId: 'p' });
    const one = await connect(durable('one', { receiveMaximum: 2, acks: 'manual' }));
    const two = await connect(durable('two', { receiveMaximum: 2, acks: 'manual' }));
    for (const member of [one, two]) member.subscribe('$share/g/jobs/#', { qos: 1 });
    await settle();
    await publishMany(publisher, 20);
    expect(one.received).toHaveLength(2);
    expect(two.received).toHaveLength(2);
    const acked = one.received[0];
    one.session.onPuback(acked?.packetId ?? 0, 0);
    await settle();
    await one.drop();
    await two.drop();
    await killAndRestart();
    const again = await connect({ clientId: 'p' });
    again.publish('jobs/x', 'last');
    await settle();
    const back = await connect(durable('one'));
    await settle();
    const expected = [...Array.from({ length: 20 }, (_, i) => `m${i}`), 'last'];
    expect([...new Set([acked?.payload, ...back.payloads])].sort()).toEqual(expected.sort());
    expect(back.payloads.length).toBe(new Set(back.payloads).size);
  });
});

describe('wills', () => {
  const will = (properties: Record<string, unknown> = {}, retain = false) => ({
    topicName: 'wills/w',
    payload: Buffer.from('gone'),
    qos: 1 as const,
    retain,
    properties,
  });

  it('are published when the connection is lost and discarded by DISCONNECT', async () => {
    const watcher = await connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    const polite = await connect({ clientId: 'polite', will: will() });
    await polite.disconnect();
    await settle();
    expect(watcher.payloads).toEqual([]);
    const rude = await connect({ clientId: 'rude', will: will() });
    await rude.drop();
    await settle();
    expect(watcher.payloads).toEqual(['gone']);
    expect((await meta.range({ prefix: 'mqtt/' })).kvs.map(({ key }) => key)).toEqual([
      'mqtt/default/sessions/watcher',
    ]);
  });

  it('wait for their delay, are cancelled by a return, and come at the latest with the end of the session', async () => {
    const watcher = await connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    const delayed = durable('c', { will: will({ willDelayInterval: 30 }), expirySeconds: 10 });
    const first = await connect(delayed);
    await first.drop();
    await clock.advanceAndSettle(9_000);
    await settle();
    expect(watcher.payloads).toEqual([]);
    const second = await connect(delayed);
    await clock.advanceAndSettle(20_000);
    await settle();
    expect(watcher.payloads).toEqual([]);
    await second.drop();
    await clock.advanceAndSettle(10_000);
    await settle();
    expect(watcher.payloads).toEqual(['gone']);
    expect(engine.stats.sessions).toBe(1);
  });

  it('of clients that were connected when the broker was killed are published once, at the next start', async () => {
    const watcher = await connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    await connect({ clientId: 'transient', will: will() });
    await connect(durable('durable', { will: will({}, true) }));
    await killAndRestart();
    await killAndRestart();
    const back = await connect(durable('watcher'));
    await settle();
    expect(back.payloads).toEqual(['gone', 'gone']);
    const late = await connect({ clientId: 'late' });
    late.subscribe('wills/w');
    await settle();
    expect(late.received.map(({ payload, retain }) => [payload, retain])).toEqual([['gone', true]]);
  });
});

describe('expiry and limits', () => {
  it('drops expired messages and rewrites what is left of the lifetime', async () => {
    const publisher = await connect({ clientId: 'p' });
    const away = await connect(durable('s'));
    away.subscribe('a');
    await settle();
    await away.drop();
    publisher.publish('a', 'short', { properties: { messageExpiryInterval: 5 } });
    publisher.publish('a', 'long', { properties: { messageExpiryInterval: 60 } });
    await settle();
    await clock.advanceAndSettle(10_000);
    const back = await connect(durable('s'));
    await settle();
    expect(back.received.map(({ payload, properties }) => [payload, properties?.messageExpiryInterval])).toEqual([
      ['long', 50],
    ]);
    expect(engine.stats.messagesDropped.expired).toBe(1);
  });

  it('never sends a packet larger than the client takes', async () => {
    const publisher = await connect({ clientId: 'p' });
    const small = await connect(durable('s', { maximumPacketSize: 40 }));
    small.subscribe('a');
    await settle();
    publisher.publish('a', 'x'.repeat(100));
    publisher.publish('a', 'fits');
    await settle();
    expect(small.payloads).toEqual(['fits']);
    expect(engine.stats.messagesDropped.tooLarge).toBe(1);
  });

  it('does not acknowledge what storage did not take: a reason code in MQTT 5, a close in MQTT 3', async () => {
    const five = await connect({ clientId: 'five' });
    const four = await connect({ clientId: 'four', version: 4 });
    const watcher = await connect(durable('s'));
    watcher.subscribe('a');
    await settle();
    storage.failAppends = 'DISK_FULL';
    const refused = five.publish('a', 'lost', { qos: 2 });
    four.publish('a', 'lost');
    await settle();
    expect(five.log).toEqual([`pubrec ${refused} 0x97`]);
    expect(four.log).toEqual([]);
    expect(four.closedWith).toBe(0x97);
    storage.failAppends = undefined;
    const kept = five.publish('a', 'kept', { qos: 2, packetId: refused });
    await settle();
    expect(five.log.slice(1)).toEqual([`pubrec ${kept} 0x00`, `pubcomp ${kept} 0x00`]);
    expect(watcher.payloads).toEqual(['kept']);
  });

  it('pushes back on publishers while too many bytes wait for storage', async () => {
    await killAndRestart({ ...engineOptions, appendingBytesMax: 1000 });
    const watcher = await connect(durable('s'));
    watcher.subscribe('a');
    const publisher = await connect({ clientId: 'p' });
    for (let i = 0; i < 20; i++) publisher.publish('a', 'x'.repeat(100));
    expect(publisher.paused).toBe(1);
    await settle();
    expect(publisher.paused).toBe(0);
    expect(watcher.received).toHaveLength(20);
  });

  it('trims message shards below the lowest cursor', async () => {
    const publisher = await connect({ clientId: 'p' });
    const away = await connect(durable('away'));
    const here = await connect(durable('here'));
    for (const client of [away, here]) client.subscribe('a');
    await settle();
    publisher.publish('a', 'm1');
    await settle();
    await away.drop();
    publisher.publish('a', 'm2');
    await settle();
    await clock.advanceAndSettle(60_000);
    await settle();
    const starts = async () => {
      const shards = await disk.listShards('mqtt/default/messages');
      const described = await Promise.all(shards.map((shard) => disk.describeShard(shard)));
      return described.filter(({ end }) => end > 0).map(({ logStart, end }) => [logStart, end]);
    };
    expect(await starts()).toEqual([[1, 2]]);
    const back = await connect(durable('away'));
    await settle();
    expect(back.payloads).toEqual(['m2']);
    await clock.advanceAndSettle(60_000);
    await settle();
    expect(await starts()).toEqual([[2, 2]]);
  });

  it('hands out many retained messages in pages, one per turn', async () => {
    await killAndRestart({ ...engineOptions, retainedPageMessages: 100 });
    for (let i = 0; i < 3000; i++)
      void engine.publish({ topicName: `r/${i % 100}/${i}`, payload: Buffer.from('x'), qos: 0, retain: true });
    await settle();
    const reader = await connect({ clientId: 'reader' });
    reader.subscribe('r/#', { qos: 0 });
    let most = 0;
    for (let before = 0; before < 3000; before = reader.received.length) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, reader.received.length - before);
    }
    expect(new Set(reader.received.map(({ topic }) => topic)).size).toBe(3000);
    expect(most).toBeLessThanOrEqual(100);
  });
});

describe('subscriptions', () => {
  it('that overlap deliver once: the highest QoS, all identifiers; without No Local where one asks for it', async () => {
    const both = await connect({ clientId: 'both' });
    both.subscribe('a/+', { qos: 0, identifier: 1, noLocal: true });
    both.subscribe('a/#', { qos: 2, identifier: 2 });
    const quiet = await connect({ clientId: 'quiet' });
    quiet.subscribe('a/b', { noLocal: true });
    await settle();
    both.publish('a/b', 'own', { qos: 2 });
    quiet.publish('a/b', 'other', { qos: 1 });
    await settle();
    expect(
      both.received.map(({ payload, qos, properties }) => [
        payload,
        qos,
        properties?.subscriptionIdentifiers?.toSorted(),
      ]),
    ).toEqual([
      ['own', 2, [2]],
      ['other', 1, [1, 2]],
    ]);
    expect(quiet.payloads).toEqual(['own']);
  });

  it('are answered one by one, and refused aloud', async () => {
    await killAndRestart({ ...engineOptions, subscriptionsMax: 2, maximumQoS: 1 });
    const client = await connect({ clientId: 'c' });
    client.subscribe('a', { qos: 2 });
    client.subscribe('a/#/b');
    client.subscribe('$share//x');
    client.subscribe('b');
    client.subscribe('c');
    client.unsubscribe('nothing');
    client.unsubscribe('a');
    await settle();
    const byPacketId = (line: string) => Number(line.split(' ')[1]);
    expect(client.log.toSorted((a, b) => byPacketId(a) - byPacketId(b))).toEqual([
      'suback 1 0x01',
      'suback 2 0x8f',
      'suback 3 0x8f',
      'suback 4 0x01',
      'suback 5 0x97',
      'unsuback 6 0x11',
      'unsuback 7 0x00',
    ]);
    client.subscribe('$share/g/a', { noLocal: true });
    await settle();
    expect(client.closedWith).toBe(0x82); // [MQTT-3.8.3-4]
  });

  it('of a durable session are kept before SUBACK, and refused when they cannot be', async () => {
    const client = await connect(durable('c'));
    metaClient.answers = 'refused';
    client.subscribe('a');
    await settle();
    expect(client.log).toEqual(['suback 1 0x80']);
    expect(engine.stats.subscriptions).toBe(0);
    metaClient.answers = 'lost';
    client.subscribe('b');
    await settle();
    metaClient.answers = 'given';
    client.subscribe('c');
    await settle();
    expect(client.log).toEqual(['suback 1 0x80', 'suback 2 0x80', 'suback 3 0x01']);
    await killAndRestart();
    expect(engine.stats.subscriptions).toBe(1);
    const back = await connect(durable('c'));
    expect(back.sessionPresent).toBe(true);
  });

  it('deliver nothing that was published before them, although the session reads the log', async () => {
    const publisher = await connect({ clientId: 'p' });
    const slow = await connect(durable('s', { receiveMaximum: 1, acks: 'manual' }));
    const other = await connect(durable('other'));
    slow.subscribe('a');
    other.subscribe('#');
    await settle();
    publisher.publish('a', 'a1');
    publisher.publish('a', 'a2');
    publisher.publish('b', 'before');
    await settle();
    slow.subscribe('b');
    await settle();
    publisher.publish('b', 'after');
    await settle();
    for (let acked = 0; acked < slow.received.length; acked++) {
      slow.session.onPuback(slow.received[acked]?.packetId ?? 0, 0);
      await settle();
    }
    expect(slow.payloads.sort()).toEqual(['a1', 'a2', 'after']);
    expect(other.received).toHaveLength(4);
  });

  it('to an exclusive filter are held by one client', async () => {
    const one = await connect({ clientId: 'one' });
    const two = await connect({ clientId: 'two' });
    one.subscribe('$exclusive/a');
    two.subscribe('$exclusive/a');
    await settle();
    two.publish('a', 'm');
    await settle();
    expect([one.log, two.log[0]]).toEqual([['suback 1 0x01'], 'suback 1 0x97']);
    expect(one.payloads).toEqual(['m']);
    await one.disconnect();
    two.subscribe('$exclusive/a');
    await settle();
    expect(two.log.at(-1)).toBe('suback 3 0x01');
  });
});

describe('a publisher', () => {
  it('gets its answers in the order of its packets, whatever they wait for', async () => {
    const watcher = await connect(durable('s'));
    watcher.subscribe('kept');
    await settle();
    const publisher = await connect({ clientId: 'p' });
    const ids = [
      publisher.publish('kept', '1'),
      publisher.publish('free', '2'),
      publisher.publish('kept', '3', { qos: 2 }),
      publisher.publish('free', '4', { retain: true }),
    ];
    publisher.session.onPublish(
      {
        topicName: 'no',
        payload: Buffer.alloc(0),
        qos: 1,
        retain: false,
        dup: false,
        packetId: 99,
        properties: undefined,
      },
      0x87,
    );
    await settle();
    expect(publisher.log.slice(0, 5)).toEqual([
      `puback ${ids[0]} 0x00`,
      `puback ${ids[1]} 0x10`,
      `pubrec ${ids[2]} 0x00`,
      `puback ${ids[3]} 0x00`,
      'puback 99 0x87',
    ]);
  });

  it('is held to its receive maximum and to topic names of a sane depth', async () => {
    await killAndRestart({ ...engineOptions, receiveMaximum: 2, topicLevelsMax: 4 });
    const deep = await connect({ clientId: 'deep' });
    const id = deep.publish('a/b/c/d/e', 'm');
    await settle();
    expect(deep.log).toEqual([`puback ${id} 0x90`]);
    deep.publish('a/b/c/d/e', 'm', { qos: 0 });
    expect(deep.closedWith).toBe(0x90);
    const greedy = await connect({ clientId: 'greedy', acks: 'manual' });
    for (const packetId of [1, 2, 3]) greedy.publish('a', 'm', { qos: 2, packetId });
    await settle();
    expect(greedy.closedWith).toBe(0x93);
  });

  it('in this process waits for durable subscribers, and listeners here get every message', async () => {
    const heard: string[] = [];
    const stop = engine.subscribe('a/+', ({ payload }) => heard.push(payload.toString()));
    const watcher = await connect(durable('s'));
    watcher.subscribe('a/b');
    await settle();
    await engine.publish({ topicName: 'a/b', payload: Buffer.from('local'), qos: 1, retain: false });
    const remote = await connect({ clientId: 'p' });
    remote.publish('a/c', 'remote', { qos: 0 });
    await settle();
    stop();
    remote.publish('a/c', 'unheard', { qos: 0 });
    await settle();
    expect(heard).toEqual(['local', 'remote']);
    expect(watcher.payloads).toEqual(['local']);
    storage.failAppends = 'UNAVAILABLE';
    await expect(
      engine.publish({ topicName: 'a/b', payload: Buffer.from('lost'), qos: 1, retain: false }),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('a client that cannot be claimed in meta', () => {
  it('is refused, and finds its session as it was', async () => {
    const first = await connect(durable('s'));
    first.subscribe('a');
    await settle();
    await first.drop();
    metaClient.answers = 'refused';
    await expect(connect(durable('s'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(connect(durable('new'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    metaClient.answers = 'given';
    const publisher = await connect({ clientId: 'p' });
    publisher.publish('a', 'm');
    await settle();
    const second = await connect(durable('s'));
    await settle();
    expect(second.sessionPresent).toBe(true);
    expect(second.payloads).toEqual(['m']);
  });
});
