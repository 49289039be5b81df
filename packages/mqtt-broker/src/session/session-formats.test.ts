// What is written to meta and storage, byte by byte: a change here is a change of format.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MqttError } from '../errors.js';
import { topicShard } from '../publish/topic-shard.js';
import { PacketIdState, PacketIdTable } from './packet-id-table.js';
import { decodeSessionLogEntry, encodeSnapshotStart, encodeState, encodeStep } from './session-log-entry.js';
import { decodeSessionRecord, encodeSessionRecord, type SessionRecord } from './session-record.js';

const at = fc.record({ shard: fc.nat(1023), offset: fc.nat(2 ** 40) });
const clientId = fc.string({ unit: 'grapheme', maxLength: 30 });
const packetId = fc.integer({ min: 1, max: 65_535 });

describe('the shard of a topic', () => {
  it('is FNV-1a of its UTF-8 bytes', () => {
    expect([topicShard('a', 2 ** 32), topicShard('foobar', 2 ** 32)]).toEqual([0xe40c292c, 0xbf9cf968]); // published vectors
    // Computed elsewhere.
    expect(['sensors/1/temperature', 'größe/✓', 'a/b'].map((topic) => topicShard(topic, 16))).toEqual([9, 6, 1]);
    expect(['sensors/1/temperature', 'größe/✓', 'a/b'].map((topic) => topicShard(topic, 1024))).toEqual([
      697, 326, 449,
    ]);
  });
});

describe('an entry of the session log', () => {
  it('has the bytes that its file promises', () => {
    const step = { kind: 'received', clientId: 'c1', epoch: 258, packetId: 7, at: { shard: 3, offset: 4096 } } as const;
    expect(encodeStep(step).toString('hex')).toBe(
      `02${'0000000000000102'}0007${'0003'}${'0000000000001000'}000000026331`,
    );
    expect(encodeSnapshotStart({ kind: 'snapshot', ends: [1, 2] }).toString('hex')).toBe(
      `050002${'0000000000000001'}${'0000000000000002'}`,
    );
    const kept = [{ kind: 'inbound', packetId: 9, at: { shard: 1, offset: 5 } }] as const;
    expect(encodeState({ kind: 'state', clientId: 'c', epoch: 1, kept }).toString('hex')).toBe(
      `06${'0000000000000001'}0000000163${'00000001'}040009${'0001'}${'0000000000000005'}`,
    );
  });

  it('comes back as it was', () => {
    const step = fc.record({
      kind: fc.constantFrom('sent' as const, 'received' as const, 'completed' as const, 'released' as const),
      clientId,
      epoch: fc.nat(2 ** 45),
      packetId,
      at,
    });
    fc.assert(fc.property(step, (entry) => expect(decodeSessionLogEntry(encodeStep(entry))).toEqual(entry)));
    const kind = fc.constantFrom('sent' as const, 'released' as const, 'done' as const, 'inbound' as const);
    const state = fc.record({
      kind: fc.constant('state' as const),
      clientId,
      epoch: fc.nat(2 ** 45),
      kept: fc.array(fc.record({ kind, packetId, at }), { maxLength: 20 }),
    });
    fc.assert(fc.property(state, (entry) => expect(decodeSessionLogEntry(encodeState(entry))).toEqual(entry)));
  });

  it('is refused when it is something else', () => {
    const whole = encodeStep({ kind: 'sent', clientId: 'c', epoch: 1, packetId: 1, at: { shard: 0, offset: 0 } });
    for (const bytes of [Buffer.alloc(0), Buffer.from([9]), whole.subarray(0, 12), whole.subarray(0, -1)])
      expect(() => decodeSessionLogEntry(bytes)).toThrow(MqttError);
  });
});

describe('a session record', () => {
  const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
  const subscription = fc.record({
    topicFilter: fc.string({ minLength: 1 }),
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: qos,
    identifier: fc.option(fc.integer({ min: 1, max: 268_435_455 }), { nil: undefined }),
    since: fc.array(fc.tuple(fc.nat(15), fc.nat(2 ** 40))).map((entries) => new Map(entries)),
  });
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const will = fc.record({
    will: fc.record({
      topicName: fc.string({ minLength: 1 }),
      payload: bytes,
      qos,
      retain: fc.boolean(),
      properties: fc.option(
        fc.record({
          willDelayInterval: fc.nat(1000),
          correlationData: bytes,
          userProperties: fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 3 }),
        }),
        { nil: undefined },
      ),
    }),
    username: fc.option(fc.string(), { nil: undefined }),
  });
  const record: fc.Arbitrary<SessionRecord> = fc.record({
    born: fc.nat(2 ** 45),
    beginnings: fc.array(fc.nat(2 ** 40), { maxLength: 16 }),
    epoch: fc.nat(2 ** 45),
    expirySeconds: fc.nat(0xffff_ffff),
    offlineSinceMs: fc.option(fc.nat(2 ** 45), { nil: undefined }),
    subscriptions: fc.array(subscription, { maxLength: 5 }),
    will: fc.option(will, { nil: undefined }),
  });

  it('comes back as it was', () => {
    fc.assert(fc.property(record, (one) => expect(decodeSessionRecord('c', encodeSessionRecord(one))).toEqual(one)));
  });

  it('is refused when it is damaged, by the name of its client', () => {
    for (const text of [
      '',
      '{}',
      '[]',
      '{"v":2}',
      '{"v":1,"born":1,"from":[],"epoch":-1,"expiry":0,"subscriptions":[]}',
    ])
      expect(() => decodeSessionRecord('client 7', Buffer.from(text))).toThrow(/client 7/);
  });
});

describe('packet ids', () => {
  it('are given once until they are free again, all 65,535 of them', () => {
    const table = new PacketIdTable();
    const given = new Set<number>();
    for (let i = 0; i < 65_535; i++) given.add(table.allocate(PacketIdState.qos1));
    expect([given.size, given.has(0), table.inUse]).toEqual([65_535, false, 65_535]);
    expect(table.allocate(PacketIdState.qos1)).toBe(0);
    table.release(4711);
    expect(table.allocate(PacketIdState.qos2)).toBe(4711);
  });

  it('keep what is in use apart, whatever comes and goes', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant('take' as const), fc.nat(40)), { maxLength: 200 }), (steps) => {
        const table = new PacketIdTable();
        const used = new Set<number>();
        for (const step of steps) {
          if (step === 'take') {
            const id = table.allocate(PacketIdState.qos1);
            expect(used.has(id)).toBe(false);
            used.add(id);
          } else {
            const id = [...used][step % Math.max(1, used.size)];
            if (id !== undefined) {
              table.release(id);
              used.delete(id);
            }
          }
        }
        expect(table.inUse).toBe(used.size);
      }),
    );
  });
});
