import { describe, expect, it } from '@jest/globals';
import type { AppendRecord } from '@robustmq/storage-adapter';
import fc from 'fast-check';
import { BatchCursor, readProducer } from '../src/batch/batch-decoder.js';
import { encodeBody, producerBytes, recordBytes } from '../src/batch/batch-encoder.js';
import { type BatchPlace, bodyIsIntact, readHeader, sealBatch } from '../src/batch/batch-format.js';
import { decodeCheckpointState, encodeCheckpointState } from '../src/recovery/checkpoint-state.js';
import { parseSegmentFileName, Segment, segmentFileName, sidecarFileName } from '../src/segment/segment.js';
import { decodeSidecar, encodeSidecar } from '../src/segment/sidecar.js';
import { SparseIndex } from '../src/segment/sparse-index.js';
import { ProducerTable } from '../src/shard/producer-table.js';

const u32 = fc.nat({ max: 0xffff_ffff });
const u53 = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const records: fc.Arbitrary<AppendRecord[]> = fc.array(
  fc.record(
    {
      payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      key: fc.string({ maxLength: 20, unit: 'grapheme' }),
      tags: fc.array(fc.string({ maxLength: 10, unit: 'grapheme' }), { maxLength: 4 }),
    },
    { requiredKeys: ['payload'] },
  ),
  { minLength: 1, maxLength: 20 },
);
const producers = fc.option(fc.record({ id: fc.string({ unit: 'grapheme' }), epoch: u32, sequence: u53 }), {
  nil: undefined,
});
const places = fc.record({
  shardUid: u32,
  epoch: u32,
  generation: u32,
  baseOffset: fc.nat({ max: Number.MAX_SAFE_INTEGER - 100 }),
  timestampMs: u53,
  position: u53,
});

function encode(
  given: AppendRecord[],
  place: Omit<BatchPlace, 'kind' | 'hasProducer' | 'recordCount' | 'offsetSpan'>,
  producer: { id: string; epoch: number; sequence: number } | undefined,
): Buffer {
  const appends = [{ records: given.slice(0, 3) }, { records: given.slice(3) }];
  const batch = encodeBody(appends, recordBytes(given) + producerBytes(producer), producer);
  const count = given.length;
  sealBatch(batch, {
    ...place,
    kind: 'records',
    hasProducer: producer !== undefined,
    recordCount: count,
    offsetSpan: count,
  });
  return batch;
}

describe('a batch', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(records, places, producers, (given, place, producer) => {
        const batch = encode(given, place, producer);
        expect(readHeader(batch)).toMatchObject({ ...place, kind: 'records', recordCount: given.length });
        expect(bodyIsIntact(batch)).toBe(true);
        expect(readProducer(batch)).toEqual(producer);
        const cursor = new BatchCursor(batch);
        for (const [i, { key, tags = [], payload }] of given.entries())
          expect(cursor.next()).toEqual({
            offset: place.baseOffset + i,
            timestampMs: place.timestampMs,
            key,
            tags,
            payload,
          });
        expect(cursor.done).toBe(true);
      }),
    );
  });

  it('with any bit flipped is refused', () => {
    fc.assert(
      fc.property(records, places, producers, fc.nat(), (given, place, producer, at) => {
        const batch = encode(given, place, producer);
        const bit = at % (batch.length * 8);
        batch[bit >> 3] = (batch[bit >> 3] as number) ^ (1 << (bit & 7)); // within
        const header = readHeader(batch);
        expect(header !== undefined && header.bodyBytes === batch.length - 64 && bodyIsIntact(batch)).toBe(false);
      }),
    );
  });

  it('is walked from any record on, by key, without decoding', () => {
    const batch = encode(
      ['a', 'b', 'c'].map((key) => ({ key, payload: Buffer.from(key.toUpperCase()) })),
      { shardUid: 1, epoch: 1, generation: 0, baseOffset: 10, timestampMs: 5, position: 0 },
      undefined,
    );
    const cursor = new BatchCursor(batch);
    cursor.skipTo(11);
    expect([cursor.offset, cursor.key]).toEqual([11, 'b']);
    cursor.skip();
    expect(cursor.next()).toMatchObject({ offset: 12, key: 'c' });
  });
});

describe('what stands beside batches', () => {
  it('a producer table is read as it was written', () => {
    const table = new ProducerTable(3);
    for (let i = 0; i < 40; i++) table.admit({ id: `p${i % 4}`, epoch: 1, sequence: Math.floor(i / 4) * 2 }, 2, i * 2);
    const copy = new ProducerTable(3);
    copy.load(table.encode());
    expect(copy.encode()).toEqual(table.encode());
    expect(copy.size).toBe(3);
    copy.forgetFrom(0);
    expect(copy.admit({ id: 'p3', epoch: 1, sequence: 77 }, 1, 0)).toEqual({ kind: 'new' });
    expect(() => copy.admit({ id: 'p3', epoch: 0, sequence: 0 }, 1, 1)).toThrow(/replaced/);
  });

  it('a sidecar is read as it was written, and not at all when it is damaged or another one', () => {
    const segment = new Segment({ shardUid: 7, epoch: 3, generation: 1 }, 100);
    Object.assign(segment, { endOffset: 900, bytes: 5000, digest: 17, firstTimestampMs: 0, lastTimestampMs: 99 });
    const index = new SparseIndex(10);
    for (let i = 0; i < 50; i++) index.add(100 + i, i * 5, i);
    expect(index.count).toBe(25);
    const bytes = encodeSidecar(segment, index, Buffer.from('producers'));
    const sidecar = decodeSidecar(bytes, segment, 10);
    expect(sidecar).toMatchObject({
      endOffset: 900,
      bytes: 5000,
      digest: 17,
      firstTimestampMs: 0,
      lastTimestampMs: 99,
    });
    expect(sidecar?.producers.toString()).toBe('producers');
    expect(sidecar?.index.positionOf(120)).toBe(index.positionOf(120));
    const other = new Segment({ shardUid: 7, epoch: 4, generation: 1 }, 100);
    expect(decodeSidecar(bytes, other, 10)).toBeUndefined();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ 4; // within
      expect(decodeSidecar(damaged, segment, 10)).toBeUndefined();
    }
  });

  it('a sparse index finds the last entry at or before an offset, and before a time', () => {
    const index = new SparseIndex(1);
    for (let i = 0; i < 100; i++) index.add(i * 10, i * 7, Math.floor(i / 2));
    expect(index.positionOf(0)).toBe(0);
    expect(index.positionOf(9)).toBe(0);
    expect(index.positionOf(10)).toBe(7);
    expect(index.positionOf(5000)).toBe(99 * 7);
    expect(index.offsetBefore(0)).toBeUndefined();
    expect(index.offsetBefore(1)).toBe(10);
    expect(index.offsetBefore(1000)).toBe(990);
  });

  it('a checkpoint state and a file name are read as they were written', () => {
    const state = [{ shardUid: 1, epoch: 2, endOffset: 3, bytes: 2 ** 40, digest: 0xffff_ffff }];
    expect(decodeCheckpointState(encodeCheckpointState(state))).toEqual(state);
    const name = { shardUid: 4_294_967_295, epoch: 12, generation: 3 };
    expect(parseSegmentFileName(segmentFileName(name))).toEqual(name);
    expect(parseSegmentFileName(sidecarFileName(segmentFileName(name)))).toEqual(name);
    expect(parseSegmentFileName('journal.json')).toBeUndefined();
  });
});
