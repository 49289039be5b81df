import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BinaryHeap } from './binary-heap.js';

describe('BinaryHeap', () => {
  it('gives back what was pushed, smallest first, however pushes and shifts are mixed', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.integer(), fc.constant('shift' as const)), { maxLength: 300 }), (steps) => {
        const heap = new BinaryHeap<number>((a, b) => a < b);
        const model: number[] = [];
        for (const step of steps) {
          if (step === 'shift') {
            model.sort((a, b) => a - b);
            expect(heap.shift()).toBe(model.shift());
          } else {
            heap.push(step);
            model.push(step);
          }
          expect(heap.length).toBe(model.length);
          expect(heap.peek()).toBe(model.length === 0 ? undefined : Math.min(...model));
        }
      }),
    );
  });
});
