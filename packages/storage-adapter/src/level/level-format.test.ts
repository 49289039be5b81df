import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Offset } from '../record.js';
import {
  groupKey,
  groupRange,
  newestKey,
  offsetOfRecordKey,
  offsetOfTagKey,
  producerKey,
  recordKey,
  recordRange,
  shardOfGroupKey,
  shardRanges,
  tagKey,
  tagRange,
} from './level-keys.js';
import * as values from './level-values.js';

const offset = fc.oneof(fc.nat(), fc.maxSafeNat());
const shard = fc.oneof(fc.nat({ max: 300 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const text = fc.string({ unit: 'binary', maxLength: 20 });
const within = ({ gte, lt }: { gte: Buffer; lt: Buffer }, key: Buffer) =>
  Buffer.compare(gte, key) <= 0 && Buffer.compare(key, lt) < 0;

describe('the keys of the level driver', () => {
  it('stand as the head of level-keys.ts says', () => {
    expect(recordKey(7, 258).toString('hex')).toBe('52000000070000000000000102');
    expect(tagKey(1, 'ab', 3).toString('hex')).toBe('54000000010002616200000000000000' + '03');
  });

  it('are in the order of shards, then offsets, and give the offset back', () => {
    fc.assert(
      fc.property(shard, shard, offset, offset, (s1, s2, o1, o2) => {
        const expected = Math.sign(s1 === s2 ? o1 - o2 : s1 - s2);
        expect(Buffer.compare(recordKey(s1, o1), recordKey(s2, o2))).toBe(expected);
        expect(offsetOfRecordKey(recordKey(s1, o1))).toBe(o1);
        expect(within(recordRange(s1, o1, o2), recordKey(s2, o1))).toBe(s1 === s2 && o1 < o2);
      }),
    );
  });

  it('of a tag, a group or a shard lie in its range, and no others do', () => {
    fc.assert(
      fc.property(shard, shard, text, text, offset, (s1, s2, a, b, o) => {
        const range = tagRange(s1, a, { from: 0, to: Number.MAX_SAFE_INTEGER });
        const inRange = o < Number.MAX_SAFE_INTEGER;
        expect(within(range, tagKey(s1, a, o))).toBe(inRange);
        expect(within(range, tagKey(s2, b, o))).toBe(inRange && s1 === s2 && Buffer.from(a).equals(Buffer.from(b)));
        expect(offsetOfTagKey(tagKey(s1, a, o))).toBe(o);
        expect(within(groupRange(a), groupKey(b, 'shard'))).toBe(Buffer.from(a).equals(Buffer.from(b)));
        expect(shardOfGroupKey(groupKey(a, 'x/y'))).toBe('x/y');
        for (const key of [recordKey(s2, o), newestKey(s2, a), tagKey(s2, a, o), producerKey(s2, b)])
          expect(shardRanges(s1).some((one) => within(one, key))).toBe(s1 === s2);
      }),
    );
  });
});

describe('the values of the level driver', () => {
  it('give back what was encoded', () => {
    const tags = fc.array(text, { maxLength: 4 });
    const record = fc.record({
      key: fc.option(text, { nil: undefined }),
      tags,
      payload: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    });
    fc.assert(
      fc.property(record, offset, offset, tags, ({ key, tags: own, payload }, at, time, more) => {
        const bytes = values.encodeRecord({ ...(key === undefined ? {} : { key }), tags: own, payload });
        values.stampRecord(bytes, time);
        const back = values.decodeRecord(at, bytes);
        const utf8 = (s: string) => Buffer.from(s).toString();
        const expected = {
          offset: at,
          timestampMs: time,
          key: key === undefined ? key : utf8(key),
          tags: own.map(utf8),
        };
        expect({ ...back, payload: undefined }).toEqual({ ...expected, payload: undefined });
        expect(back.payload.equals(payload)).toBe(true);
        const newest = { offset: at, payloadBytes: payload.length, tags: more.map(utf8) };
        expect(values.decodeNewest(values.encodeNewest(newest))).toEqual(newest);
        const head = { logStart: at, end: time, lastTimestampMs: 7, payloadBytes: at };
        expect(values.decodeHead(values.encodeHead(head))).toEqual(head);
      }),
    );
  });

  it('give back configurations and producers', () => {
    for (const config of [
      { cleanup: 'keep' },
      { cleanup: 'compact' },
      { cleanup: 'delete', retentionMs: 0 },
      { cleanup: 'delete', retentionBytes: 2 ** 50, retentionMs: 5 },
    ] as const)
      expect(values.decodeShard(values.encodeShard({ number: 9, config }))).toEqual({ number: 9, config });
    const result = { firstOffset: 3 as Offset, lastOffset: 6 as Offset }; // as a batch of four gets them
    const producer = { epoch: 2 ** 40, batches: [{ sequence: 12, records: 4, result }] };
    expect(values.decodeProducer(values.encodeProducer(producer))).toEqual(producer);
  });
});
