// What can be proposed, and what comes back. Plain data; command-codec.ts and result-codec.ts turn it into bytes.

import type { KeyBytes, KeyRange } from './key-range.js';
import type { LeaseId, LiveVersion } from './record.js';

export type Relation = 'equal' | 'notEqual' | 'less' | 'greater';

/** Holds when it holds for every key of the range; for a missing key, every number is 0 and a value never compares. */
export type Condition = { readonly range: KeyRange; readonly is: Relation } & (
  | { readonly target: 'version' | 'createRevision' | 'modRevision'; readonly than: number }
  | { readonly target: 'value'; readonly than: Buffer }
  | { readonly target: 'lease'; readonly than: LeaseId | undefined }
);

export type SortTarget = 'key' | 'version' | 'createRevision' | 'modRevision' | 'value';

export interface RangeQuery {
  readonly range: KeyRange;
  /** 0 is the newest. */
  readonly revision: number;
  /** 0 is no limit. */
  readonly limit: number;
  readonly returns: 'keys-and-values' | 'keys' | 'count';
  readonly sort?: { readonly by: SortTarget; readonly order: 'ascending' | 'descending' };
  /** Bounds of 0 do not bind. They narrow `kvs`, not `count`. */
  readonly modRevision?: { readonly min: number; readonly max: number };
  readonly createRevision?: { readonly min: number; readonly max: number };
}

export interface PutOperation {
  readonly op: 'put';
  readonly key: KeyBytes;
  /** `keep` leaves what the key has; it must exist then. */
  readonly value: Buffer | 'keep';
  readonly lease: LeaseId | undefined | 'keep';
  readonly returns: 'previous' | 'nothing';
}

export interface DeleteOperation {
  readonly op: 'delete';
  readonly range: KeyRange;
  readonly returns: 'previous' | 'nothing';
}

export type RangeOperation = { readonly op: 'range' } & RangeQuery;

export type StateOperation = PutOperation | DeleteOperation | RangeOperation;

export interface StateTransaction {
  readonly when: readonly Condition[];
  readonly then: readonly StateOperation[];
  readonly otherwise: readonly StateOperation[];
}

export type CommandBody =
  | ({ readonly kind: 'transact' } & StateTransaction)
  | { readonly kind: 'grant-lease'; readonly id: LeaseId; readonly ttlMs: number }
  | { readonly kind: 'revoke-lease'; readonly id: LeaseId }
  /** By the leader when the ttl has passed. `grantIndex` keeps it off a later lease of the same id. */
  | { readonly kind: 'expire-lease'; readonly id: LeaseId; readonly grantIndex: number }
  | { readonly kind: 'compact'; readonly revision: number };

/** Who asks, so that a repeated request is applied once. */
export interface RequestIdentity {
  /** 1 to 64 of A-Z a-z 0-9 _ -, never used by two clients. */
  readonly client: string;
  /** Rises by one per request; a retry repeats it. */
  readonly sequence: number;
  /** Below this the client waits for nothing any more: those results may be forgotten. At most `sequence`. */
  readonly settledBelow: number;
  /**
   * 1 for the first; it only matters whether it is more. 0 is an introduction: an empty transaction, which may be repeated
   * freely because it changes nothing, and after which the state knows the client.
   */
  readonly attempt: number;
}

export interface Command {
  /** The leader's wall clock when it proposed, milliseconds since 1970. The only time the state ever sees. */
  readonly timeMs: number;
  readonly identity: RequestIdentity | undefined;
  readonly body: CommandBody;
}

export interface RangeAnswer {
  readonly kvs: readonly LiveVersion[];
  /** How many keys match, regardless of the limit. */
  readonly count: number;
  readonly more: boolean;
}

export type OperationAnswer =
  | { readonly op: 'put'; readonly previous: LiveVersion | undefined }
  | { readonly op: 'delete'; readonly deleted: number; readonly previous: readonly LiveVersion[] }
  | ({ readonly op: 'range' } & RangeAnswer);

/** Why a command changed nothing. A subset of the codes of MetaError. */
export const REJECTION_CODES = [
  'INVALID',
  'TOO_LARGE',
  'COMPACTED',
  'FUTURE_REVISION',
  'LEASE_NOT_FOUND',
  'LEASE_EXISTS',
  'KEY_NOT_FOUND',
  'DUPLICATE_KEY',
  'FORGOTTEN',
] as const;

export type RejectionCode = (typeof REJECTION_CODES)[number];

export interface Rejection {
  readonly kind: 'rejected';
  readonly code: RejectionCode;
  readonly message: string;
}

/** `revision` is that of the state after the command. */
export type CommandResult =
  | {
      readonly kind: 'transacted';
      readonly branch: 'then' | 'otherwise';
      readonly revision: number;
      readonly answers: readonly OperationAnswer[];
    }
  | { readonly kind: 'lease-granted'; readonly id: LeaseId; readonly ttlMs: number; readonly revision: number }
  | { readonly kind: 'lease-revoked'; readonly id: LeaseId; readonly revision: number; readonly deleted: number }
  | { readonly kind: 'compacted'; readonly revision: number }
  | Rejection;

export function rejected(code: RejectionCode, message: string): Rejection {
  return { kind: 'rejected', code, message };
}
