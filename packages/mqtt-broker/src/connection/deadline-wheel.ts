// Many deadlines, one timer.
//
// A connection has one deadline at a time: its CONNECT must arrive, its session must attach, its client
// must show life [MQTT-3.1.2-22], its last bytes must leave. They sit in slots of half a second on a wheel,
// and traffic moves none of them: a connection stamps `lastSeen` with the current tick, and when its slot
// comes up it says how much longer it may stay. So a packet costs one store and an idle connection one
// look per keep-alive interval.
//
//   D1. A deadline is never due early, and at most one tick late.
//   D2. An entry sits in at most one slot; removing it is O(1), so a closed connection leaves nothing behind.

import { assert } from '@robustmq/stdx/assert';
import type { Clock, Timer } from '@robustmq/stdx/clock';

export const TICK_MS = 500;
/** Deadlines beyond one revolution (256 s) stay in their slot and are looked at once per revolution. */
const SLOTS = 512;

export abstract class Deadline {
  /** The tick in which it is looked at. */
  dueTick = 0;
  /** Neighbours in the slot; both undefined when it is on no wheel. */
  next: Deadline | undefined;
  previous: Deadline | undefined;
  /** Called when due; returns how many ticks later it wants to be looked at again, or 0 when it is over. */
  abstract onDue(tick: number): number;
}

class SlotHead extends Deadline {
  override next: Deadline = this;
  override previous: Deadline = this;
  onDue(): number {
    return 0;
  }
}

export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #slots: SlotHead[] = [];
  readonly #startMs: number;
  #timer: Timer | undefined;
  /** At rest while it is empty: no timer, and the tick stands still. */
  #motion: 'at rest' | 'turning' = 'at rest';
  #count = 0;
  /** The current half second. Stamped by connections when their clients show life. */
  tick = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.now();
    for (let i = 0; i < SLOTS; i++) this.#slots.push(new SlotHead());
  }

  get count(): number {
    return this.#count;
  }

  /** Ticks until at least `ms` have passed, also when this tick is nearly over (D1). */
  static ticksFor(ms: number): number {
    return Math.ceil(ms / TICK_MS) + 1;
  }

  /** Puts the deadline `ticks` ahead, wherever it was before. */
  set(deadline: Deadline, ticks: number): void {
    assert(ticks > 0, 'a deadline lies ahead');
    if (this.#motion === 'at rest') this.#wakeUp();
    this.cancel(deadline); // D2
    this.#link(deadline, this.tick + ticks);
    this.#count++;
  }

  /** Takes it off the wheel; harmless when it is not on it. */
  cancel(deadline: Deadline): void {
    if (deadline.next === undefined || deadline.previous === undefined) return;
    unlink(deadline);
    this.#count--;
  }

  close(): void {
    this.#timer?.cancel();
  }

  #wakeUp(): void {
    this.#motion = 'turning';
    this.tick = Math.max(this.tick, this.#tickOfNow());
    this.#arm();
  }

  #tickOfNow(): number {
    return Math.floor((this.#clock.now() - this.#startMs) / TICK_MS);
  }

  #link(deadline: Deadline, dueTick: number): void {
    deadline.dueTick = dueTick;
    const head = this.#slots[dueTick % SLOTS] as SlotHead; // there are SLOTS of them
    deadline.previous = head.previous;
    deadline.next = head;
    head.previous.next = deadline;
    head.previous = deadline;
  }

  #arm(): void {
    const nextTickMs = this.#startMs + (this.tick + 1) * TICK_MS;
    this.#timer = this.#clock.setTimer(nextTickMs - this.#clock.now(), () => this.#turn());
  }

  #turn(): void {
    // A process that was stopped, or a clock that leapt, goes through every tick it missed, once around at most.
    const now = this.#tickOfNow();
    this.tick = Math.max(this.tick, now - SLOTS);
    while (this.tick < now) {
      this.tick++;
      this.#visit(this.#slots[this.tick % SLOTS] as SlotHead); // there are SLOTS of them
    }
    if (this.#count > 0) this.#arm();
    else this.#motion = 'at rest';
  }

  #visit(head: SlotHead): void {
    if (head.next === head) return;
    // The slot is emptied first: whoever stays is linked anew, and onDue may cancel anybody.
    const visiting = new SlotHead();
    visiting.next = head.next;
    visiting.previous = head.previous;
    visiting.next.previous = visiting;
    visiting.previous.next = visiting;
    head.next = head;
    head.previous = head;
    while (visiting.next !== visiting) this.#look(visiting.next);
  }

  #look(entry: Deadline): void {
    unlink(entry);
    if (entry.dueTick > this.tick) {
      this.#link(entry, entry.dueTick); // not in this revolution
      return;
    }
    this.#count--;
    const again = entry.onDue(this.tick);
    if (again > 0 && entry.next === undefined) this.set(entry, again);
  }
}

function unlink(deadline: Deadline): void {
  if (deadline.previous !== undefined) deadline.previous.next = deadline.next;
  if (deadline.next !== undefined) deadline.next.previous = deadline.previous;
  deadline.next = undefined;
  deadline.previous = undefined;
}
