// What one shared subscription has not handed to a member yet, or must hand out again.
//
// While a member has room, messages pass by and nothing is kept here. When none has, a group with a durable
// member falls back to the log like a durable session does (durable-delivery.ts); another keeps a bounded
// queue.
//
// Invariants:
//   B1. A stored message that matches is leased to one member, settled, returned and waiting here, or at or
//       above the shard's position. The committed cursor is the lowest of what is leased or returned and the
//       position: a crash hands it out again, it does not lose it.
//   B2. What a member gave back goes out before anything new.

import { BoundedQueue } from '@robustmq/stdx/bounded-queue';
import type { CursorOwner } from '../session/cursor-keeper.js';
import type { Session } from '../session/session.js';
import type { SharedGroup } from '../share/shared-group.js';
import { LogPositions } from './log-positions.js';
import { OffsetSets } from './offset-sets.js';
import type { OutgoingMessage } from './outgoing-message.js';
import type { StoredAt } from './session-delivery.js';

/** A message that waits for a member. */
export interface WaitingMessage {
  readonly message: OutgoingMessage;
  /** Undefined when it was not stored. */
  readonly at: StoredAt | undefined;
}

export class ShareBacklog implements CursorOwner {
  readonly consumer: string;
  cursorState: CursorOwner['cursorState'] = 'committed';
  readonly name: { readonly group: string; readonly filter: string };
  /** The members as the index knows them; replaced when the group was empty in between. */
  group: SharedGroup<Session>;
  /** Given back by a member. Bounded by the windows of the members that lost them. */
  readonly returned: WaitingMessage[] = [];
  readonly waiting: BoundedQueue<WaitingMessage>;
  readonly #leased = new OffsetSets();
  /** Undefined while no durable member makes it worth keeping. */
  #positions: LogPositions | undefined;
  readonly #endOf: (shard: number) => number;
  state: 'idle' | 'pumping' = 'idle';

  constructor(
    group: SharedGroup<Session>,
    options: {
      readonly tenant: string;
      readonly queuedMessagesMax: number;
      readonly endOf: (shard: number) => number;
    },
  ) {
    this.consumer = `mqtt/${options.tenant}/shares/${group.group}/${group.filter}`;
    this.name = { group: group.group, filter: group.filter };
    this.group = group;
    this.waiting = new BoundedQueue(Math.max(1, options.queuedMessagesMax));
    this.#endOf = options.endOf;
  }

  get isDurable(): boolean {
    return this.#positions !== undefined;
  }

  get hasWork(): boolean {
    return this.returned.length > 0 || this.waiting.length > 0 || this.behind() !== undefined;
  }

  /** From now on the log keeps what it cannot hand out. */
  becomeDurable(positions: readonly number[]): void {
    this.#positions = new LogPositions(positions, this.#endOf);
    this.#positions.goLiveWherePossible();
  }

  becomeTransient(): void {
    this.#positions = undefined;
  }

  /** Whether a message of this place is to be handed out now; otherwise it will be read. */
  isLive(shard: number): boolean {
    return this.#positions === undefined || this.#positions.isLive(shard);
  }

  fallBehind(at: StoredAt): void {
    this.#positions?.fallBehind(at);
  }

  /** A shard that must be read, and from where. */
  behind(): StoredAt | undefined {
    return this.#positions?.firstBehind();
  }

  moveTo(at: StoredAt): void {
    this.#positions?.moveTo(at);
  }

  goLive(shard: number): void {
    this.#positions?.goLive(shard);
  }

  lease(at: StoredAt | undefined): void {
    if (at !== undefined) this.#leased.add(at);
  }

  settle(at: StoredAt | undefined): void {
    if (at !== undefined) this.#leased.delete(at);
  }

  /** B1. */
  cursors(): number[] {
    const lowest = this.#positions?.lowest() ?? [];
    for (const { shard, offset } of this.#leased.values()) lowest[shard] = Math.min(lowest[shard] ?? offset, offset);
    return lowest;
  }

  committed(): void {
    // Nothing is remembered above the cursor but what is leased.
  }
}
