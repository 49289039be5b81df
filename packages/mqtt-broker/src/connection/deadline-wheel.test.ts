import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { Deadline, DeadlineWheel, TICK_MS } from './deadline-wheel.js';

class Recorder extends Deadline {
  readonly due: number[] = [];
  readonly #clock: ManualClock;
  readonly #again: (due: number) => number;

  constructor(clock: ManualClock, again: (due: number) => number = () => 0) {
    super();
    this.#clock = clock;
    this.#again = again;
  }

  onDue(): number {
    this.due.push(this.#clock.now());
    return this.#again(this.due.length);
  }
}

describe('DeadlineWheel', () => {
  it.each([1, 499, 500, 1500, 90_000, 98_302_500])('is due after %i ms, never early and at most a tick late', (ms) => {
    const clock = new ManualClock();
    const wheel = new DeadlineWheel(clock);
    const deadline = new Recorder(clock);
    clock.advance(123); // not at the beginning of a tick
    wheel.set(deadline, DeadlineWheel.ticksFor(ms));
    clock.advance(ms - 1);
    expect(deadline.due).toEqual([]);
    clock.advance(2 * TICK_MS);
    expect(deadline.due).toHaveLength(1);
    expect((deadline.due[0] ?? 0) - 123).toBeGreaterThanOrEqual(ms);
    expect(wheel.count).toBe(0);
    clock.advance(10_000);
    expect(clock.pendingTimers).toBe(0); // an empty wheel does not turn
  });

  it('looks again after the ticks the deadline asks for', () => {
    const clock = new ManualClock();
    const wheel = new DeadlineWheel(clock);
    const deadline = new Recorder(clock, (times) => (times < 3 ? 4 : 0));
    wheel.set(deadline, 2);
    clock.advance(60_000);
    expect(deadline.due).toEqual([1000, 3000, 5000]);
  });

  it('forgets what was cancelled, and moves what is set again', () => {
    const clock = new ManualClock();
    const wheel = new DeadlineWheel(clock);
    const cancelled = new Recorder(clock);
    const moved = new Recorder(clock);
    wheel.set(cancelled, 2);
    wheel.set(moved, 2);
    wheel.set(moved, 600); // beyond one revolution
    wheel.cancel(cancelled);
    wheel.cancel(cancelled);
    expect(wheel.count).toBe(1);
    clock.advance(400_000);
    expect(cancelled.due).toEqual([]);
    expect(moved.due).toEqual([300_000]);
  });

  it('lets a deadline cancel its neighbours of the same slot', () => {
    const clock = new ManualClock();
    const wheel = new DeadlineWheel(clock);
    const last = new Recorder(clock);
    const first = new Recorder(clock, () => {
      wheel.cancel(last);
      return 512; // the same slot, one revolution on
    });
    wheel.set(first, 2);
    wheel.set(last, 2);
    clock.advance(2000);
    expect(first.due).toEqual([1000]);
    expect(last.due).toEqual([]);
    expect(wheel.count).toBe(1);
  });
});
