// From what a user of MetaClient says to what the state is asked, and back. Checks what can be checked before
// anything is sent, so that every client refuses the same things with the same words.

import { MetaError } from '../errors.js';
import type {
  CommandResult,
  Condition,
  OperationAnswer,
  RangeAnswer,
  RangeQuery,
  StateOperation,
  StateTransaction,
} from '../state/command.js';
import {
  type KeyBytes,
  type KeyRange,
  keyAfter,
  keyFromText,
  keyToText,
  prefixRange,
  singleKey,
} from '../state/key-range.js';
import { isLeaseId } from '../state/meta-state.js';
import type { LeaseId, LiveVersion, Version } from '../state/record.js';
import type {
  Compare,
  KeySelector,
  KeyValue,
  Operation,
  OperationResult,
  RangeOptions,
  RangeResult,
  Transaction,
  TransactionResult,
  WatchBatch,
  WatchEvent,
} from './meta-client.js';

export interface RequestLimits {
  /** Bytes of one key. */
  readonly keyBytesMax: number;
  /** Bytes of all keys and values of one request. */
  readonly requestBytesMax: number;
  /** Operations, and as many conditions, of one transaction. */
  readonly operationsMax: number;
}

/** Half of a pair without the other: what UTF-8 cannot hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export function toKey(key: string, limits: RequestLimits): KeyBytes {
  if (key === '') throw new MetaError('INVALID', 'The key is empty. Give a key of at least one byte.');
  return checkedKey(key, limits);
}

export function toRange(selector: KeySelector, limits: RequestLimits): KeyRange {
  return 'key' in selector ? singleKey(toKey(selector.key, limits)) : prefixRange(checkedKey(selector.prefix, limits));
}

export function toQuery(selector: KeySelector, options: RangeOptions, limits: RequestLimits): RangeQuery {
  let range = toRange(selector, limits);
  if (options.after !== undefined) {
    const after = keyAfter(checkedKey(options.after, limits));
    if ('prefix' in selector && after > range.key) range = { key: after, end: range.end };
  }
  const revision = wholeNumber(options.revision ?? 0, 'The revision');
  return { range, revision, limit: wholeNumber(options.limit ?? 0, 'The limit'), returns: 'keys-and-values' };
}

export function toTransaction(transaction: Transaction, limits: RequestLimits): StateTransaction {
  const wanted = {
    when: transaction.when.map((compare) => toCondition(compare, limits)),
    then: transaction.then.map((operation) => toOperation(operation, limits)),
    otherwise: (transaction.otherwise ?? []).map((operation) => toOperation(operation, limits)),
  };
  checkLimits(wanted, limits);
  return wanted;
}

/** Throws TOO_LARGE. */
export function checkLimits(transaction: StateTransaction, limits: RequestLimits): void {
  const longest = Math.max(transaction.when.length, transaction.then.length, transaction.otherwise.length);
  if (longest > limits.operationsMax) {
    throw new MetaError(
      'TOO_LARGE',
      `The transaction has ${longest} conditions or operations in one list; the limit is ${limits.operationsMax}. Split it.`,
    );
  }
  checkSize(transaction, limits);
}

export function toPut(
  put: { readonly key: string; readonly value: Uint8Array; readonly lease?: LeaseId },
  limits: RequestLimits,
): StateTransaction {
  return toTransaction({ when: [], then: [{ put }] }, limits);
}

/** Whole seconds, as etcd counts them, so that every client grants the same. */
export function toTtlMs(ttlMs: number): number {
  if (!Number.isFinite(ttlMs) || ttlMs <= 0) {
    throw new MetaError('INVALID', `A lease of ${ttlMs} ms cannot be granted. Give a ttl above 0.`);
  }
  return Math.ceil(ttlMs / 1000) * 1000;
}

export function toLeaseId(id: LeaseId): LeaseId {
  if (!isLeaseId(id)) {
    throw new MetaError('INVALID', `${JSON.stringify(id)} is no lease id: it is decimal text from 1 to 2^63 - 1.`);
  }
  return id;
}

export function toFromRevision(revision: number | undefined): number | undefined {
  return revision === undefined ? undefined : wholeNumber(revision, 'The revision to watch from');
}

/** The result of an accepted command; throws what a rejected one says. */
export function accepted<Kind extends CommandResult['kind']>(
  result: CommandResult,
  kind: Kind,
): Extract<CommandResult, { readonly kind: Kind }> {
  if (result.kind === 'rejected') throw new MetaError(result.code, result.message);
  if (result.kind !== kind) throw new MetaError('FAILED', `A ${kind} was asked for and a ${result.kind} came back.`);
  return result as Extract<CommandResult, { readonly kind: Kind }>; // compared just above
}

export function toTransactionResult(
  result: Extract<CommandResult, { readonly kind: 'transacted' }>,
): TransactionResult {
  return {
    succeeded: result.branch === 'then',
    revision: result.revision,
    results: result.answers.map(toOperationResult),
  };
}

export function toRangeResult(answer: RangeAnswer, revision: number): RangeResult {
  return { revision, kvs: answer.kvs.map(toKeyValue), count: answer.count };
}

/** The value is copied: what the caller does with it must not reach the state. */
export function toKeyValue(version: LiveVersion): KeyValue {
  return {
    key: keyToText(version.key),
    value: Buffer.from(version.value),
    createRevision: version.createRevision,
    modRevision: version.modRevision,
    version: version.version,
    lease: version.lease,
  };
}

export function toWatchBatch(versions: readonly Version[], revision: number): WatchBatch {
  return { revision, events: versions.map(toWatchEvent) };
}

function toWatchEvent(version: Version): WatchEvent {
  if (version.value === undefined) {
    return { type: 'delete', key: keyToText(version.key), modRevision: version.modRevision };
  }
  return { type: 'put', kv: toKeyValue({ ...version, value: version.value }) };
}

function toOperationResult(answer: OperationAnswer): OperationResult {
  switch (answer.op) {
    case 'put':
      return { put: { previous: answer.previous && toKeyValue(answer.previous) } };
    case 'delete':
      return { delete: { deleted: answer.deleted } };
    default:
      return { get: { kvs: answer.kvs.map(toKeyValue) } };
  }
}

function toCondition(compare: Compare, limits: RequestLimits): Condition {
  const range = singleKey(toKey(compare.key, limits));
  if (compare.target === 'value') {
    return { range, is: compare.is, target: 'value', than: asBuffer(compare.than) };
  }
  return { range, is: compare.is, target: compare.target, than: wholeNumber(compare.than, `The ${compare.target}`) };
}

function toOperation(operation: Operation, limits: RequestLimits): StateOperation {
  if ('put' in operation) {
    const { key, value, lease } = operation.put;
    return {
      op: 'put',
      key: toKey(key, limits),
      value: asBuffer(value),
      lease: lease === undefined ? undefined : toLeaseId(lease),
      returns: 'previous',
    };
  }
  if ('delete' in operation) return { op: 'delete', range: toRange(operation.delete, limits), returns: 'nothing' };
  return { op: 'range', ...toQuery(operation.get, {}, limits) };
}

function checkSize(transaction: StateTransaction, limits: RequestLimits): void {
  let bytes = 0;
  for (const condition of transaction.when) {
    bytes += condition.range.key.length + (condition.target === 'value' ? condition.than.length : 0);
  }
  for (const operation of [...transaction.then, ...transaction.otherwise]) {
    if (operation.op !== 'put') bytes += operation.range.key.length;
    else bytes += operation.key.length + (operation.value === 'keep' ? 0 : operation.value.length);
  }
  if (bytes > limits.requestBytesMax) {
    throw new MetaError(
      'TOO_LARGE',
      `The request has ${bytes} bytes of keys and values; the limit is ${limits.requestBytesMax}. Split it, or store less.`,
    );
  }
}

function checkedKey(key: string, limits: RequestLimits): KeyBytes {
  if (LONE_SURROGATE.test(key)) {
    throw new MetaError(
      'INVALID',
      'The key has half of a surrogate pair, which UTF-8 cannot hold. Give well-formed text.',
    );
  }
  const bytes = keyFromText(key);
  if (bytes.length > limits.keyBytesMax) {
    throw new MetaError('TOO_LARGE', `The key has ${bytes.length} bytes; the limit is ${limits.keyBytesMax}.`);
  }
  return bytes;
}

function wholeNumber(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new MetaError('INVALID', `${what} is ${value}. It must be a whole number from 0 on.`);
  }
  return value;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
