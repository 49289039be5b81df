import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Histogram } from './histogram.js';
import { blankPayload, dueMsOf, isMarked, markOf, publisherOf, sequenceOf, stampPayload } from './payload.js';
import { ticksOfMachine, ticksOfProcess } from './processor-time.js';
import { SequenceAudit } from './sequence-audit.js';

describe('Histogram', () => {
  it('knows any quantile of any values to 1 %', () => {
    const values = fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, fraction) => {
        const histogram = new Histogram();
        for (const value of list) histogram.record(value);
        const sorted = [...list].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(fraction * list.length)) - 1] ?? Number.NaN;
        expect(Math.abs(histogram.quantile(fraction) - exact)).toBeLessThanOrEqual(exact * 0.01 + 0.5);
        expect(histogram.count).toBe(list.length);
        expect(histogram.max).toBe(sorted.at(-1));
      }),
    );
  });

  it('is exact for small values and never above the largest', () => {
    const histogram = new Histogram();
    for (let value = 0; value < 100; value++) histogram.record(value);
    expect([histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(1)]).toEqual([49, 98, 99]);
    histogram.record(1_000_001);
    expect(histogram.quantile(1)).toBeLessThanOrEqual(1_000_001);
  });

  it('takes what is out of range at its edge, and says 0 of nothing', () => {
    const histogram = new Histogram();
    expect(histogram.quantile(0.99)).toBe(0);
    histogram.record(-5);
    histogram.record(1e12);
    expect(histogram.quantile(0.5)).toBe(0);
    expect(histogram.max).toBe(1e12);
    expect(histogram.quantile(1)).toBeGreaterThan(2 ** 31 * 0.99);
  });
});

describe('the payload', () => {
  it('carries publisher, sequence and time wherever it lies', () => {
    const stamp = fc.record({
      sequence: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      dueMs: fc.double({ min: 0, max: 1e15, noNaN: true }),
    });
    fc.assert(
      fc.property(
        stamp,
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: 50 }),
        (written, publisher, at) => {
          const mark = markOf(77);
          const payload = blankPayload(64, { mark, publisher });
          const frame = Buffer.concat([Buffer.alloc(at, 0xff), payload]);
          stampPayload(frame, at, written);
          expect(isMarked(frame, { at, end: frame.length }, mark)).toBe(true);
          expect([publisherOf(frame, at), sequenceOf(frame, at), dueMsOf(frame, at)]).toEqual([
            publisher,
            written.sequence,
            written.dueMs,
          ]);
        },
      ),
    );
  });

  it('is not taken for that of another run, nor are a few bytes', () => {
    const payload = blankPayload(24, { mark: markOf(1), publisher: 0 });
    expect(isMarked(payload, { at: 0, end: 24 }, markOf(2))).toBe(false);
    expect(isMarked(payload, { at: 0, end: 23 }, markOf(1))).toBe(false);
    expect(markOf(2 ** 24 + 5)).toBe(markOf(5));
  });
});

describe('SequenceAudit', () => {
  it('counts what a list of everything seen would count', () => {
    const arrivals = fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 40 })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(arrivals, (list) => {
        const audit = new SequenceAudit(3, 'is zero');
        const seen = [new Set<number>(), new Set<number>(), new Set<number>()];
        let duplicates = 0;
        let outOfOrder = 0;
        for (const [stream, sequence] of list) {
          const before = seen[stream] ?? new Set();
          const isNew = !before.has(sequence);
          expect(audit.record(stream, sequence)).toBe(isNew ? 'first' : 'repeated');
          if (!isNew) duplicates++;
          else if ([...before].some((other) => other > sequence)) outOfOrder++;
          before.add(sequence);
        }
        const highest = seen.map((set) => Math.max(-1, ...set) + 1);
        const unique = seen.reduce((sum, set) => sum + set.size, 0);
        expect(audit.unique).toBe(unique);
        expect(audit.duplicates).toBe(duplicates);
        expect(audit.outOfOrder).toBe(outOfOrder);
        expect(audit.missing).toBe(highest.reduce((sum, count) => sum + count, 0) - unique);
      }),
    );
  });

  it('begins with whatever comes first where the publisher began before', () => {
    const audit = new SequenceAudit(1, 'is whatever comes first');
    for (const sequence of [1000, 1001, 1003]) audit.record(0, sequence);
    expect(audit).toMatchObject({ unique: 3, missing: 1, duplicates: 0 });
  });

  it('keeps no more than half a million gaps, and the newest of those', () => {
    const audit = new SequenceAudit(1, 'is zero');
    audit.record(0, 2_000_000);
    expect(audit.missing).toBe(2_000_000);
    expect(audit.record(0, 1_999_999)).toBe('first');
    expect(audit.record(0, 0)).toBe('repeated'); // forgotten
  });
});

describe('processor time', () => {
  it('is read behind a program name that looks like fields', () => {
    const stat = '4242 (mosquitto) 1 (x) S 1 4242 4242 0 -1 4194560 500 0 0 0 120 34 0 0 20 0 1 0 88 0 0';
    expect(ticksOfProcess(stat)).toBe(154);
  });

  it('of the machine is all but idle and waiting', () => {
    expect(ticksOfMachine('cpu  10 20 30 1000 500 4 5 6 0 0\ncpu0 1 1 1 1\n')).toBe(75);
    expect(ticksOfMachine('intr 5')).toBeNaN();
  });
});
