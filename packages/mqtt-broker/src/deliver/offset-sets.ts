import type { StoredAt } from './session-delivery.js';

/** A set of places in the message shards. */
export class OffsetSets {
  #sets: Map<number, Set<number>> | undefined;

  add({ shard, offset }: StoredAt): void {
    this.#sets ??= new Map();
    const offsets = this.#sets.get(shard);
    if (offsets) offsets.add(offset);
    else this.#sets.set(shard, new Set([offset]));
  }

  has({ shard, offset }: StoredAt): boolean {
    return this.#sets?.get(shard)?.has(offset) === true;
  }

  delete({ shard, offset }: StoredAt): void {
    const offsets = this.#sets?.get(shard);
    if (offsets?.delete(offset) && offsets.size === 0) this.#sets?.delete(shard);
  }

  dropBelow(shard: number, end: number): void {
    const offsets = this.#sets?.get(shard);
    if (offsets === undefined) return;
    for (const offset of offsets) if (offset < end) offsets.delete(offset);
    if (offsets.size === 0) this.#sets?.delete(shard);
  }

  *values(): Generator<StoredAt> {
    for (const [shard, offsets] of this.#sets ?? []) for (const offset of offsets) yield { shard, offset };
  }
}
