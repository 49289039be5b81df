import { describe, expect, it } from '@jest/globals';
import { ManualClock, systemClock } from './clock.js';

describe('ManualClock', () => {
  it('fires what comes due in order of time, then in the order it was set (C1)', () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    clock.setTimer(20, () => fired.push('late'));
    clock.setTimer(10, () => fired.push('first of two'));
    clock.setTimer(10, () => fired.push('second of two'));
    clock.advance(15);
    expect(fired).toEqual(['first of two', 'second of two']);
    clock.advance(5);
    expect(fired).toEqual(['first of two', 'second of two', 'late']);
  });

  it('shows a timer its own due time (C2), also one set while another fires', () => {
    const clock = new ManualClock({ startMs: 100 });
    const seen: number[] = [];
    clock.setTimer(10, () => {
      seen.push(clock.now());
      clock.setTimer(5, () => seen.push(clock.now()));
    });
    clock.advance(100);
    expect(seen).toEqual([110, 115]);
    expect(clock.now()).toBe(200);
  });

  it('never fires a cancelled timer', () => {
    const clock = new ManualClock();
    const timer = clock.setTimer(10, () => {
      throw new Error('cancelled');
    });
    timer.cancel();
    clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
  });

  it('moves wall time with it', () => {
    const clock = new ManualClock({ wallTimeMs: 1_000_000 });
    clock.advance(500);
    expect(clock.wallTime()).toBe(1_000_500);
  });

  it('lets promises settle between timers when asked to', async () => {
    const clock = new ManualClock();
    const order: string[] = [];
    clock.setTimer(10, () => {
      void Promise.resolve().then(() => order.push('promise of the first'));
    });
    clock.setTimer(20, () => order.push('second'));
    await clock.advanceAndSettle(30);
    expect(order).toEqual(['promise of the first', 'second']);
  });

  it('refuses to go back', () => {
    expect(() => new ManualClock().advance(-1)).toThrow('only moves forward');
  });
});

describe('systemClock', () => {
  it('does not go back, and fires a timer', async () => {
    const before = systemClock.now();
    // The timer alone keeps no process alive, but the test runner does.
    await new Promise<void>((resolve) => systemClock.setTimer(1, resolve));
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
  });

  it('takes delays beyond 2^31 - 1 ms instead of firing at once', async () => {
    let fired = false;
    const timer = systemClock.setTimer(2 ** 40, () => {
      fired = true;
    });
    await new Promise<void>((resolve) => systemClock.setTimer(5, resolve));
    timer.cancel();
    expect(fired).toBe(false);
  });
});
