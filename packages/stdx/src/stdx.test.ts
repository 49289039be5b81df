// One file for the small parts: each costs jest more to load than to test.

import zlib from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AssertionFailure, assert, unreachable } from './assert.js';
import { Backoff } from './backoff.js';
import { BoundedQueue } from './bounded-queue.js';
import { ByteReader, UnexpectedEnd } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { CodedError, errorMessage } from './coded-error.js';
import { crc32, sliceBy4 } from './crc32.js';
import { createPrng } from './prng.js';
import { Watermark } from './watermark.js';

describe('assert', () => {
  it('passes what holds and names what does not', () => {
    expect(() => assert(1 + 1 === 2, 'arithmetic')).not.toThrow();
    expect(() => assert(false, 'water is dry')).toThrow(new AssertionFailure('water is dry'));
    expect(() => unreachable('stray' as never)).toThrow('unreachable value: "stray"'); // what the compiler would refuse
  });
});

describe('prng', () => {
  it('gives the same numbers for the same seed, others for another', () => {
    const draw = (seed: string) => Array.from({ length: 50 }, createPrng(seed).next.bind(createPrng(seed)));
    expect(draw('a')).toEqual(draw('a'));
    expect(draw('a')).not.toEqual(draw('b'));
  });

  it('forks without shifting the parent', () => {
    const alone = createPrng(7);
    const parent = createPrng(7);
    const child = parent.fork('disk');
    child.next();
    expect(parent.next()).toBe(alone.next());
    expect(createPrng(7).fork('disk').next()).toBe(createPrng(7).fork('disk').next());
    expect(createPrng(7).fork('disk').next()).not.toBe(createPrng(7).fork('network').next());
  });

  it('stays within its range and reaches both ends', () => {
    const prng = createPrng(1);
    const drawn = new Set(Array.from({ length: 200 }, () => prng.between(3, 5)));
    expect([...drawn].sort()).toEqual([3, 4, 5]);
    const mean = Array.from({ length: 10_000 }, () => prng.next()).reduce((sum, x) => sum + x, 0) / 10_000;
    expect(mean).toBeGreaterThan(0.48);
    expect(mean).toBeLessThan(0.52);
  });
});

describe('Backoff', () => {
  it('doubles up to its limit, within the upper half, and starts again after a success', () => {
    const backoff = new Backoff({ firstMs: 100, longestMs: 1_000 }, createPrng(1));
    for (const ceiling of [100, 200, 400, 800, 1_000, 1_000]) {
      const delay = backoff.nextDelayMs();
      expect(delay).toBeGreaterThanOrEqual(ceiling / 2);
      expect(delay).toBeLessThanOrEqual(ceiling);
    }
    backoff.reset();
    expect(backoff.nextDelayMs()).toBeLessThanOrEqual(100);
  });
});

describe('BoundedQueue', () => {
  it('behaves as a list that refuses beyond its capacity', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.boolean()), (capacity, pushes) => {
        const queue = new BoundedQueue<number>(capacity);
        const model: number[] = [];
        pushes.forEach((push, i) => {
          if (push) {
            expect(queue.push(i)).toBe(model.length < capacity);
            if (model.length < capacity) model.push(i);
          } else expect(queue.shift()).toBe(model.shift());
          expect(queue.length).toBe(model.length);
          expect(queue.peek()).toBe(model[0]);
        });
      }),
    );
  });

  it('is empty after clear', () => {
    const queue = new BoundedQueue<string>(2);
    queue.push('a');
    queue.clear();
    expect([queue.length, queue.isFull, queue.shift()]).toEqual([0, false, undefined]);
  });
});

describe('crc32', () => {
  it('gives the check value of the standard', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  it('agrees with zlib at every length, and continues from a seed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat({ max: 600 }), (bytes, cut) => {
        const whole = crc32(bytes);
        const head = bytes.subarray(0, cut);
        const tail = bytes.subarray(head.length);
        expect(sliceBy4(bytes, 0)).toBe(whole);
        expect(crc32(tail, crc32(head))).toBe(whole);
        expect((zlib as unknown as { crc32(data: Uint8Array): number }).crc32(bytes)).toBe(whole); // not in these types
      }),
    );
  });
});

describe('ByteWriter and ByteReader', () => {
  it('read back what was written', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 255 }),
        fc.nat({ max: 0xffff }),
        fc.nat({ max: 0xffffffff }),
        fc.maxSafeNat(),
        fc.string({ unit: 'grapheme' }),
        fc.uint8Array(),
        (a, b, c, d, text, bytes) => {
          const written = new ByteWriter(16).u8(a).u16(b).u32(c).u64(d).string(text).bytes(bytes).finish();
          const reader = new ByteReader(written);
          expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.string()]).toEqual([a, b, c, d, text]);
          expect(Buffer.compare(reader.bytes(), bytes)).toBe(0);
          expect(reader.left).toBe(0);
        },
      ),
    );
  });

  it('says so when the bytes end early, and refuses numbers that a number cannot hold', () => {
    expect(() => new ByteReader(Buffer.from([0, 0, 0, 9, 1])).bytes()).toThrow(UnexpectedEnd);
    expect(() => new ByteReader(Buffer.alloc(8, 0xff)).u64()).toThrow(RangeError);
    expect(() => new ByteWriter().u64(2 ** 53)).toThrow(AssertionFailure);
  });
});

describe('CodedError', () => {
  class KitchenError extends CodedError<'BURNT'> {
    constructor(message: string, cause: unknown) {
      super({ code: 'BURNT', kind: { next: 'later', when: 'the oven was too hot' } }, message, { cause });
    }
  }

  it('carries code, next step, name and cause', () => {
    const cause = new Error('300 degrees');
    const error = new KitchenError('the bread is black', cause);
    expect(error).toMatchObject({ code: 'BURNT', next: 'later', name: 'KitchenError', cause });
    expect(errorMessage(error)).toBe('the bread is black');
    expect(errorMessage('plain')).toBe('plain');
  });
});

describe('Watermark', () => {
  it('resolves those it has reached, and only those', async () => {
    const mark = new Watermark(0);
    const reached: number[] = [];
    const waits = [3, 1, 2].map((target) => mark.reaches(target).then(() => reached.push(target)));
    mark.raise(2);
    await Promise.all(waits.slice(1));
    expect(reached.sort()).toEqual([1, 2]);
    expect(mark.waiting).toBe(1);
    mark.raise(3);
    await Promise.all(waits);
  });

  it('never falls (W1)', () => {
    const mark = new Watermark(5);
    expect(() => mark.raise(4)).toThrow(AssertionFailure);
  });

  it('gives up a wait whose signal aborts, and forgets it (W2)', async () => {
    const mark = new Watermark(0);
    const controller = new AbortController();
    const wait = mark.reaches(1, { signal: controller.signal });
    controller.abort(new Error('no patience'));
    await expect(wait).rejects.toThrow('no patience');
    expect(mark.waiting).toBe(0);
    await expect(mark.reaches(1, { signal: controller.signal })).rejects.toThrow('no patience');
  });

  it('tells everybody when it fails, before and after', async () => {
    const mark = new Watermark(0);
    const before = mark.reaches(1);
    mark.fail(new Error('disk gone'));
    await expect(before).rejects.toThrow('disk gone');
    await expect(mark.reaches(1)).rejects.toThrow('disk gone');
  });
});
