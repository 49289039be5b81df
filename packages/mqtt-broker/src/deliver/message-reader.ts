// Reads message shards for sessions that are behind.
//
// Sessions that fell behind together read the same places: the last page of each shard is kept, decoded.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import {
  type Offset,
  type ShardId,
  type ShardStorage,
  StorageError,
  type StoredRecord,
} from '@robustmq/storage-adapter';
import { StoredMessage } from '../codec/stored-message.js';
import { OutgoingMessage } from './outgoing-message.js';

export interface ReadMessage {
  readonly offset: number;
  readonly message: OutgoingMessage;
}

export interface MessagePage {
  readonly messages: readonly ReadMessage[];
  /** Where to go on. */
  readonly next: number;
}

/** One page is at most this large, whatever its count: what a reading session may hold at once. */
const PAGE_BYTES = 256 * 1024;
const RESEND_PAGE_RECORDS = 64;

interface CachedPage {
  readonly from: number;
  readonly maxRecords: number;
  readonly page: MessagePage;
}

export class MessageReader {
  readonly #storage: ShardStorage;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #shards: readonly ShardId[];
  readonly #cache: (CachedPage | undefined)[];

  constructor(
    deps: { readonly storage: ShardStorage; readonly clock: Clock; readonly logger: Logger },
    shards: readonly ShardId[],
  ) {
    this.#storage = deps.storage;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#shards = shards;
    this.#cache = shards.map(() => undefined);
  }

  /** Messages from an offset on; begins later where retention has taken older ones. Errors: StorageError. */
  async read(
    shard: number,
    { from, maxRecords }: { readonly from: number; readonly maxRecords: number },
  ): Promise<MessagePage> {
    const cached = this.#cache[shard];
    // A page that was cut short by the end of the shard has grown since: only a whole one is used again.
    if (
      cached &&
      cached.from === from &&
      cached.maxRecords === maxRecords &&
      cached.page.messages.length === maxRecords
    )
      return cached.page;
    const page = await this.#readPage(shard, { from, maxRecords });
    this.#cache[shard] = { from, maxRecords, page };
    return page;
  }

  /** One message; undefined when retention has taken it. Reads ahead, because resends come in order. */
  async readAt(shard: number, offset: number): Promise<OutgoingMessage | undefined> {
    const cached = this.#cache[shard]?.page.messages.find((message) => message.offset === offset);
    if (cached) return cached.message;
    const page = await this.read(shard, { from: offset, maxRecords: RESEND_PAGE_RECORDS });
    const [first] = page.messages;
    return first?.offset === offset ? first.message : undefined;
  }

  async #readPage(
    shard: number,
    { from, maxRecords }: { readonly from: number; readonly maxRecords: number },
  ): Promise<MessagePage> {
    const id = this.#shards[shard] as ShardId; // shards come from the engine's own list
    try {
      const found = await this.#storage.read(id, { from: from as Offset, maxRecords, maxBytes: PAGE_BYTES }); // positions were offsets
      return { messages: this.#decode(id, found.records), next: found.next };
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error;
      const { logStart, end } = await this.#storage.describeShard(id);
      if (from > end) throw error; // the shard lost its end: nothing to go on from
      return { messages: [], next: logStart }; // retention was faster than this reader
    }
  }

  #decode(id: ShardId, records: readonly StoredRecord[]): ReadMessage[] {
    const nowMs = this.#clock.wallTime();
    const messages: ReadMessage[] = [];
    for (const { offset, payload } of records) {
      try {
        messages.push({ offset, message: new OutgoingMessage(new StoredMessage(payload), nowMs, 'own') });
      } catch (error) {
        // A record that no one can read must not stop everything behind it.
        this.#logger.error(
          { shard: id, offset, error: errorMessage(error) },
          'a stored message cannot be read; skipped',
        );
      }
    }
    return messages;
  }
}
