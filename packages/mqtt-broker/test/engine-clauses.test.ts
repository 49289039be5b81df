// Rules of MQTT that the engine keeps, one by one. docs/reference/mqtt-conformance.md points here.

import { describe, expect, it } from '@jest/globals';
import { durable, settle, useEngine } from './engine-fixture.js';
import type { Received } from './scripted-client.js';

const run = useEngine();

/** A publisher, and a subscriber of `a` that answers nothing by itself. */
async function pair(qos: 0 | 1 | 2, more: Parameters<typeof durable>[1] = {}) {
  const publisher = await run.connect({ clientId: 'publisher' });
  const subscriber = await run.connect(durable('subscriber', { acks: 'manual', ...more }));
  subscriber.subscribe('a', { qos });
  await settle();
  return { publisher, subscriber };
}

const idOf = (message: Received | undefined): number => message?.packetId ?? 0;

describe('sessions', () => {
  it('are discarded by a clean start, which answers session present 0', async () => {
    const { subscriber, publisher } = await pair(1);
    publisher.publish('a', 'old');
    await settle();
    await subscriber.drop();
    const clean = await run.connect(durable('subscriber', { cleanStart: true }));
    expect(clean.sessionPresent).toBe(false);
    publisher.publish('a', 'unwanted');
    await settle();
    expect(clean.received).toEqual([]);
  });

  it('are resumed without a clean start, and made where there is none', async () => {
    const first = await run.connect(durable('c'));
    expect(first.sessionPresent).toBe(false);
    await first.drop();
    const second = await run.connect(durable('c'));
    expect(second.sessionPresent).toBe(true);
  });

  it('without an expiry interval end with their connection', async () => {
    const first = await run.connect({ clientId: 'c', cleanStart: false, expirySeconds: 0 });
    first.subscribe('a');
    await settle();
    await first.drop();
    const second = await run.connect({ clientId: 'c', cleanStart: false, expirySeconds: 0 });
    expect(second.sessionPresent).toBe(false);
    expect(run.engine.stats.subscriptions).toBe(0);
  });

  it('may be ended by DISCONNECT with an expiry interval of 0', async () => {
    const client = await run.connect(durable('c'));
    await client.session.detach({ kind: 'disconnect', keepsWill: 'no', sessionExpirySeconds: 0 });
    expect(run.engine.stats.sessions).toBe(0);
  });
});

describe('QoS 0', () => {
  it('is sent with DUP 0 and no packet id', async () => {
    const { publisher, subscriber } = await pair(0);
    publisher.publish('a', 'm', { qos: 2 });
    await settle();
    expect(subscriber.received).toMatchObject([{ qos: 0, dup: false, packetId: 0 }]);
  });
});

describe('QoS 1', () => {
  it('takes an unused packet id with DUP 0, keeps it until PUBACK, and then gives it up', async () => {
    const { publisher, subscriber } = await pair(1, { receiveMaximum: 2 });
    for (const payload of ['1', '2', '3']) publisher.publish('a', payload);
    await settle();
    const [one, two] = subscriber.received;
    expect(subscriber.received.map(({ dup }) => dup)).toEqual([false, false]);
    expect(idOf(one)).not.toBe(idOf(two));
    subscriber.session.onPuback(idOf(one), 0);
    subscriber.session.onPuback(idOf(one), 0); // a second time it answers nothing
    await settle();
    expect(subscriber.payloads).toEqual(['1', '2', '3']);
    expect(idOf(subscriber.received[2])).not.toBe(idOf(two));
  });

  it('is done when the client refuses it with PUBACK', async () => {
    const { publisher, subscriber } = await pair(1);
    publisher.publish('a', 'm');
    await settle();
    subscriber.session.onPuback(idOf(subscriber.received[0]), 0x80);
    await subscriber.drop();
    const again = await run.connect(durable('subscriber', { acks: 'manual' }));
    await settle();
    expect(again.received).toEqual([]);
  });
});

describe('QoS 2 to a client', () => {
  it('goes PUBLISH, PUBREC, PUBREL, PUBCOMP, and is never published again after PUBREL', async () => {
    const { publisher, subscriber } = await pair(2);
    publisher.publish('a', 'm', { qos: 2 });
    await settle();
    const id = idOf(subscriber.received[0]);
    expect(subscriber.received).toMatchObject([{ qos: 2, dup: false }]);
    expect(subscriber.log).toEqual(['suback 1 0x02']);
    subscriber.session.onPubrec(id, 0);
    await settle();
    subscriber.session.onPubrec(id, 0); // sent again: PUBREL again
    await settle();
    expect(subscriber.log.slice(1)).toEqual([`pubrel ${id} 0x00`, `pubrel ${id} 0x00`]);
    await subscriber.drop();
    const again = await run.connect(durable('subscriber', { acks: 'manual' }));
    await settle();
    expect(again.received).toEqual([]);
    expect(again.log).toEqual([`pubrel ${id} 0x00`]);
    again.session.onPubcomp(id, 0);
    await again.drop();
    const last = await run.connect(durable('subscriber', { acks: 'manual' }));
    await settle();
    expect([last.received, last.log]).toEqual([[], []]);
  });

  it('ends with a PUBREC that refuses: no PUBREL, and the packet id is free', async () => {
    const { publisher, subscriber } = await pair(2, { receiveMaximum: 1 });
    publisher.publish('a', 'm1', { qos: 2 });
    publisher.publish('a', 'm2', { qos: 2 });
    await settle();
    subscriber.session.onPubrec(idOf(subscriber.received[0]), 0x83);
    await settle();
    expect(subscriber.payloads).toEqual(['m1', 'm2']);
    expect(subscriber.log).toEqual(['suback 1 0x02']);
  });

  it('says that it does not know the packet id of a stray PUBREC', async () => {
    const { subscriber } = await pair(2);
    subscriber.session.onPubrec(77, 0);
    await settle();
    expect(subscriber.log).toEqual(['suback 1 0x02', 'pubrel 77 0x92']);
  });

  it('is completed although the message expires after it was sent', async () => {
    const { publisher, subscriber } = await pair(2);
    publisher.publish('a', 'm', { qos: 2, properties: { messageExpiryInterval: 5 } });
    await settle();
    await subscriber.drop();
    await run.clock.advanceAndSettle(10_000);
    const again = await run.connect(durable('subscriber', { acks: 'manual' }));
    await settle();
    expect(again.received).toMatchObject([{ payload: 'm', dup: true, packetId: idOf(subscriber.received[0]) }]);
  });
});

describe('QoS 2 from a client', () => {
  it('is answered with PUBREC and PUBCOMP, and its packet id may be used again after PUBCOMP only', async () => {
    const { publisher, subscriber } = await pair(1);
    const answers = publisher.log;
    publisher.publish('a', 'one', { qos: 2, packetId: 5 });
    publisher.publish('a', 'two', { qos: 2, packetId: 5 });
    await settle();
    expect(answers).toEqual(['pubrec 5 0x00', 'pubcomp 5 0x00']);
    publisher.publish('a', 'three', { qos: 2, packetId: 5 });
    await settle();
    expect(subscriber.payloads).toEqual(['one', 'three']);
  });

  it('ends the connection of a client that sends PUBREL before PUBREC', async () => {
    const { publisher } = await pair(1);
    publisher.publish('a', 'm', { qos: 2, packetId: 5 });
    publisher.session.onPubrel(5, 0);
    expect(publisher.closedWith).toBe(0x82);
  });

  it('goes on with its packet id after PUBREC refused it', async () => {
    const { publisher } = await pair(1);
    publisher.session.onPublish(
      {
        topicName: 'no',
        payload: Buffer.alloc(0),
        qos: 2,
        retain: false,
        dup: false,
        packetId: 9,
        properties: undefined,
      },
      0x87,
    );
    publisher.publish('a', 'm', { qos: 2, packetId: 9 });
    await settle();
    expect(publisher.log).toEqual(['pubrec 9 0x87', 'pubrec 9 0x00', 'pubcomp 9 0x00']);
  });
});

describe('UNSUBSCRIBE', () => {
  it('ends new deliveries and lets those in flight complete', async () => {
    const { publisher, subscriber } = await pair(2);
    publisher.publish('a', 'before', { qos: 2 });
    await settle();
    subscriber.unsubscribe('a');
    await settle();
    publisher.publish('a', 'after', { qos: 2 });
    await settle();
    const id = idOf(subscriber.received[0]);
    subscriber.session.onPubrec(id, 0);
    await settle();
    expect(subscriber.payloads).toEqual(['before']);
    expect(subscriber.log).toEqual(['suback 1 0x02', 'unsuback 2 0x00', `pubrel ${id} 0x00`]);
  });

  it('of several filters is several of them, answered in one packet', async () => {
    const client = await run.connect({ clientId: 'c' });
    const request = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    const subscriptions = ['x', 'y/+', '$share/g/z'].map((topicFilter) => ({ topicFilter, ...request }));
    client.session.onSubscribe({ packetId: 7, subscriptions, properties: undefined });
    await settle();
    expect(run.engine.stats.subscriptions).toBe(3);
    client.session.onUnsubscribe({ packetId: 8, topicFilters: ['y/+', 'none', '$share/g/z'], properties: undefined });
    await settle();
    expect(client.log).toEqual(['suback 7 0x01 0x01 0x01', 'unsuback 8 0x00 0x11 0x00']);
    expect(run.engine.stats.subscriptions).toBe(1);
  });
});

describe('a shared subscription', () => {
  async function group(...names: string[]) {
    const publisher = await run.connect({ clientId: 'publisher' });
    const members = [];
    for (const name of names) members.push(await run.connect(durable(name, { acks: 'manual' })));
    return { publisher, members };
  }

  it('respects the QoS that each member was granted', async () => {
    const { publisher, members } = await group('one', 'two');
    members[0]?.subscribe('$share/g/a', { qos: 0 });
    members[1]?.subscribe('$share/g/a', { qos: 1 });
    await settle();
    for (let i = 0; i < 4; i++) publisher.publish('a', `m${i}`, { qos: 2 });
    await settle();
    expect(members.map(({ received }) => received.map(({ qos }) => qos))).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });

  it('completes QoS 2 with the member that had it, and with nobody else when its session ends', async () => {
    const { publisher, members } = await group('one', 'two');
    const [one, two] = members;
    one?.subscribe('$share/g/a', { qos: 2 });
    await settle();
    publisher.publish('a', 'm', { qos: 2 });
    await settle();
    expect(one?.payloads).toEqual(['m']);
    two?.subscribe('$share/g/a', { qos: 2 });
    await settle();
    await one?.drop();
    await settle();
    expect(two?.payloads).toEqual([]);
    const back = await run.connect(durable('one', { acks: 'manual' }));
    await settle();
    expect(back.received).toMatchObject([{ payload: 'm', dup: true, packetId: idOf(one?.received[0]) }]);
    await back.drop();
    await run.connect(durable('one', { cleanStart: true }));
    await settle();
    expect(two?.payloads).toEqual([]);
  });

  it('gives what a member refused to nobody else', async () => {
    const { publisher, members } = await group('one', 'two');
    for (const member of members) member.subscribe('$share/g/a', { qos: 1 });
    await settle();
    publisher.publish('a', 'm');
    await settle();
    const holder = members.find(({ received }) => received.length === 1);
    holder?.session.onPuback(idOf(holder.received[0]), 0x80);
    await holder?.drop();
    await settle();
    expect(members.flatMap(({ payloads }) => payloads)).toEqual(['m']);
  });
});

describe('the send quota', () => {
  it('holds QoS 1 and 2 at 0, and nothing else', async () => {
    const { publisher, subscriber } = await pair(1, { receiveMaximum: 1 });
    publisher.publish('a', 'm1');
    publisher.publish('a', 'm2');
    await settle();
    expect(subscriber.payloads).toEqual(['m1']);
    publisher.publish('a', 'zero', { qos: 0 });
    subscriber.publish('b', 'own', { qos: 1, packetId: 50 });
    subscriber.subscribe('c');
    await settle();
    expect(subscriber.payloads).toEqual(['m1', 'zero']);
    expect(subscriber.log).toEqual(['suback 1 0x01', 'puback 50 0x10', 'suback 2 0x01']);
  });
});

describe('a subscription made again', () => {
  it('replaces the one before, and is sent what is retained once more', async () => {
    const client = await run.connect({ clientId: 'c' });
    client.publish('r', 'kept', { retain: true });
    client.subscribe('r', { qos: 1 });
    await settle();
    client.subscribe('r', { qos: 0 });
    await settle();
    client.publish('r', 'live');
    await settle();
    expect(client.received.map(({ payload, qos, retain }) => [payload, qos, retain])).toEqual([
      ['kept', 1, true],
      ['kept', 0, true],
      ['live', 0, false],
    ]);
    expect(run.engine.stats.subscriptions).toBe(1);
  });
});

describe('retained messages', () => {
  it('are replaced by the next, untouched without RETAIN, and removed by an empty one', async () => {
    const client = await run.connect({ clientId: 'c' });
    const retained = async () => {
      const reader = await run.connect({ clientId: 'reader' });
      reader.subscribe('r');
      await settle();
      await reader.disconnect();
      return reader.payloads;
    };
    client.publish('r', 'one', { retain: true });
    client.publish('r', 'two', { retain: true });
    client.publish('r', 'three');
    await settle();
    expect(await retained()).toEqual(['two']);
    client.publish('r', '');
    await settle();
    expect(await retained()).toEqual(['two']);
    client.publish('r', '', { retain: true });
    await settle();
    expect(await retained()).toEqual([]);
    expect(run.engine.stats.retainedMessages).toBe(0);
  });

  it('are not sent when they have expired, and are forgotten then', async () => {
    const client = await run.connect({ clientId: 'c' });
    client.publish('r', 'm', { retain: true, properties: { messageExpiryInterval: 5 } });
    await settle();
    await run.clock.advanceAndSettle(6000);
    client.subscribe('r');
    await settle();
    expect(client.received).toEqual([]);
    expect(run.engine.stats.retainedMessages).toBe(0);
  });
});
