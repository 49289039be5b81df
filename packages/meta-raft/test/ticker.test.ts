import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { Ticker } from '../src/driver/ticker.js';

/** A clock whose timers fire late, as those of a process that did not run. */
function stallable() {
  const clock = new ManualClock();
  let ticks = 0;
  const gaps: number[] = [];
  const ticker = new Ticker({
    clock,
    tickMs: 50,
    tick: () => {
      ticks++;
    },
    stalled: (gapMs) => gaps.push(gapMs),
  });
  return { clock, ticker, ticks: () => ticks, gaps };
}

describe('the ticker', () => {
  it('ticks on a grid that a late tick does not move', async () => {
    const { clock, ticks } = stallable();
    clock.advance(49);
    expect(ticks()).toBe(0);
    clock.advance(1);
    expect(ticks()).toBe(1);
    clock.advance(50 * 9);
    expect(ticks()).toBe(10);
  });

  it('counts a gap as one tick, after what was waiting in the sockets', async () => {
    const clock = new LateClock();
    const order: string[] = [];
    const ticker = new Ticker({
      clock,
      tickMs: 50,
      tick: () => order.push(`tick at ${clock.now()}`),
      stalled: (gapMs) => order.push(`stalled for ${gapMs}`),
    });
    clock.fireAt(50);
    clock.fireAt(800); // due at 100
    setImmediate(() => order.push('a frame'));
    await new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));
    expect(order).toEqual(['tick at 50', 'stalled for 700', 'a frame', 'tick at 800']);
    expect(clock.dueMs).toBe(850);
    clock.fireAt(850);
    expect(order.at(-1)).toBe('tick at 850');
    ticker.stop();
  });

  it('stops', () => {
    const { clock, ticker, ticks } = stallable();
    ticker.stop();
    clock.advance(500);
    expect(ticks()).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

class LateClock extends ManualClock {
  #late = 0;
  #fire: (() => void) | undefined;
  dueMs = 0;

  override now(): number {
    return this.#late;
  }

  override setTimer(delayMs: number, fire: () => void) {
    this.dueMs = this.#late + delayMs;
    this.#fire = fire;
    return { cancel: () => {} };
  }

  fireAt(ms: number): void {
    this.#late = ms;
    this.#fire?.();
  }
}
