// Time and order of a simulated cluster.
//
// Everything that happens is an event of this queue: timers, turns, the answers of disks and databases, the arrival of
// messages. Between two events all promises settle. So the order of everything is a function of the seed.
//
// Invariants:
//   W1. Events happen in order of time, then rank, then the order in which they were asked for.
//   W2. What a life of a host asked for happens in that life or never.
//   W3. A paused host does nothing. When it goes on its timers come first and what the network brought after them, as
//       in Node, which runs timers before it polls.

import { BinaryHeap } from '@robustmq/stdx/binary-heap';
import { type Clock, systemClock, type Timer } from '@robustmq/stdx/clock';

/** A machine, over all lives of the process on it. */
export interface SimHost {
  readonly id: number;
  /** How fast its clock runs. */
  readonly rate: number;
  wallOffsetMs: number;
  life: number;
  pausedUntilMs: number;
}

export interface SimEvent {
  /** Whose doing it is; undefined: the simulation's own. */
  readonly host?: SimHost;
  /** `any`: it reaches whatever life there is then, as what is on the wire does. */
  readonly life?: 'any';
  readonly source: 'timer' | 'turn' | 'disk' | 'wire' | 'script';
  readonly fire: () => void;
}

interface Queued {
  readonly host: SimHost | undefined;
  /** The life it must happen in; undefined: any. */
  readonly boundTo: number | undefined;
  readonly source: SimEvent['source'];
  readonly fire: () => void;
  dueMs: number;
  rank: number;
  order: number;
  cancelled: boolean;
}

const RANK_ON_RESUME = { timer: -3, turn: -2, disk: -1, wire: -1, script: -1 } as const;
const SOURCES = ['timer', 'turn', 'disk', 'wire', 'script'] as const;
/** A timer never fires before its time as its own clock shows it, whatever the conversion between clocks rounds away. */
const ROUNDING_MS = 1e-6;
const WALL_ORIGIN_MS = Date.UTC(2026, 0, 1);

export class SimWorld {
  readonly #queue = new BinaryHeap<Queued>(comesBefore);
  #nowMs = 0;
  #order = 0;
  #events = 0;
  #trace = 0x811c9dc5;

  /** Of the simulation; a host's clock may run at another rate. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get events(): number {
    return this.#events;
  }

  /** Of everything that happened and was noted. */
  get trace(): number {
    return this.#trace >>> 0;
  }

  /** Makes it part of the trace. */
  note(...values: readonly number[]): void {
    for (const value of values) this.#trace = Math.imul(this.#trace ^ (value | 0), 0x01000193);
  }

  schedule(delayMs: number, event: SimEvent): Timer {
    const { host, source, fire } = event;
    const queued: Queued = {
      host,
      boundTo: event.life === 'any' ? undefined : host?.life,
      source,
      fire,
      dueMs: this.#nowMs + Math.max(0, delayMs),
      rank: 0,
      order: this.#order++,
      cancelled: false,
    };
    this.#queue.push(queued);
    return {
      cancel: () => {
        queued.cancelled = true;
      },
    };
  }

  /** Resolves after the time has passed; never when the host's life ends before (W2). */
  passed(delayMs: number, event: Omit<SimEvent, 'fire'>): Promise<void> {
    return new Promise((resolve) => {
      this.schedule(delayMs, { ...event, fire: resolve });
    });
  }

  /** The clock of the host's present life. */
  clock(host: SimHost): Clock {
    return {
      now: () => this.#nowMs * host.rate,
      wallTime: () => Math.floor(WALL_ORIGIN_MS + host.wallOffsetMs + this.#nowMs * host.rate),
      setTimer: (delayMs, fire) =>
        this.schedule(Math.max(0, delayMs) / host.rate + ROUNDING_MS, { host, source: 'timer', fire }),
      setImmediate: (fire) => {
        this.schedule(0, { host, source: 'turn', fire });
      },
    };
  }

  async runUntil(untilMs: number): Promise<void> {
    for (let next = this.#queue.peek(); next && next.dueMs <= untilMs; next = this.#queue.peek()) {
      this.#queue.shift();
      if (!this.#isDue(next)) continue;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#events++;
      this.note(this.#nowMs * 64, (next.host?.id ?? 0) * 8 + SOURCES.indexOf(next.source));
      next.fire();
      // A turn of the real event loop: every promise that can settle has settled when it is over.
      await new Promise<void>((resolve) => systemClock.setImmediate(resolve));
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #isDue(event: Queued): boolean {
    const { host, boundTo } = event;
    if (event.cancelled || (host && boundTo !== undefined && boundTo !== host.life)) return false; // W2
    if (!host || host.pausedUntilMs <= event.dueMs) return true;
    event.dueMs = host.pausedUntilMs; // W3
    event.rank = RANK_ON_RESUME[event.source];
    event.order = this.#order++;
    this.#queue.push(event);
    return false;
  }
}

function comesBefore(a: Queued, b: Queued): boolean {
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
  return a.rank === b.rank ? a.order < b.order : a.rank < b.rank; // W1
}
