// What a user of the metadata service holds: one interface, whether the service runs in this process,
// behind gRPC, or is somebody's etcd.
//
// Keys are UTF-8 strings ordered by their bytes. Values are bytes. Every change gets a revision, one
// higher than the change before; a transaction is one change.

export interface KeyValue {
  readonly key: string;
  readonly value: Buffer;
  /** The revision that created the key, and the one that last changed it. */
  readonly createRevision: number;
  readonly modRevision: number;
  /** 1 when created, one more with every change. */
  readonly version: number;
  /** The lease that removes the key when it expires; undefined when the key stays. */
  readonly lease: LeaseId | undefined;
}

/** Decimal text of a 64-bit lease id: it may lie beyond what a number holds. */
export type LeaseId = string;

/** One key, or all keys that begin with a prefix (an empty prefix is every key). */
export type KeySelector = { readonly key: string } | { readonly prefix: string };

export interface CallOptions {
  /** Gives up when it aborts; the call rejects with the signal's reason. What it asked for may still happen. */
  readonly signal?: AbortSignal;
}

export interface RangeOptions extends CallOptions {
  /** The state as of this revision; the newest when absent. */
  readonly revision?: number;
  /** At most this many keys; all when absent. */
  readonly limit?: number;
  /** For paging through a prefix: keys after this one only. */
  readonly after?: string;
  /** `linearizable` (default) sees every change acknowledged before the call; `serializable` may lag. */
  readonly consistency?: 'linearizable' | 'serializable';
}

export interface RangeResult {
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  /** How many keys match, regardless of the limit. */
  readonly count: number;
}

export type Compare = { readonly key: string } & (
  | {
      readonly target: 'version' | 'createRevision' | 'modRevision';
      readonly is: 'equal' | 'notEqual' | 'less' | 'greater';
      readonly than: number;
    }
  | { readonly target: 'value'; readonly is: 'equal' | 'notEqual' | 'less' | 'greater'; readonly than: Uint8Array }
);

export type Operation =
  | { readonly put: { readonly key: string; readonly value: Uint8Array; readonly lease?: LeaseId } }
  | { readonly delete: KeySelector }
  | { readonly get: KeySelector };

export type OperationResult =
  | { readonly put: { readonly previous: KeyValue | undefined } }
  | { readonly delete: { readonly deleted: number } }
  | { readonly get: { readonly kvs: readonly KeyValue[] } };

export interface Transaction {
  /** All must hold; an empty list holds. */
  readonly when: readonly Compare[];
  readonly then: readonly Operation[];
  readonly otherwise?: readonly Operation[];
}

export interface TransactionResult {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly OperationResult[];
}

export interface Lease {
  readonly id: LeaseId;
  readonly ttlMs: number;
}

export type WatchEvent =
  | { readonly type: 'put'; readonly kv: KeyValue }
  | { readonly type: 'delete'; readonly key: string; readonly modRevision: number };

/** All events of one or more whole revisions, in order; never part of a revision. */
export interface WatchBatch {
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

export interface WatchOptions extends CallOptions {
  /** Begins with the changes of this revision; with what comes next when absent. */
  readonly fromRevision?: number;
}

/**
 * Errors of every call are MetaError: UNAVAILABLE (no leader, or it cannot be reached; retry later),
 * DEADLINE (unknown outcome), COMPACTED (the revision is gone; list again), LEASE_NOT_FOUND, INVALID, …
 */
export interface MetaClient {
  get(key: string, options?: RangeOptions): Promise<KeyValue | undefined>;
  range(selector: KeySelector, options?: RangeOptions): Promise<RangeResult>;
  put(
    key: string,
    value: Uint8Array,
    options?: CallOptions & { readonly lease?: LeaseId },
  ): Promise<{ readonly revision: number }>;
  delete(
    selector: KeySelector,
    options?: CallOptions,
  ): Promise<{ readonly revision: number; readonly deleted: number }>;
  transact(transaction: Transaction, options?: CallOptions): Promise<TransactionResult>;
  /** Keys put with the lease vanish `ttlMs` after the last keep-alive. The service may raise a small ttl. */
  grantLease(ttlMs: number, options?: CallOptions): Promise<Lease>;
  /** Rejects with LEASE_NOT_FOUND when it has expired: the keys are gone, grant a new one. */
  keepLeaseAlive(id: LeaseId, options?: CallOptions): Promise<{ readonly ttlMs: number }>;
  revokeLease(id: LeaseId, options?: CallOptions): Promise<void>;
  /**
   * Every change of the selected keys, in order, without a gap or a repeat, across reconnects. Ends when
   * the signal aborts or the consumer returns; throws COMPACTED when it fell behind what is kept.
   */
  watch(selector: KeySelector, options?: WatchOptions): AsyncIterable<WatchBatch>;
  close(): Promise<void>;
}
