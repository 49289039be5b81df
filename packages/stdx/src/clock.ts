// Time as an argument.
//
// Everything that waits or dates takes a Clock, so that a whole cluster can run on a ManualClock in one
// thread under one seed. `systemClock` is the only place of the repository that touches the real timers.

import { assert } from './assert.js';

export interface Timer {
  /** Stops the timer; nothing happens when it has fired or was cancelled before. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin; never goes back. For durations and deadlines. */
  now(): number;
  /** Whole milliseconds since 1970-01-01 UTC; may jump. For what people read and what outlives the process. */
  wallTime(): number;
  /** Calls `fire` once, not before `delayMs` have passed. A delay beyond 2^31-1 ms is legal. */
  setTimer(delayMs: number, fire: () => void): Timer;
  /** Calls `fire` once in a later turn, after what is already queued in this one. */
  setImmediate(fire: () => void): void;
}

/** Node fires a timer beyond this at once (its delays are 32-bit), so a longer one is chained. */
const LONGEST_NODE_DELAY_MS = 2 ** 31 - 1;

class NodeTimer implements Timer {
  #handle: NodeJS.Timeout | undefined;

  constructor(delayMs: number, fire: () => void) {
    this.#arm(Math.max(0, delayMs), fire);
  }

  #arm(remainingMs: number, fire: () => void): void {
    const step = Math.min(remainingMs, LONGEST_NODE_DELAY_MS);
    this.#handle = setTimeout(() => {
      if (remainingMs > step) this.#arm(remainingMs - step, fire);
      else fire();
    }, step);
    // A pending timer alone never keeps the process alive: sockets and servers do.
    this.#handle.unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimer: (delayMs, fire) => new NodeTimer(delayMs, fire),
  setImmediate: (fire) => {
    setImmediate(fire);
  },
};

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/**
 * A clock that stands still until told to advance.
 *
 * Invariants:
 *   C1. Timers fire in order of their due time; equal due times fire in the order they were set.
 *   C2. While a timer fires, now() is its due time.
 */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #wallOriginMs: number;
  #order = 0;
  #timers: PendingTimer[] = [];

  constructor(options: { readonly startMs?: number; readonly wallTimeMs?: number } = {}) {
    this.#nowMs = options.startMs ?? 0;
    this.#wallOriginMs = (options.wallTimeMs ?? Date.UTC(2026, 0, 1)) - this.#nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallTime(): number {
    return Math.floor(this.#wallOriginMs + this.#nowMs);
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const timer: PendingTimer = {
      dueMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order++,
      fire,
      cancelled: false,
    };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.cancelled = true;
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Turns are real even on a manual clock: only the passing of time is simulated. */
  setImmediate(fire: () => void): void {
    setImmediate(fire);
  }

  /** How many timers wait. A test that expects quiet asserts 0. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** When the next timer is due, in now() milliseconds. */
  get nextDueMs(): number | undefined {
    return this.#earliest()?.dueMs;
  }

  /** Moves time forward and fires what comes due, in order (C1). Synchronous. */
  advance(byMs: number): void {
    assert(byMs >= 0, 'time only moves forward');
    const untilMs = this.#nowMs + byMs;
    for (let next = this.#earliest(); next && next.dueMs <= untilMs; next = this.#earliest()) {
      const timer = next;
      this.#timers = this.#timers.filter((other) => other !== timer);
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs); // C2
      timer.fire();
    }
    this.#nowMs = untilMs;
  }

  /** Moves time forward as advance() does, but lets promises and turns settle after every timer. */
  async advanceAndSettle(byMs: number): Promise<void> {
    assert(byMs >= 0, 'time only moves forward');
    const untilMs = this.#nowMs + byMs;
    await settleTurn();
    for (let next = this.#earliest(); next && next.dueMs <= untilMs; next = this.#earliest()) {
      this.advance(Math.max(0, next.dueMs - this.#nowMs));
      await settleTurn();
    }
    this.advance(Math.max(0, untilMs - this.#nowMs));
    await settleTurn();
  }

  #earliest(): PendingTimer | undefined {
    let earliest: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.cancelled) continue;
      if (
        !earliest ||
        timer.dueMs < earliest.dueMs ||
        (timer.dueMs === earliest.dueMs && timer.order < earliest.order) // C1
      ) {
        earliest = timer;
      }
    }
    return earliest;
  }
}

/** Lets everything that is already queued run: promises, next ticks, and one turn of the event loop. */
function settleTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
