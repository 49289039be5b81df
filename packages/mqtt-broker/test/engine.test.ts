import { describe, expect, it } from '@jest/globals';
import { durable, ENGINE_OPTIONS, settle, useEngine } from './engine-fixture.js';
import { ScriptedClient } from './scripted-client.js';

const run = useEngine();

describe('live messages', () => {
  it('go to every matching client at the lower QoS, and are acknowledged', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const zero = await run.connect({ clientId: 's0', version: 4 });
    const two = await run.connect({ clientId: 's2' });
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
    for (const shard of await run.disk.listShards('mqtt/default/messages'))
      expect(await run.disk.describeShard(shard)).toMatchObject({ end: 0 });
  });

  it('wait in a bounded queue for a client without a durable session whose window is full', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const slow = await run.connect({ clientId: 's', receiveMaximum: 2, acks: 'manual' });
    slow.subscribe('a');
    await settle();
    for (let i = 0; i < 5; i++) publisher.publish('a', `m${i}`);
    await settle();
    expect(slow.payloads).toEqual(['m0', 'm1']);
    slow.session.onPuback(slow.received[0]?.packetId ?? 0, 0);
    await settle();
    expect(slow.payloads).toEqual(['m0', 'm1', 'm2']);
    expect(run.engine.stats.messagesDropped.queueFull).toBe(0);
  });

  it('reach many subscribers of one topic in one batch, in the order of their other packets', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const many = await Promise.all(Array.from({ length: 12 }, (_, i) => run.connect({ clientId: `s${i}` })));
    for (const client of many) client.subscribe('wide', { qos: 0 });
    await settle();
    for (let i = 0; i < 50; i++) publisher.publish('wide', `m${i}`, { qos: 0 });
    await settle();
    for (const client of many) expect(client.payloads).toEqual(Array.from({ length: 50 }, (_, i) => `m${i}`));
  });
});

describe('a durable session', () => {
  it('gets what was published while it was away, in order, and acknowledged only once it is kept', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const away = await run.connect(durable('s'));
    away.subscribe('a/#', { qos: 1 });
    await settle();
    await away.drop();
    for (let i = 0; i < 1000; i++) publisher.publish('a/b', `m${i}`);
    expect(publisher.log).toEqual([]);
    await settle();
    expect(publisher.log).toHaveLength(1000);
    const back = await run.connect(durable('s'));
    await settle();
    expect(back.sessionPresent).toBe(true);
    expect(back.payloads).toEqual(Array.from({ length: 1000 }, (_, i) => `m${i}`));
    publisher.publish('a/b', 'live');
    await settle();
    expect(back.payloads.at(-1)).toBe('live');
  });

  it('gets everything acknowledged after the broker was killed', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const away = await run.connect(durable('s'));
    away.subscribe('a/#', { qos: 1 });
    await settle();
    publisher.publish('a/b', 'seen');
    await settle();
    expect(away.payloads).toEqual(['seen']);
    run.clock.advance(1000); // the cursor is committed
    await settle();
    await away.drop();
    for (let i = 0; i < 300; i++) publisher.publish('a/b', `m${i}`);
    await settle();
    await run.killAndRestart();
    const back = await run.connect(durable('s'));
    await settle();
    expect(back.sessionPresent).toBe(true);
    expect(back.payloads).toEqual(Array.from({ length: 300 }, (_, i) => `m${i}`));
  });

  it('is sent again what it has not acknowledged: same packet ids, DUP, in order', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const first = await run.connect(durable('s', { acks: 'manual' }));
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
    const second = new ScriptedClient(run.clock, durable('s', { acks: 'manual' }));
    await second.connect(run.engine);
    await settle();
    expect(second.log).toEqual([`pubrel ${m4?.packetId} 0x00`]);
    expect(second.received.map(({ payload, packetId, dup }) => [payload, packetId, dup])).toEqual(
      [m1, m2, m3].map((sent) => [sent?.payload, sent?.packetId, true]),
    );
  });

  it('falls back to the log when its window is full, and returns to live', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const slow = await run.connect(durable('s', { receiveMaximum: 3, acks: 'manual' }));
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
    const client = await run.connect(durable('s', { expirySeconds: 60 }));
    client.subscribe('a');
    await settle();
    await client.drop();
    expect((await run.meta.range({ prefix: 'mqtt/' })).count).toBe(1);
    await run.clock.advanceAndSettle(59_000);
    expect(run.engine.stats.sessions).toBe(1);
    await run.clock.advanceAndSettle(2_000);
    await settle();
    expect(run.engine.stats).toMatchObject({ sessions: 0, subscriptions: 0 });
    expect((await run.meta.range({ prefix: 'mqtt/' })).count).toBe(0);
  });

  it('is taken over: the old connection is told 0x8E and touches nothing any more', async () => {
    const old = await run.connect(durable('s'));
    old.subscribe('a');
    await settle();
    const taker = await run.connect(durable('s'));
    expect(old.closedWith).toBe(0x8e);
    expect(taker.sessionPresent).toBe(true);
    old.unsubscribe('a');
    await old.drop();
    const publisher = await run.connect({ clientId: 'p' });
    publisher.publish('a', 'm');
    await settle();
    expect(taker.payloads).toEqual(['m']);
  });
});

describe('a subscriber that does not read', () => {
  it('slows nobody: QoS 0 is dropped for it and counted, QoS 1 waits in the log or in its own queue', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const frozen = await run.connect(durable('frozen'));
    const queued = await run.connect({ clientId: 'queued' });
    const well = await run.connect({ clientId: 'well' });
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
    expect(run.engine.stats.messagesDropped).toMatchObject({ congested: 2, queueFull: 500 });
    frozen.congested = false;
    queued.congested = false;
    frozen.session.onWritable();
    queued.session.onWritable();
    await settle();
    expect(frozen.payloads).toEqual(Array.from({ length: 1500 }, (_, i) => `m${i}`));
    expect(queued.payloads).toEqual(Array.from({ length: 1000 }, (_, i) => `m${i}`));
  });

  it('and holds most of its window still gets what fits the rest', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const slow = await run.connect(durable('s', { receiveMaximum: 10, acks: 'manual' }));
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
    const publisher = await run.connect({ clientId: 'p' });
    publisher.publish('r/1', 'one', { retain: true });
    publisher.publish('r/2', 'two', { qos: 0, retain: true });
    publisher.publish('r/3', 'gone', { retain: true });
    publisher.publish('r/3', '', { retain: true });
    const eager = await run.connect({ clientId: 'eager' });
    eager.subscribe('r/#');
    await settle();
    expect(eager.received.map(({ payload, retain, qos }) => [payload, retain, qos])).toEqual([
      ['one', true, 1],
      ['two', true, 0],
    ]);
    await run.killAndRestart();
    const late = await run.connect({ clientId: 'late' });
    late.subscribe('r/+', { retainHandling: 1 });
    await settle();
    expect(late.payloads.sort()).toEqual(['one', 'two']);
    late.subscribe('r/+', { retainHandling: 1 });
    late.subscribe('r/1', { retainHandling: 2 });
    await settle();
    expect(late.received).toHaveLength(2);
  });

  it('are kept without being sent on when nobody listens, and flagged for who asked for it', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const plain = await run.connect({ clientId: 'plain' });
    const asPublished = await run.connect({ clientId: 'rap' });
    plain.subscribe('r');
    asPublished.subscribe('r', { retainAsPublished: true });
    await settle();
    publisher.publish('r', 'm', { retain: true });
    await settle();
    expect(plain.received.map(({ retain }) => retain)).toEqual([false]);
    expect(asPublished.received.map(({ retain }) => retain)).toEqual([true]);
  });
});

describe('subscriptions', () => {
  it('that overlap deliver once: the highest QoS, all identifiers; without No Local where one asks for it', async () => {
    const both = await run.connect({ clientId: 'both' });
    both.subscribe('a/+', { qos: 0, identifier: 1, noLocal: true });
    both.subscribe('a/#', { qos: 2, identifier: 2 });
    const quiet = await run.connect({ clientId: 'quiet' });
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
    await run.killAndRestart({ ...ENGINE_OPTIONS, subscriptionsMax: 2, maximumQoS: 1 });
    const client = await run.connect({ clientId: 'c' });
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
    const client = await run.connect(durable('c'));
    run.metaClient.answers = 'refused';
    client.subscribe('a');
    await settle();
    expect(client.log).toEqual(['suback 1 0x80']);
    expect(run.engine.stats.subscriptions).toBe(0);
    run.metaClient.answers = 'lost';
    client.subscribe('b');
    await settle();
    run.metaClient.answers = 'given';
    client.subscribe('c');
    await settle();
    expect(client.log).toEqual(['suback 1 0x80', 'suback 2 0x80', 'suback 3 0x01']);
    await run.killAndRestart();
    expect(run.engine.stats.subscriptions).toBe(1);
    const back = await run.connect(durable('c'));
    expect(back.sessionPresent).toBe(true);
  });

  it('deliver nothing that was published before them, although the session reads the log', async () => {
    const publisher = await run.connect({ clientId: 'p' });
    const slow = await run.connect(durable('s', { receiveMaximum: 1, acks: 'manual' }));
    const other = await run.connect(durable('other'));
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
    const one = await run.connect({ clientId: 'one' });
    const two = await run.connect({ clientId: 'two' });
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
    const watcher = await run.connect(durable('s'));
    watcher.subscribe('kept');
    await settle();
    const publisher = await run.connect({ clientId: 'p' });
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
    await run.killAndRestart({ ...ENGINE_OPTIONS, receiveMaximum: 2, topicLevelsMax: 4 });
    const deep = await run.connect({ clientId: 'deep' });
    const id = deep.publish('a/b/c/d/e', 'm');
    await settle();
    expect(deep.log).toEqual([`puback ${id} 0x90`]);
    deep.publish('a/b/c/d/e', 'm', { qos: 0 });
    expect(deep.closedWith).toBe(0x90);
    const greedy = await run.connect({ clientId: 'greedy', acks: 'manual' });
    for (const packetId of [1, 2, 3]) greedy.publish('a', 'm', { qos: 2, packetId });
    await settle();
    expect(greedy.closedWith).toBe(0x93);
  });

  it('in this process waits for durable subscribers, and listeners here get every message', async () => {
    const heard: string[] = [];
    const stop = run.engine.subscribe('a/+', ({ payload }) => heard.push(payload.toString()));
    const watcher = await run.connect(durable('s'));
    watcher.subscribe('a/b');
    await settle();
    await run.engine.publish({ topicName: 'a/b', payload: Buffer.from('local'), qos: 1, retain: false });
    const remote = await run.connect({ clientId: 'p' });
    remote.publish('a/c', 'remote', { qos: 0 });
    await settle();
    stop();
    remote.publish('a/c', 'unheard', { qos: 0 });
    await settle();
    expect(heard).toEqual(['local', 'remote']);
    expect(watcher.payloads).toEqual(['local']);
    run.storage.failAppends = 'UNAVAILABLE';
    await expect(
      run.engine.publish({ topicName: 'a/b', payload: Buffer.from('lost'), qos: 1, retain: false }),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('a client that cannot be claimed in meta', () => {
  it('is refused, and finds its session as it was', async () => {
    const first = await run.connect(durable('s'));
    first.subscribe('a');
    await settle();
    await first.drop();
    run.metaClient.answers = 'refused';
    await expect(run.connect(durable('s'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(run.connect(durable('new'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    run.metaClient.answers = 'given';
    const publisher = await run.connect({ clientId: 'p' });
    publisher.publish('a', 'm');
    await settle();
    const second = await run.connect(durable('s'));
    await settle();
    expect(second.sessionPresent).toBe(true);
    expect(second.payloads).toEqual(['m']);
  });
});
