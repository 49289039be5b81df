// Where a reader of the message shards stands: at an offset it goes on reading from, or live.
//
// Invariants:
//   L1. A live shard has been handed everything up to its end, and is handed everything that comes.
//   L2. A shard goes live only when its offset equals the end of what was handed out.

import type { StoredAt } from './session-delivery.js';

const LIVE = -1;

export class LogPositions {
  readonly #offsets: number[];
  readonly #endOf: (shard: number) => number;
  #behind: number;

  constructor(offsets: readonly number[], endOf: (shard: number) => number) {
    this.#offsets = [...offsets];
    this.#behind = offsets.length;
    this.#endOf = endOf;
  }

  /** How many shards are to be read. */
  get behind(): number {
    return this.#behind;
  }

  isLive(shard: number): boolean {
    return this.#offsets[shard] === LIVE;
  }

  isAt({ shard, offset }: StoredAt): boolean {
    return this.#offsets[shard] === offset;
  }

  /** A live shard is to be read from here on. */
  fallBehind({ shard, offset }: StoredAt): void {
    this.#offsets[shard] = offset;
    this.#behind++;
  }

  /** Nothing is handed out to this reader any more. */
  fallBehindEverywhere(): void {
    for (let shard = 0; shard < this.#offsets.length; shard++)
      if (this.isLive(shard)) this.fallBehind({ shard, offset: this.#endOf(shard) });
  }

  /** A shard that is behind was read up to here. */
  moveTo({ shard, offset }: StoredAt): void {
    this.#offsets[shard] = offset;
  }

  /** L2. */
  goLive(shard: number): boolean {
    if (this.#offsets[shard] !== this.#endOf(shard)) return false;
    this.#offsets[shard] = LIVE;
    this.#behind--;
    return true;
  }

  goLiveWherePossible(): void {
    for (let shard = 0; shard < this.#offsets.length; shard++) this.goLive(shard);
  }

  /** A shard that is to be read, and from where. */
  firstBehind(): StoredAt | undefined {
    if (this.#behind === 0) return undefined;
    const shard = this.#offsets.findIndex((offset) => offset !== LIVE);
    return { shard, offset: this.#offsets[shard] ?? 0 };
  }

  /** By shard, the lowest offset that was not handed to this reader. */
  lowest(): number[] {
    return this.#offsets.map((offset, shard) => (offset === LIVE ? this.#endOf(shard) : offset));
  }
}
