import { describe, expect, it } from '@jest/globals';
import { durable, ENGINE_OPTIONS, settle, useEngine } from './engine-fixture.js';
import { ScriptedClient } from './scripted-client.js';

const run = useEngine();

describe('QoS 2', () => {
  it('publishes a packet once, however often it is sent, also across a reconnect', async () => {
    const subscriber = await run.connect(durable('s'));
    subscriber.subscribe('a', { qos: 2 });
    const first = await run.connect(durable('p', { acks: 'manual' }));
    await settle();
    first.publish('a', 'once', { qos: 2, packetId: 7 });
    first.publish('a', 'once', { qos: 2, packetId: 7, dup: true });
    await settle();
    await first.drop();
    const second = await run.connect(durable('p', { acks: 'manual' }));
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
    const subscriber = await run.connect(durable('s'));
    subscriber.subscribe('#', { qos: 1 });
    const before = await run.connect(durable('p', { acks: 'manual' }));
    before.publish('a', 'one', { qos: 2, packetId: 1 });
    before.publish('b', 'two', { qos: 2, packetId: 2 });
    await settle();
    expect(before.log).toEqual(['pubrec 1 0x00', 'pubrec 2 0x00']);
    before.session.onPubrel(2, 0);
    await settle();
    expect(before.log.at(-1)).toBe('pubcomp 2 0x00');
    await run.killAndRestart();
    const after = await run.connect(durable('p', { acks: 'manual' }));
    expect(after.sessionPresent).toBe(true);
    after.publish('a', 'one', { qos: 2, packetId: 1, dup: true });
    after.publish('b', 'three', { qos: 2, packetId: 2 });
    await settle();
    expect(after.log).toEqual(['pubrec 1 0x00', 'pubrec 2 0x00']);
    const back = await run.connect(durable('s'));
    await settle();
    const all = [...new Set([...subscriber.payloads, ...back.payloads])];
    expect(all.sort()).toEqual(['one', 'three', 'two']);
    expect(back.payloads.filter((payload) => payload === 'one').length).toBeLessThanOrEqual(1);
  });

  it.each(['before a snapshot', 'after a snapshot'])('delivers each message once, %s', async (when) => {
    const options = { ...ENGINE_OPTIONS, sessionLogEntriesMax: 100 };
    await run.killAndRestart(options);
    const held = new Set<number>();
    const publisher = await run.connect({ clientId: 'p' });
    const first = await new ScriptedClient(run.clock, durable('s', { acks: 'manual' }), held).connect(run.engine);
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
    if (when === 'after a snapshot') await run.clock.advanceAndSettle(1000);
    await settle();
    first.session.onPubrec(m3, 0);
    await run.killAndRestart(options);
    const second = await new ScriptedClient(run.clock, durable('s'), held).connect(run.engine);
    await settle();
    expect(second.sessionPresent).toBe(true);
    expect(second.payloads).toEqual([]); // the client holds every id: nothing it gets again is new to it
    expect(held.size).toBe(0); // and every handshake has been completed
    publisher.publish('a', 'dead', { qos: 2 });
    const alive = await run.connect({ clientId: 'p2' });
    alive.publish('a', 'last', { qos: 2 });
    await settle();
    expect(second.payloads).toEqual(['last']);
  });
});

describe('shared subscriptions', () => {
  const publishMany = async (publisher: ScriptedClient, count: number) => {
    for (let i = 0; i < count; i++) publisher.publish('jobs/x', `m${i}`);
    await settle();
  };

  it('give each message to one member, and what a member leaves behind to another', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const one = await run.connect({ clientId: 'one', acks: 'manual' });
    const two = await run.connect({ clientId: 'two' });
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
    const publisher = await run.connect({ clientId: 'p' });
    const one = await run.connect(durable('one', { receiveMaximum: 2, acks: 'manual' }));
    const two = await run.connect(durable('two', { receiveMaximum: 2, acks: 'manual' }));
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
    await run.killAndRestart();
    const again = await run.connect({ clientId: 'p' });
    again.publish('jobs/x', 'last');
    await settle();
    const back = await run.connect(durable('one'));
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
    const watcher = await run.connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    const polite = await run.connect({ clientId: 'polite', will: will() });
    await polite.disconnect();
    await settle();
    expect(watcher.payloads).toEqual([]);
    const rude = await run.connect({ clientId: 'rude', will: will() });
    await rude.drop();
    await settle();
    expect(watcher.payloads).toEqual(['gone']);
    expect((await run.meta.range({ prefix: 'mqtt/' })).kvs.map(({ key }) => key)).toEqual([
      'mqtt/default/sessions/watcher',
    ]);
  });

  it('wait for their delay, are cancelled by a return, and come at the latest with the end of the session', async () => {
    const watcher = await run.connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    const delayed = durable('c', { will: will({ willDelayInterval: 30 }), expirySeconds: 10 });
    const first = await run.connect(delayed);
    await first.drop();
    await run.clock.advanceAndSettle(9_000);
    await settle();
    expect(watcher.payloads).toEqual([]);
    const second = await run.connect(delayed);
    await run.clock.advanceAndSettle(20_000);
    await settle();
    expect(watcher.payloads).toEqual([]);
    await second.drop();
    await run.clock.advanceAndSettle(10_000);
    await settle();
    expect(watcher.payloads).toEqual(['gone']);
    expect(run.engine.stats.sessions).toBe(1);
  });

  it('of clients that were connected when the broker was killed are published once, at the next start', async () => {
    const watcher = await run.connect(durable('watcher'));
    watcher.subscribe('wills/#');
    await settle();
    await run.connect({ clientId: 'transient', will: will() });
    await run.connect(durable('durable', { will: will({}, true) }));
    await run.killAndRestart();
    await run.killAndRestart();
    const back = await run.connect(durable('watcher'));
    await settle();
    expect(back.payloads).toEqual(['gone', 'gone']);
    const late = await run.connect({ clientId: 'late' });
    late.subscribe('wills/w');
    await settle();
    expect(late.received.map(({ payload, retain }) => [payload, retain])).toEqual([['gone', true]]);
  });
});

describe('a session that ends while meta or storage says no', () => {
  const will = { topicName: 'w', payload: Buffer.from('gone'), qos: 1, retain: false, properties: undefined } as const;

  it('leaves a record behind that the next session of the client replaces', async () => {
    const first = await run.connect({ clientId: 'c', will });
    run.metaClient.answers = 'refused';
    await first.drop();
    await settle();
    run.metaClient.answers = 'given';
    expect((await run.meta.range({ prefix: 'mqtt/' })).count).toBe(1);
    const second = await run.connect({ clientId: 'c', will });
    await second.disconnect();
    expect((await run.meta.range({ prefix: 'mqtt/' })).count).toBe(0);
  });

  it('publishes its will as soon as storage takes it', async () => {
    const watcher = await run.connect(durable('watcher'));
    watcher.subscribe('w');
    const client = await run.connect({ clientId: 'c', will });
    run.storage.failAppends = 'UNAVAILABLE';
    await client.drop();
    await settle();
    run.storage.failAppends = undefined;
    await run.clock.advanceAndSettle(5000);
    await settle();
    expect(watcher.payloads).toEqual(['gone']);
  });
});

describe('expiry and limits', () => {
  it('drops expired messages and rewrites what is left of the lifetime', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const away = await run.connect(durable('s'));
    away.subscribe('a');
    await settle();
    await away.drop();
    publisher.publish('a', 'short', { properties: { messageExpiryInterval: 5 } });
    publisher.publish('a', 'long', { properties: { messageExpiryInterval: 60 } });
    await settle();
    await run.clock.advanceAndSettle(10_000);
    const back = await run.connect(durable('s'));
    await settle();
    expect(back.received.map(({ payload, properties }) => [payload, properties?.messageExpiryInterval])).toEqual([
      ['long', 50],
    ]);
    expect(run.engine.stats.messagesDropped.expired).toBe(1);
  });

  it('never sends a packet larger than the client takes', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const small = await run.connect(durable('s', { maximumPacketSize: 40 }));
    small.subscribe('a');
    await settle();
    publisher.publish('a', 'x'.repeat(100));
    publisher.publish('a', 'fits');
    await settle();
    expect(small.payloads).toEqual(['fits']);
    expect(run.engine.stats.messagesDropped.tooLarge).toBe(1);
  });

  it('does not acknowledge what storage did not take: a reason code in MQTT 5, a close in MQTT 3', async () => {
    const five = await run.connect({ clientId: 'five' });
    const four = await run.connect({ clientId: 'four', version: 4 });
    const watcher = await run.connect(durable('s'));
    watcher.subscribe('a');
    await settle();
    run.storage.failAppends = 'DISK_FULL';
    const refused = five.publish('a', 'lost', { qos: 2 });
    four.publish('a', 'lost');
    await settle();
    expect(five.log).toEqual([`pubrec ${refused} 0x97`]);
    expect(four.log).toEqual([]);
    expect(four.closedWith).toBe(0x97);
    run.storage.failAppends = undefined;
    const kept = five.publish('a', 'kept', { qos: 2, packetId: refused });
    await settle();
    expect(five.log.slice(1)).toEqual([`pubrec ${kept} 0x00`, `pubcomp ${kept} 0x00`]);
    expect(watcher.payloads).toEqual(['kept']);
  });

  it('pushes back on publishers while too many bytes wait for storage', async () => {
    await run.killAndRestart({ ...ENGINE_OPTIONS, appendingBytesMax: 1000 });
    const watcher = await run.connect(durable('s'));
    watcher.subscribe('a');
    const publisher = await run.connect({ clientId: 'p' });
    for (let i = 0; i < 20; i++) publisher.publish('a', 'x'.repeat(100));
    expect(publisher.paused).toBe(1);
    await settle();
    expect(publisher.paused).toBe(0);
    expect(watcher.received).toHaveLength(20);
  });

  it('trims message shards below the lowest cursor', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const away = await run.connect(durable('away'));
    const here = await run.connect(durable('here'));
    for (const client of [away, here]) client.subscribe('a');
    await settle();
    publisher.publish('a', 'm1');
    await settle();
    await away.drop();
    publisher.publish('a', 'm2');
    await settle();
    await run.clock.advanceAndSettle(60_000);
    await settle();
    const starts = async () => {
      const shards = await run.disk.listShards('mqtt/default/messages');
      const described = await Promise.all(shards.map((shard) => run.disk.describeShard(shard)));
      return described.filter(({ end }) => end > 0).map(({ logStart, end }) => [logStart, end]);
    };
    expect(await starts()).toEqual([[1, 2]]);
    const back = await run.connect(durable('away'));
    await settle();
    expect(back.payloads).toEqual(['m2']);
    await run.clock.advanceAndSettle(60_000);
    await settle();
    expect(await starts()).toEqual([[2, 2]]);
  });

  it('hands out many retained messages in pages, one per turn', async () => {
    await run.killAndRestart({ ...ENGINE_OPTIONS, retainedPageMessages: 100 });
    for (let i = 0; i < 3000; i++)
      void run.engine.publish({ topicName: `r/${i % 100}/${i}`, payload: Buffer.from('x'), qos: 0, retain: true });
    await settle();
    const reader = await run.connect({ clientId: 'reader' });
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
