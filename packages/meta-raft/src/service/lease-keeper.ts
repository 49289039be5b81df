import { BinaryHeap } from '@robustmq/stdx/binary-heap';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { LeaseId, LeaseRecord } from '../state/record.js';

export interface LeaseKeeperDeps {
  readonly clock: Clock;
  /**
   * Proposes the expiry, fenced by the term of the leadership. Resolves whatever came of it; the lease is
   * asked about again when it is still there.
   */
  readonly expire: (lease: LeaseRecord, term: number) => Promise<void>;
}

export type KeepAliveOutcome =
  | { readonly outcome: 'renewed'; readonly ttlMs: number }
  | { readonly outcome: 'not-found' }
  | { readonly outcome: 'not-leading' };

interface Countdown {
  readonly lease: LeaseRecord;
  deadlineMs: number;
  /** `unclear`: an expiry was proposed and may still be applied, or may not: it is proposed again. */
  phase: 'running' | 'expiring' | 'unclear';
}

interface Due {
  readonly deadlineMs: number;
  readonly countdown: Countdown;
}

/** How many expiries are proposed at once: a thousand leases that end together must not crowd out the writes. */
const EXPIRING_MAX = 64;
/** When an expiry could not be proposed (overload), it is tried again after this. */
const EXPIRE_RETRY_MS = 500;

/**
 * Counts the time of leases, on the leader only. Keep-alives are not replicated: they move a deadline here, and
 * a new leader gives every lease its full ttl again.
 *
 * Invariants:
 *   K1. Counts only between lead() and follow(); an expiry carries the term it was decided in.
 *   K2. Time is monotonic (Clock.now): a jump of the wall clock expires nothing.
 *   K3. Once an expiry is proposed, a keep-alive no longer renews, whatever the proposer was told: a proposal that ran into
 *       its time limit may still be applied, and the keys that were promised again would go.
 */
export class LeaseKeeper {
  readonly #deps: LeaseKeeperDeps;
  readonly #countdowns = new Map<LeaseId, Countdown>();
  /** Holds at least one entry per running countdown at or before its deadline; others are stale. */
  readonly #due = new BinaryHeap<Due>((a, b) => a.deadlineMs < b.deadlineMs);
  #term: number | undefined;
  #timer: { readonly dueMs: number; readonly timer: Timer } | undefined;
  #expiring = 0;

  constructor(deps: LeaseKeeperDeps) {
    this.#deps = deps;
  }

  /** This node leads: every lease gets its full ttl (K1). */
  lead(term: number, leases: readonly LeaseRecord[]): void {
    this.follow();
    this.#term = term;
    for (const lease of leases) this.granted(lease);
  }

  /** This node no longer leads: whoever does counts now (K1). */
  follow(): void {
    this.#term = undefined;
    this.#countdowns.clear();
    this.#due.clear();
    this.#expiring = 0;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
  }

  granted(lease: LeaseRecord): void {
    if (this.#term === undefined) return;
    const countdown: Countdown = { lease, deadlineMs: this.#deps.clock.now() + lease.ttlMs, phase: 'running' };
    this.#countdowns.set(lease.id, countdown);
    this.#schedule(countdown);
  }

  removed(id: LeaseId): void {
    this.#countdowns.delete(id);
  }

  keepAlive(id: LeaseId): KeepAliveOutcome {
    if (this.#term === undefined) return { outcome: 'not-leading' };
    const countdown = this.#countdowns.get(id);
    if (countdown?.phase !== 'running') return { outcome: 'not-found' }; // K3
    // The heap keeps the earlier deadline; when that comes up, the countdown is put back with its new one.
    countdown.deadlineMs = this.#deps.clock.now() + countdown.lease.ttlMs;
    return { outcome: 'renewed', ttlMs: countdown.lease.ttlMs };
  }

  /** Milliseconds left, at least 0; undefined when it is not counted here. */
  remainingMs(id: LeaseId): number | undefined {
    const countdown = this.#countdowns.get(id);
    return countdown && Math.max(0, countdown.deadlineMs - this.#deps.clock.now());
  }

  #schedule(countdown: Countdown): void {
    this.#due.push({ deadlineMs: countdown.deadlineMs, countdown });
    this.#arm();
  }

  #arm(): void {
    const next = this.#due.peek();
    if (!next || this.#expiring >= EXPIRING_MAX) return;
    if (this.#timer && this.#timer.dueMs <= next.deadlineMs) return;
    this.#timer?.timer.cancel();
    const delayMs = next.deadlineMs - this.#deps.clock.now();
    this.#timer = { dueMs: next.deadlineMs, timer: this.#deps.clock.setTimer(delayMs, () => this.#onDue()) };
  }

  #onDue(): void {
    this.#timer = undefined;
    const now = this.#deps.clock.now();
    for (let next = this.#due.peek(); next && next.deadlineMs <= now; next = this.#due.peek()) {
      if (this.#expiring >= EXPIRING_MAX) return; // #arm() goes on when one of them has ended
      this.#due.shift();
      const { countdown } = next;
      if (this.#countdowns.get(countdown.lease.id) !== countdown || countdown.phase === 'expiring') continue; // stale
      if (countdown.deadlineMs > now) this.#due.push({ deadlineMs: countdown.deadlineMs, countdown });
      else void this.#expire(countdown);
    }
    this.#arm();
  }

  async #expire(countdown: Countdown): Promise<void> {
    const term = this.#term;
    if (term === undefined) return;
    countdown.phase = 'expiring';
    this.#expiring++;
    try {
      await this.#deps.expire(countdown.lease, term);
    } finally {
      if (this.#term === term) this.#expireEnded(countdown);
    }
  }

  #expireEnded(countdown: Countdown): void {
    this.#expiring--;
    if (this.#countdowns.get(countdown.lease.id) === countdown) {
      countdown.phase = 'unclear'; // K3
      countdown.deadlineMs = this.#deps.clock.now() + EXPIRE_RETRY_MS;
      this.#due.push({ deadlineMs: countdown.deadlineMs, countdown });
    }
    this.#arm();
  }
}
