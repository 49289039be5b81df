// Storage and meta as a killed process leaves them: after kill() nothing more reaches them, and nobody hears
// what became of the calls that were under way.

import { type MetaClient, MetaError } from '@robustmq/meta-raft/client';
import {
  type AppendOptions,
  type AppendRecord,
  type AppendResult,
  type Capabilities,
  type EndListener,
  type GroupOffset,
  type KeyQuery,
  type Offset,
  type ReadOptions,
  type ReadResult,
  type ShardConfig,
  type ShardDescription,
  type ShardId,
  ShardStorage,
  StorageError,
  type StoredRecord,
  type TagQuery,
} from '@robustmq/storage-adapter';

const never = <T>(): Promise<T> => new Promise<T>(() => {});
const turn = () => new Promise((resolve) => setImmediate(resolve));

export class KillableStorage extends ShardStorage {
  readonly capabilities: Capabilities;
  readonly #inner: ShardStorage;
  #life: 'alive' | 'killed' = 'alive';
  /** The next appends fail with this code, and are not stored. */
  failAppends: 'DISK_FULL' | 'UNAVAILABLE' | undefined;

  constructor(inner: ShardStorage) {
    super();
    this.#inner = inner;
    this.capabilities = inner.capabilities;
  }

  kill(): void {
    this.#life = 'killed';
  }

  /** A disk takes a moment: an append is there a turn later, and its caller hears of it another turn later. */
  async #pass<T>(call: () => Promise<T>): Promise<T> {
    if (this.#life === 'killed') return never();
    try {
      return await call();
    } finally {
      if (this.#life === ('killed' as string)) await never(); // it may have been killed during the call
    }
  }

  protected override async _append(
    shard: ShardId,
    records: readonly AppendRecord[],
    options: AppendOptions,
  ): Promise<AppendResult> {
    const { failAppends } = this;
    if (failAppends !== undefined) throw new StorageError(failAppends, 'a test said so');
    return await this.#pass(async () => {
      const appended = this.#inner.append(shard, records, options);
      await turn();
      return await appended;
    });
  }

  protected override _createShard(shard: ShardId, config: ShardConfig): Promise<void> {
    return this.#pass(async () => {
      await this.#inner.createShard(shard, config);
    });
  }
  protected override _deleteShard(shard: ShardId): Promise<void> {
    return this.#pass(() => this.#inner.deleteShard(shard));
  }
  protected override _listShards(prefix: string): Promise<ShardId[]> {
    return this.#pass(() => this.#inner.listShards(prefix));
  }
  protected override _describeShard(shard: ShardId): Promise<ShardDescription> {
    return this.#pass(() => this.#inner.describeShard(shard));
  }
  protected override _read(shard: ShardId, options: ReadOptions): Promise<ReadResult> {
    return this.#pass(() => this.#inner.read(shard, options));
  }
  protected override _offsetAtTime(shard: ShardId, timestampMs: number): Promise<Offset> {
    return this.#pass(() => this.#inner.offsetAtTime(shard, timestampMs));
  }
  protected override _readByKey(shard: ShardId, query: KeyQuery): Promise<StoredRecord | undefined> {
    return this.#pass(() => this.#inner.readByKey(shard, query));
  }
  protected override _readByTag(shard: ShardId, query: TagQuery): Promise<ReadResult> {
    return this.#pass(() => this.#inner.readByTag(shard, query));
  }
  protected override _onEnd(shard: ShardId, listener: EndListener): () => void {
    return this.#inner.onEnd(shard, listener);
  }
  protected override _trim(shard: ShardId, before: Offset): Promise<void> {
    return this.#pass(() => this.#inner.trim(shard, before));
  }
  protected override _commitOffsets(group: string, offsets: readonly GroupOffset[]): Promise<void> {
    return this.#pass(() => this.#inner.commitOffsets(group, offsets));
  }
  protected override _committedOffsets(group: string): Promise<readonly GroupOffset[]> {
    return this.#pass(() => this.#inner.committedOffsets(group));
  }
  protected override _deleteGroup(group: string): Promise<void> {
    return this.#pass(() => this.#inner.deleteGroup(group));
  }
  protected override async _close(): Promise<void> {}
}

export class KillableMeta implements MetaClient {
  readonly #inner: MetaClient;
  #life: 'alive' | 'killed' = 'alive';
  /** `refused`: transactions do nothing and fail; `lost`: they happen and fail all the same. */
  answers: 'given' | 'refused' | 'lost' = 'given';

  constructor(inner: MetaClient) {
    this.#inner = inner;
  }

  kill(): void {
    this.#life = 'killed';
  }

  async #pass<T>(call: () => Promise<T>): Promise<T> {
    if (this.#life === 'killed') return never();
    const result = await call();
    return this.#life === ('killed' as string) ? never() : result; // it may have been killed during the call
  }

  get: MetaClient['get'] = (...given) => this.#pass(() => this.#inner.get(...given));
  range: MetaClient['range'] = (...given) => this.#pass(() => this.#inner.range(...given));
  put: MetaClient['put'] = (...given) => this.#pass(() => this.#inner.put(...given));
  delete: MetaClient['delete'] = (...given) => this.#pass(() => this.#inner.delete(...given));
  transact: MetaClient['transact'] = (...given) =>
    this.#pass(async () => {
      if (this.answers === 'refused') throw new MetaError('UNAVAILABLE', 'a test said so');
      const result = await this.#inner.transact(...given);
      if (this.answers === 'lost') throw new MetaError('DEADLINE', 'a test said so');
      return result;
    });
  grantLease: MetaClient['grantLease'] = (...given) => this.#pass(() => this.#inner.grantLease(...given));
  keepLeaseAlive: MetaClient['keepLeaseAlive'] = (...given) => this.#pass(() => this.#inner.keepLeaseAlive(...given));
  revokeLease: MetaClient['revokeLease'] = (...given) => this.#pass(() => this.#inner.revokeLease(...given));
  watch: MetaClient['watch'] = (...given) => this.#inner.watch(...given);
  close = async (): Promise<void> => {};
}
