// The journal's records in meta, as transactions.
//
// Invariants:
//   R1. Every change of a shard compares the shard record it was made from. Of two writers one wins; the other
//       is told FENCED and stops.
//   R2. logStart moves in meta before a file goes, and a file that must go has a tombstone until it is gone.
//   R3. A call whose outcome is unknown may be repeated: it finds its own change and says so.

import type { Compare, KeyValue, MetaClient, Operation } from '@robustmq/meta-raft/client';
import { type CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { JournalError } from '../errors.js';
import {
  decodeNode,
  decodeSegment,
  decodeShard,
  encodeRecord,
  JOURNAL_KEYS,
  type NodeRecord,
  type SegmentRecord,
  type ShardRecord,
} from './records.js';

/** etcd refuses more operations in one transaction by default; ours must run on it too. */
const OPERATIONS_MAX = 120;
const PAGE_KEYS = 1_000;
/** What a restart leaves unused of a block is never used: 2^32 uids are enough for 67 million restarts. */
const UIDS_RESERVED = 64;

/** A shard as it stands in meta; `revision` is what a change compares (R1). */
export interface RegisteredShard {
  readonly record: ShardRecord;
  readonly revision: number;
}

export interface ShardChange {
  readonly from: RegisteredShard;
  readonly to: ShardRecord;
  readonly put: readonly SegmentRecord[];
  readonly drop: readonly SegmentRecord[];
  /** Files this node has to remove after the change (R2). */
  readonly tombstones: readonly string[];
}

export interface LoadedRegistry {
  readonly node: NodeRecord | undefined;
  readonly shards: readonly RegisteredShard[];
  /** By shard uid, in order of epoch. */
  readonly segments: ReadonlyMap<number, readonly SegmentRecord[]>;
  readonly tombstones: readonly string[];
}

export class JournalRegistry {
  readonly #meta: MetaClient;
  readonly #nodeId: number;
  readonly #uids: number[] = [];
  #reserving: Promise<void> | undefined;

  constructor(meta: MetaClient, nodeId: number) {
    this.#meta = meta;
    this.#nodeId = nodeId;
  }

  async load(): Promise<LoadedRegistry> {
    return await translated(async () => {
      const nodeKey = JOURNAL_KEYS.node(this.#nodeId);
      const node = await this.#meta.get(nodeKey);
      const shards = await this.#page(JOURNAL_KEYS.shards);
      const segments = await this.#page(JOURNAL_KEYS.segments);
      const tombstones = await this.#page(JOURNAL_KEYS.tombstones(this.#nodeId));
      return {
        node: node && decodeNode(nodeKey, node.value),
        shards: shards.map((kv) => ({ record: decodeShard(kv.key, kv.value), revision: kv.modRevision })),
        segments: segmentsByUid(segments),
        tombstones: tombstones.map(({ key }) => key.slice(JOURNAL_KEYS.tombstones(this.#nodeId).length)),
      };
    });
  }

  async registerNode(record: NodeRecord): Promise<void> {
    await translated(() => this.#meta.put(JOURNAL_KEYS.node(this.#nodeId), encodeRecord(record)));
  }

  /** Creates shard and first segment in one step. Undefined when the name is taken. */
  async createShard(
    record: Omit<ShardRecord, 'uid'>,
    firstSegment: SegmentRecord,
  ): Promise<RegisteredShard | undefined> {
    return await translated(async () => {
      const created: ShardRecord = { ...record, uid: await this.#nextUid() };
      const key = JOURNAL_KEYS.shard(record.name);
      const { succeeded, revision } = await this.#meta.transact({
        when: [{ key, target: 'version', is: 'equal', than: 0 }],
        then: [
          { put: { key, value: encodeRecord(created) } },
          { put: { key: JOURNAL_KEYS.segment(created.uid, firstSegment.epoch), value: encodeRecord(firstSegment) } },
        ],
      });
      return succeeded ? { record: created, revision } : undefined;
    });
  }

  /** Uids come from meta in blocks, so that shards created at the same time do not contend for one counter. */
  async #nextUid(): Promise<number> {
    while (this.#uids.length === 0) {
      this.#reserving ??= this.#reserveUids().finally(() => {
        this.#reserving = undefined;
      });
      await this.#reserving;
    }
    return this.#uids.shift() as number; // the loop ends when there is one
  }

  async #reserveUids(): Promise<void> {
    const key = JOURNAL_KEYS.nextUid;
    for (;;) {
      const counter = await this.#meta.get(key);
      const first = counter ? Number(counter.value.toString()) : 1;
      const { succeeded } = await this.#meta.transact({
        when: [{ key, target: 'modRevision', is: 'equal', than: counter?.modRevision ?? 0 }],
        then: [{ put: { key, value: Buffer.from(String(first + UIDS_RESERVED)) } }],
      });
      if (!succeeded) continue; // another node took the block: once per block, so this ends
      this.#uids.push(...Array.from({ length: UIDS_RESERVED }, (_, i) => first + i));
      return;
    }
  }

  async findShard(name: string): Promise<RegisteredShard | undefined> {
    return await translated(async () => {
      const found = await this.#meta.get(JOURNAL_KEYS.shard(name));
      return found && { record: decodeShard(found.key, found.value), revision: found.modRevision };
    });
  }

  /** Removes a shard with its segments; FENCED when it changed meanwhile (R1). */
  async deleteShard(shard: RegisteredShard, tombstones: readonly string[]): Promise<void> {
    const { name, uid } = shard.record;
    const key = JOURNAL_KEYS.shard(name);
    await translated(async () => {
      // The tombstones come first: a crash in between leaves a shard, not a file nobody knows.
      await this.#putTombstones(tombstones);
      const { succeeded } = await this.#meta.transact({
        when: [{ key, target: 'modRevision', is: 'equal', than: shard.revision }],
        then: [{ delete: { key } }, { delete: { prefix: JOURNAL_KEYS.segmentsOf(uid) } }],
      });
      if (!succeeded && (await this.#meta.get(key))) throw fenced(name);
    });
  }

  /** One change of one shard (R1, R3). */
  async change(change: ShardChange): Promise<RegisteredShard> {
    const [changed] = await this.changeAll([change]);
    return changed as RegisteredShard; // one in, one out
  }

  /** Changes of different shards, few transactions. All of them are tried; FENCED when one shard was taken over. */
  async changeAll(changes: readonly ShardChange[]): Promise<RegisteredShard[]> {
    const done: RegisteredShard[] = [];
    let group: ShardChange[] = [];
    let operations = 0;
    for (const change of changes) {
      const needed = operationsOf(change).length;
      if (operations + needed > OPERATIONS_MAX && group.length > 0) {
        done.push(...(await this.#commit(group)));
        group = [];
        operations = 0;
      }
      group.push(change);
      operations += needed;
    }
    if (group.length > 0) done.push(...(await this.#commit(group)));
    return done;

    function operationsOf({ put, drop, tombstones }: ShardChange): unknown[] {
      return ['shard', ...put, ...drop, ...tombstones];
    }
  }

  /** The files are gone. */
  async clearTombstones(names: readonly string[]): Promise<void> {
    const keys = names.map((name) => JOURNAL_KEYS.tombstones(this.#nodeId) + name);
    await this.#inChunks(keys.map((key) => ({ delete: { key } })));
  }

  async #putTombstones(names: readonly string[]): Promise<void> {
    const keys = names.map((name) => JOURNAL_KEYS.tombstones(this.#nodeId) + name);
    await this.#inChunks(keys.map((key) => ({ put: { key, value: Buffer.alloc(0) } })));
  }

  async #inChunks(operations: readonly Operation[]): Promise<void> {
    for (let at = 0; at < operations.length; at += OPERATIONS_MAX)
      await translated(() => this.#meta.transact({ when: [], then: operations.slice(at, at + OPERATIONS_MAX) }));
  }

  async #commit(changes: readonly ShardChange[]): Promise<RegisteredShard[]> {
    const when: Compare[] = changes.map(({ from }) => ({
      key: JOURNAL_KEYS.shard(from.record.name),
      target: 'modRevision',
      is: 'equal',
      than: from.revision,
    }));
    const then = changes.flatMap((change) => this.#operations(change));
    return await translated(async () => {
      const { succeeded, revision } = await this.#meta.transact({ when, then });
      if (succeeded) return changes.map(({ to }) => ({ record: to, revision }));
      const found: RegisteredShard[] = [];
      for (const { to } of changes) {
        const now = await this.#meta.get(JOURNAL_KEYS.shard(to.name));
        if (!now?.value.equals(encodeRecord(to))) throw fenced(to.name);
        found.push({ record: to, revision: now.modRevision }); // R3
      }
      return found;
    });
  }

  #operations({ to, put, drop, tombstones }: ShardChange): Operation[] {
    return [
      { put: { key: JOURNAL_KEYS.shard(to.name), value: encodeRecord(to) } },
      ...drop.map(({ epoch }) => ({ delete: { key: JOURNAL_KEYS.segment(to.uid, epoch) } })),
      ...put.map((segment) => ({
        put: { key: JOURNAL_KEYS.segment(to.uid, segment.epoch), value: encodeRecord(segment) },
      })),
      ...tombstones.map((name) => ({
        put: { key: JOURNAL_KEYS.tombstones(this.#nodeId) + name, value: Buffer.alloc(0) },
      })),
    ];
  }

  async #page(prefix: string): Promise<KeyValue[]> {
    const found: KeyValue[] = [];
    for (let after: string | undefined; ; ) {
      const { kvs } = await this.#meta.range(
        { prefix },
        { limit: PAGE_KEYS, ...(after === undefined ? {} : { after }) },
      );
      found.push(...kvs);
      after = kvs.at(-1)?.key;
      if (kvs.length < PAGE_KEYS) return found;
    }
  }
}

function segmentsByUid(kvs: readonly KeyValue[]): Map<number, SegmentRecord[]> {
  const segments = new Map<number, SegmentRecord[]>();
  for (const { key, value } of kvs) {
    const uid = Number(key.slice(JOURNAL_KEYS.segments.length).split('/')[0]);
    const list = segments.get(uid) ?? [];
    list.push(decodeSegment(key, value));
    segments.set(uid, list);
  }
  return segments;
}

function fenced(name: string): JournalError {
  return new JournalError('FENCED', `shard ${name} was changed by another writer; this node no longer owns it`);
}

/** Errors of the meta client become UNAVAILABLE, whatever they were: the journal's state is unchanged or repeatable. */
async function translated<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof JournalError) throw error;
    const code = (error as Partial<CodedError>).code ?? 'no code'; // whatever the client threw
    throw new JournalError('UNAVAILABLE', `meta did not answer (${code}): ${errorMessage(error)}`, { cause: error });
  }
}
