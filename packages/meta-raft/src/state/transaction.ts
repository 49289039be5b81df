// A transaction against the state: first everything that can be wrong is found, then nothing can fail any more.

import { assert, unreachable } from '@robustmq/stdx/assert';
import {
  type Condition,
  type DeleteOperation,
  type OperationAnswer,
  type PutOperation,
  type RangeOperation,
  type RangeQuery,
  type Rejection,
  type Relation,
  rejected,
  type StateOperation,
  type StateTransaction,
} from './command.js';
import { type KeyRange, rangeContains } from './key-range.js';
import type { LeaseTable } from './lease-table.js';
import type { LeaseId, LiveVersion } from './record.js';
import type { ChangeWriter, VersionStore } from './version-store.js';

export interface TransactionContext {
  readonly versions: VersionStore;
  readonly leases: LeaseTable;
}

export type TransactionOutcome =
  | {
      readonly outcome: 'done';
      readonly branch: 'then' | 'otherwise';
      readonly answers: readonly OperationAnswer[];
    }
  | { readonly outcome: 'rejected'; readonly rejection: Rejection };

/** Both branches are checked, so that whether a transaction is legal does not hang on the state it meets. */
export function executeTransaction(context: TransactionContext, transaction: StateTransaction): TransactionOutcome {
  const wrong = findIllegal(transaction);
  if (wrong) return { outcome: 'rejected', rejection: wrong };
  const branch = transaction.when.every((condition) => holds(context.versions, condition)) ? 'then' : 'otherwise';
  const operations = transaction[branch];
  const impossible = findImpossible(context, operations);
  if (impossible) return { outcome: 'rejected', rejection: impossible };
  const writer = context.versions.write();
  return { outcome: 'done', branch, answers: operations.map((operation) => execute(context, writer, operation)) };
}

/** What makes a range unreadable, if anything. */
export function checkQuery(versions: VersionStore, query: RangeQuery): Rejection | undefined {
  const empty = checkKey(query.range.key);
  if (empty) return empty;
  if (query.revision > versions.revision) {
    return rejected(
      'FUTURE_REVISION',
      `Revision ${query.revision} has not happened yet; the newest is ${versions.revision}. Read without a revision.`,
    );
  }
  if (query.revision > 0 && query.revision < versions.compactedRevision) {
    return rejected(
      'COMPACTED',
      `Revision ${query.revision} is compacted; history begins at ${versions.compactedRevision}. Read a newer revision.`,
    );
  }
  return undefined;
}

/** Removes the key and takes it off its lease. False when there is no such key. */
export function deleteKey(context: TransactionContext, writer: ChangeWriter, version: LiveVersion): void {
  if (version.lease !== undefined) context.leases.detach(version.lease, version.key); // T1
  writer.delete(version.key);
}

function findIllegal(transaction: StateTransaction): Rejection | undefined {
  for (const condition of transaction.when) {
    const wrong = checkKey(condition.range.key);
    if (wrong) return wrong;
  }
  return findRepeatedKey(transaction.then) ?? findRepeatedKey(transaction.otherwise);
}

function findRepeatedKey(operations: readonly StateOperation[]): Rejection | undefined {
  const put = new Set<string>();
  const deleted: KeyRange[] = [];
  for (const operation of operations) {
    const wrong = checkKey(operation.op === 'put' ? operation.key : operation.range.key);
    if (wrong) return wrong;
    if (operation.op === 'delete') deleted.push(operation.range);
    if (operation.op !== 'put') continue;
    if (put.has(operation.key)) return duplicate();
    put.add(operation.key);
  }
  if (deleted.length === 0) return undefined;
  for (const operation of operations) {
    if (operation.op !== 'put') continue;
    if (deleted.some((range) => rangeContains(range, operation.key))) return duplicate();
  }
  return undefined;
}

function duplicate(): Rejection {
  return rejected('DUPLICATE_KEY', 'A transaction changes the same key twice. Change each key once.');
}

function checkKey(key: string): Rejection | undefined {
  return key === '' ? rejected('INVALID', 'The key is empty. Give a key of at least one byte.') : undefined;
}

/** What cannot be done in the present state. Within a transaction no write can make or mend it: keys are written once. */
function findImpossible(context: TransactionContext, operations: readonly StateOperation[]): Rejection | undefined {
  for (const operation of operations) {
    const wrong =
      operation.op === 'put'
        ? checkPut(context, operation)
        : operation.op === 'range'
          ? checkQuery(context.versions, operation)
          : undefined;
    if (wrong) return wrong;
  }
  return undefined;
}

function checkPut(context: TransactionContext, put: PutOperation): Rejection | undefined {
  const keeps = put.value === 'keep' || put.lease === 'keep';
  if (keeps && !context.versions.current(put.key)) {
    return rejected('KEY_NOT_FOUND', 'The put keeps the value or lease of a key that does not exist.');
  }
  if (put.lease !== 'keep' && put.lease !== undefined && !context.leases.get(put.lease)) {
    return leaseNotFound(put.lease);
  }
  return undefined;
}

export function leaseNotFound(id: LeaseId): Rejection {
  return rejected('LEASE_NOT_FOUND', `There is no lease ${id}: it expired or was revoked. Grant a new one.`);
}

function execute(context: TransactionContext, writer: ChangeWriter, operation: StateOperation): OperationAnswer {
  switch (operation.op) {
    case 'put':
      return executePut(context, writer, operation);
    case 'delete':
      return executeDelete(context, writer, operation);
    case 'range':
      return executeRange(context, operation);
    default:
      return unreachable(operation);
  }
}

function executePut(context: TransactionContext, writer: ChangeWriter, put: PutOperation): OperationAnswer {
  const previous = context.versions.current(put.key);
  const lease = put.lease === 'keep' ? previous?.lease : put.lease;
  // The command's bytes are a view of the log entry; the state must not keep the whole entry alive.
  const value = put.value === 'keep' ? previous?.value : Buffer.from(put.value);
  assert(value !== undefined, 'a put that keeps its value was checked to have one');
  if (previous?.lease !== undefined && previous.lease !== lease) context.leases.detach(previous.lease, put.key); // T1
  writer.put(put.key, value, lease);
  if (lease !== undefined) context.leases.attach(lease, put.key); // T1
  return { op: 'put', previous: put.returns === 'previous' ? previous : undefined };
}

function executeDelete(context: TransactionContext, writer: ChangeWriter, operation: DeleteOperation): OperationAnswer {
  const doomed: LiveVersion[] = [];
  context.versions.walk(operation.range, 0, (version) => {
    doomed.push(version);
    return 'go-on';
  });
  for (const version of doomed) deleteKey(context, writer, version);
  return { op: 'delete', deleted: doomed.length, previous: operation.returns === 'previous' ? doomed : [] };
}

function executeRange(context: TransactionContext, operation: RangeOperation): OperationAnswer {
  return { op: 'range', ...context.versions.range(operation) };
}

function holds(versions: VersionStore, condition: Condition): boolean {
  let met = 0;
  let failed = 0;
  versions.walk(condition.range, 0, (version) => {
    if (compare(condition, version)) met++;
    else failed++;
    return failed === 0 ? 'go-on' : 'stop';
  });
  return failed === 0 && (met > 0 || compare(condition, undefined));
}

function compare(condition: Condition, version: LiveVersion | undefined): boolean {
  switch (condition.target) {
    case 'value':
      return version !== undefined && related(condition.is, Buffer.compare(version.value, condition.than));
    case 'lease':
      return related(condition.is, compareLeases(version?.lease, condition.than));
    default:
      return related(condition.is, (version?.[condition.target] ?? 0) - condition.than);
  }
}

/** Decimal texts without leading zeros: the longer is the larger; none is 0. */
function compareLeases(a: LeaseId | undefined, b: LeaseId | undefined): number {
  const left = a ?? '';
  const right = b ?? '';
  if (left === right) return 0;
  return left.length - right.length || (left < right ? -1 : 1);
}

function related(is: Relation, order: number): boolean {
  switch (is) {
    case 'equal':
      return order === 0;
    case 'notEqual':
      return order !== 0;
    case 'less':
      return order < 0;
    case 'greater':
      return order > 0;
    default:
      return unreachable(is);
  }
}
