// Retained messages: kept in a compacted shard by topic, found in a trie in memory that mirrors it (D14).
//
//   mqtt/<tenant>/retained     key: topic name, payload: stored-message.ts; an empty payload removes the topic
//
// Invariants:
//   R1. The mirror changes when the append is kept, in the order of offsets: what a subscriber gets is what a
//       restart would bring back.
//   R2. A subscriber that asks after a publish gets its outcome: settled() waits for what is under way.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId, ShardStorage, StoredRecord } from '@robustmq/storage-adapter';
import { encodeStoredMessage, type Message, StoredMessage } from '../codec/stored-message.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import { MessageLog } from '../publish/message-log.js';
import { type RetainedMatch, RetainedTrie } from './retained-trie.js';

interface Keep {
  readonly topicName: string;
  /** Undefined removes the topic. */
  readonly retained: Buffer | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface RetainedStoreDeps {
  readonly storage: ShardStorage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: ResolvedEngineOptions;
}

const LOAD_PAGE = { maxRecords: 4096, maxBytes: 4 * 1024 * 1024 } as const;
const NOTHING = Buffer.alloc(0);

export class RetainedStore {
  readonly #deps: RetainedStoreDeps;
  /** The bytes of stored-message.ts: what is decoded for a delivery is forgotten with it. */
  readonly #trie = new RetainedTrie<Buffer>();
  readonly #log: MessageLog<Keep>;
  #bytes = 0;
  /** Retained messages that were not kept because of a limit. */
  refused = 0;

  private constructor(deps: RetainedStoreDeps, shard: { readonly id: ShardId; readonly end: Offset }) {
    this.#deps = deps;
    const handler = {
      onStored: (keep: Keep) => this.#apply(keep),
      onRepeated: (keep: Keep) => keep.resolve(),
      onFollowed: (keep: Keep) => keep.resolve(),
      onFailed: (keep: Keep, error: unknown) => keep.reject(error),
      onGap: () => {}, // this node is the only writer; another one's records are read when the cluster comes
    };
    this.#log = new MessageLog({ ...deps, handler }, [shard]);
  }

  /** Reads the shard into the mirror. Errors: StorageError. */
  static async open(deps: RetainedStoreDeps): Promise<RetainedStore> {
    const id = await deps.storage.createShard(`mqtt/${deps.options.tenant}/retained`, { cleanup: 'compact' });
    const { logStart, end } = await deps.storage.describeShard(id);
    const store = new RetainedStore(deps, { id, end });
    for (let from = logStart; from < end; ) {
      const { records, next } = await deps.storage.read(id, { from, ...LOAD_PAGE });
      for (const record of records) store.#load(record);
      from = next;
    }
    return store;
  }

  get size(): number {
    return this.#trie.size;
  }

  /** Of topics and messages. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there is room for it: always for a topic that has one, and for a removal. */
  admits(message: Message): 'room' | 'full' {
    const { retainedMessagesMax, retainedBytesMax } = this.#deps.options;
    if (message.payload.length === 0) return 'room';
    const full = this.#trie.size >= retainedMessagesMax && this.#trie.get(message.topicName) === undefined;
    if (!full && this.#bytes + message.payload.length <= retainedBytesMax) return 'room';
    this.refused++;
    if (this.refused === 1 || this.refused % 1000 === 0)
      this.#deps.logger.warn(
        { topic: message.topicName, refused: this.refused },
        'the limit of retained messages is reached',
      );
    return 'full';
  }

  /** Resolves when the topic's retained message is kept, or gone for an empty payload. [MQTT-3.3.1-6] */
  keep(message: Message): Promise<void> {
    const { topicName } = message;
    const bytes = message.payload.length === 0 ? NOTHING : encodeStoredMessage(message);
    const retained = bytes.length === 0 ? undefined : bytes;
    return new Promise((resolve, reject) => {
      this.#log.enqueue(0, { key: topicName, payload: bytes }, { topicName, retained, resolve, reject });
    });
  }

  /** Its lifetime is over: it is removed, unless another has taken its place. */
  expire({ topicName, bytes }: StoredMessage): void {
    if (!this.isCurrent(topicName, bytes)) return;
    this.#mirror(topicName, undefined);
    const nothing = () => {};
    // A failure leaves a message that is expired whenever it is read again.
    this.#log.enqueue(
      0,
      { key: topicName, payload: NOTHING },
      { topicName, retained: undefined, resolve: nothing, reject: nothing },
    );
  }

  /** Resolves when everything that was given to keep() before is kept or has failed (R2). */
  settled(): Promise<void> {
    if (!this.#log.isBusy(0)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#log.follow(0, { topicName: '', retained: undefined, resolve, reject: () => resolve() });
    });
  }

  /** Resolves when nothing is under way. */
  quiet(): Promise<void> {
    return this.#log.quiet();
  }

  /** False when another message has taken its place, or it was removed. */
  isCurrent(topicName: string, bytes: Buffer): boolean {
    return this.#trie.get(topicName) === bytes;
  }

  match(topicFilter: string): RetainedMatch<Buffer> {
    return this.#trie.match(topicFilter);
  }

  #apply({ topicName, retained, resolve }: Keep): void {
    this.#mirror(topicName, retained); // R1
    resolve();
  }

  #load({ key, payload }: StoredRecord): void {
    if (key === undefined) return;
    try {
      // A copy: the record's payload is a view of a page, which would stay as a whole.
      if (payload.length > 0) new StoredMessage(payload); // throws when it is none
      this.#mirror(key, payload.length === 0 ? undefined : Buffer.from(payload));
    } catch (error) {
      this.#deps.logger.error({ topic: key, error: errorMessage(error) }, 'a retained message cannot be read; skipped');
    }
  }

  #mirror(topicName: string, retained: Buffer | undefined): void {
    const before = retained === undefined ? this.#trie.delete(topicName) : this.#trie.set(topicName, retained);
    if (before !== undefined) this.#bytes -= sizeOf(topicName, before);
    if (retained !== undefined) this.#bytes += sizeOf(topicName, retained);
  }
}

function sizeOf(topicName: string, bytes: Buffer): number {
  return topicName.length + bytes.length;
}
