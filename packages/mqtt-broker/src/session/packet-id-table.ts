// The packet ids of messages on their way to one client, and how far each has come.
//
// Invariants:
//   I1. An id in use is never allocated again. [MQTT-2.2.1-3]
//   I2. Ids are tried in rising order from the last one given, so that an id rests before it is used again:
//       a late ack of an old message then seldom hits a new one.

import { assert } from '@robustmq/stdx/assert';

/** free → qos1 → free, or free → qos2 → released → free; `released` means PUBREC came and PUBREL was sent. */
export const PacketIdState = { free: 0, qos1: 1, qos2: 2, released: 3 } as const;
export type PacketIdState = (typeof PacketIdState)[keyof typeof PacketIdState];

const LARGEST_ID = 65_535;
/** An idle client has nothing in flight and holds no table; the first is small, and doubles when full. */
const NONE = new Uint8Array(0);
const FIRST_SIZE = 16;

export class PacketIdTable {
  /** states[id - 1]. */
  #states: Uint8Array = NONE;
  #last = 0;
  #inUse = 0;

  get inUse(): number {
    return this.#inUse;
  }

  /** A free id, now in the given state; 0 when all 65,535 are taken. */
  allocate(state: PacketIdState): number {
    if (this.#inUse === this.#states.length && !this.#grow()) return 0;
    const states = this.#states;
    let at = this.#last; // I2: the id after the last one is at index #last
    for (;;) {
      if (at >= states.length) at = 0;
      if (states[at] === PacketIdState.free) break; // there is one: inUse < length
      at++;
    }
    states[at] = state;
    this.#last = at + 1;
    this.#inUse++;
    return at + 1;
  }

  /** Takes an id that the past decided: the state of a session read back from storage. */
  occupy(id: number, state: PacketIdState): void {
    while (id > this.#states.length) assert(this.#grow(), 'a packet id is at most 65,535');
    assert(this.#states[id - 1] === PacketIdState.free, `packet id ${id} is occupied once`); // I1
    this.#states[id - 1] = state;
    this.#inUse++;
  }

  stateOf(id: number): PacketIdState {
    return (this.#states[id - 1] ?? PacketIdState.free) as PacketIdState; // only states are stored
  }

  /** Moves an id that is in use to its next state. */
  advance(id: number, state: PacketIdState): void {
    this.#states[id - 1] = state;
  }

  release(id: number): void {
    if (this.stateOf(id) === PacketIdState.free) return;
    this.#states[id - 1] = PacketIdState.free;
    this.#inUse--;
  }

  #grow(): boolean {
    if (this.#states.length >= LARGEST_ID) return false;
    const larger = new Uint8Array(Math.min(LARGEST_ID, Math.max(FIRST_SIZE, this.#states.length * 2)));
    larger.set(this.#states);
    this.#last = this.#states.length;
    this.#states = larger;
    return true;
  }
}
