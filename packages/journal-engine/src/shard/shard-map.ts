import type { ShardId } from '@robustmq/storage-adapter';
import { StorageError } from '@robustmq/storage-adapter';
import type { ShardLog } from './shard-log.js';
import type { ShardRegistration } from './shard-registration.js';

/** A shard this node writes: its log and its record in meta. */
export interface ShardHandle {
  readonly log: ShardLog;
  readonly registration: ShardRegistration;
}

/** The shards of this node, by name. */
export class ShardMap {
  readonly #byId = new Map<ShardId, ShardHandle>();
  readonly #byLog = new Map<ShardLog, ShardHandle>();

  get size(): number {
    return this.#byId.size;
  }

  add(handle: ShardHandle): void {
    this.#byId.set(handle.log.id, handle);
    this.#byLog.set(handle.log, handle);
  }

  remove(handle: ShardHandle): void {
    if (this.#byId.get(handle.log.id) === handle) this.#byId.delete(handle.log.id);
    this.#byLog.delete(handle.log);
  }

  find(id: ShardId): ShardHandle | undefined {
    return this.#byId.get(id);
  }

  /** SHARD_NOT_FOUND when there is none. */
  get(id: ShardId): ShardHandle {
    const found = this.#byId.get(id);
    if (!found) throw new StorageError('SHARD_NOT_FOUND', `no shard ${id}: create it first`);
    return found;
  }

  handleOf(log: ShardLog): ShardHandle | undefined {
    return this.#byLog.get(log);
  }

  all(): IterableIterator<ShardHandle> {
    return this.#byId.values();
  }
}
