// Which shards there are: their names, numbers and configurations.
//
// Invariants:
//   C1. A number is given to one shard, ever: what a deleted shard left behind can never appear in another.
//   C2. Name, number and head of a shard appear in one batch.
//   C3. A deleted shard loses its name and is marked in one batch; what it held goes after that, at the latest
//       when the database is opened again.

import { configChange } from '../config-change.js';
import { StorageError } from '../errors.js';
import type { ShardId } from '../record.js';
import type { ShardConfig } from '../shard-storage.js';
import type { LevelDatabase } from './level-database.js';
import {
  deletingKey,
  headKey,
  kindRange,
  NEXT_SHARD_KEY,
  shardKey,
  shardOfDeletingKey,
  shardOfKey,
  shardRanges,
  VERSION_KEY,
} from './level-keys.js';
import { EMPTY_HEAD, type LevelShard } from './level-shard.js';
import { decodeHead, decodeNumber, decodeShard, encodeHead, encodeNumber, encodeShard } from './level-values.js';

const VERSION = 1;
const EVERYTHING = { limit: -1, bytesMax: Number.POSITIVE_INFINITY } as const;
const NOTHING = Buffer.alloc(0);

export class LevelCatalogue {
  readonly #database: LevelDatabase;
  readonly #shards = new Map<ShardId, LevelShard>();
  #nextNumber = 1;

  constructor(database: LevelDatabase) {
    this.#database = database;
  }

  get shards(): ReadonlyMap<ShardId, LevelShard> {
    return this.#shards;
  }

  /** StorageError FAILED when the database is of another format. */
  async load(): Promise<void> {
    const version = await this.#database.get(VERSION_KEY);
    if (version && decodeNumber(version) !== VERSION) {
      const found = decodeNumber(version);
      throw new StorageError('FAILED', `the database has format version ${found}; this program knows only ${VERSION}`);
    }
    if (!version)
      await this.#database.write([{ type: 'put', key: VERSION_KEY, value: encodeNumber(VERSION) }], 'durable');
    const next = await this.#database.get(NEXT_SHARD_KEY);
    this.#nextNumber = next ? decodeNumber(next) : 1;
    for (const [key, value] of await this.#database.entries(kindRange('S'), EVERYTHING)) {
      const { number, config } = decodeShard(value);
      const head = await this.#database.get(headKey(number));
      this.#add(shardOfKey(key) as ShardId, { number, config }, head ? decodeHead(head) : EMPTY_HEAD); // stored as one
    }
    for (const key of await this.#database.keys(kindRange('D'), -1)) await this.#removeRest(shardOfDeletingKey(key)); // C3
  }

  /** To be run alone. */
  async create(name: ShardId, config: ShardConfig): Promise<void> {
    const existing = this.#shards.get(name);
    if (existing) {
      if (configChange(name, existing.config, config) === 'none') return;
      const value = encodeShard({ number: existing.number, config });
      await this.#database.write([{ type: 'put', key: shardKey(name), value }], 'durable');
      existing.config = config; // the next tick applies it
      return;
    }
    const number = this.#nextNumber;
    await this.#database.write(
      [
        { type: 'put', key: NEXT_SHARD_KEY, value: encodeNumber(number + 1) }, // C1
        { type: 'put', key: shardKey(name), value: encodeShard({ number, config }) },
        { type: 'put', key: headKey(number), value: encodeHead(EMPTY_HEAD) }, // C2
      ],
      'durable',
    );
    this.#nextNumber = number + 1;
    this.#add(name, { number, config }, EMPTY_HEAD);
  }

  /** To be run alone. */
  async delete(shard: LevelShard): Promise<void> {
    if (shard.state === 'deleted') throw new StorageError('SHARD_NOT_FOUND', `shard ${shard.name} was deleted`);
    await this.#database.write(
      [
        { type: 'del', key: shardKey(shard.name) },
        { type: 'put', key: deletingKey(shard.number), value: NOTHING },
      ],
      'durable',
    );
    shard.state = 'deleted';
    this.#shards.delete(shard.name);
    await this.#removeRest(shard.number);
  }

  async #removeRest(number: number): Promise<void> {
    for (const range of shardRanges(number)) await this.#database.clear(range);
    await this.#database.write([{ type: 'del', key: deletingKey(number) }], 'later'); // C3
  }

  #add(name: ShardId, entry: { number: number; config: ShardConfig }, head: LevelShard['head']): void {
    this.#shards.set(name, { name, ...entry, head, listeners: new Set(), cleanFrom: 0, state: 'live' });
  }
}
