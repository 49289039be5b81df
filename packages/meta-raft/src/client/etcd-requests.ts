// What is asked: between the messages of the etcd API and the state's queries and transactions. The service uses one
// direction, the client the other; etcd-answers.ts is the way back.

import { unreachable } from '@robustmq/stdx/assert';
import { MetaError } from '../errors.js';
import {
  type Compare,
  Compare_CompareResult,
  Compare_CompareTarget,
  type DeleteRangeRequest,
  type PutRequest,
  type RangeRequest,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  type RequestOp,
  type TxnRequest,
} from '../gen/etcdserverpb/rpc.js';
import type {
  Condition,
  RangeQuery,
  Relation,
  SortTarget,
  StateOperation,
  StateTransaction,
} from '../state/command.js';
import { type KeyBytes, type KeyRange, keyFromBytes, keyToBytes } from '../state/key-range.js';
import type { LeaseId } from '../state/record.js';

const NO_BYTES = Buffer.alloc(0);
const NO_LEASE = '0';

const RELATION_CODES: Readonly<Record<Relation, Compare_CompareResult>> = {
  equal: Compare_CompareResult.EQUAL,
  greater: Compare_CompareResult.GREATER,
  less: Compare_CompareResult.LESS,
  notEqual: Compare_CompareResult.NOT_EQUAL,
};
const RELATIONS = invert(RELATION_CODES);

const SORT_TARGET_CODES: Readonly<Record<SortTarget, RangeRequest_SortTarget>> = {
  key: RangeRequest_SortTarget.KEY,
  version: RangeRequest_SortTarget.VERSION,
  createRevision: RangeRequest_SortTarget.CREATE,
  modRevision: RangeRequest_SortTarget.MOD,
  value: RangeRequest_SortTarget.VALUE,
};
const SORT_TARGETS = invert(SORT_TARGET_CODES);

export function leaseFromWire(lease: string): LeaseId | undefined {
  return lease === NO_LEASE ? undefined : lease;
}

export function leaseToWire(lease: LeaseId | undefined): string {
  return lease ?? NO_LEASE;
}

export function rangeFromWire(message: { readonly key: Buffer; readonly rangeEnd: Buffer }): KeyRange {
  return { key: keyFromBytes(message.key), end: keyFromBytes(message.rangeEnd) };
}

function rangeToWire(range: KeyRange): { key: Buffer; rangeEnd: Buffer } {
  return { key: keyToBytes(range.key), rangeEnd: keyToBytes(range.end) };
}

export function queryFromWire(message: RangeRequest): RangeQuery {
  const returns = message.countOnly ? 'count' : message.keysOnly ? 'keys' : 'keys-and-values';
  const by = SORT_TARGETS.get(message.sortTarget);
  const descending = message.sortOrder === RangeRequest_SortOrder.DESCEND;
  // As etcd: a sort target other than the key, without an order, sorts ascending.
  const sorts = by !== undefined && (message.sortOrder !== RangeRequest_SortOrder.NONE || by !== 'key');
  return {
    range: rangeFromWire(message),
    revision: Math.max(0, message.revision),
    limit: Math.max(0, message.limit),
    returns,
    ...(sorts ? { sort: { by, order: descending ? 'descending' : 'ascending' } } : {}),
    modRevision: bounds(message.minModRevision, message.maxModRevision),
    createRevision: bounds(message.minCreateRevision, message.maxCreateRevision),
  };
}

function bounds(min: number, max: number): { readonly min: number; readonly max: number } {
  return { min: Math.max(0, min), max: Math.max(0, max) };
}

export function queryToWire(query: RangeQuery): RangeRequest {
  const { sort } = query;
  return {
    ...rangeToWire(query.range),
    limit: query.limit,
    revision: query.revision,
    sortOrder: sort
      ? sort.order === 'descending'
        ? RangeRequest_SortOrder.DESCEND
        : RangeRequest_SortOrder.ASCEND
      : RangeRequest_SortOrder.NONE,
    sortTarget: SORT_TARGET_CODES[sort?.by ?? 'key'],
    serializable: false,
    keysOnly: query.returns === 'keys',
    countOnly: query.returns === 'count',
    minModRevision: query.modRevision?.min ?? 0,
    maxModRevision: query.modRevision?.max ?? 0,
    minCreateRevision: query.createRevision?.min ?? 0,
    maxCreateRevision: query.createRevision?.max ?? 0,
  };
}

export function putFromWire(message: PutRequest): StateOperation {
  if ((message.ignoreValue && message.value.length > 0) || (message.ignoreLease && message.lease !== NO_LEASE)) {
    throw new MetaError('INVALID', 'A put that keeps the value or lease of the key must not bring one.');
  }
  return {
    op: 'put',
    key: keyFromBytes(message.key),
    value: message.ignoreValue ? 'keep' : message.value,
    lease: message.ignoreLease ? 'keep' : leaseFromWire(message.lease),
    returns: message.prevKv ? 'previous' : 'nothing',
  };
}

export function deleteFromWire(message: DeleteRangeRequest): StateOperation {
  return { op: 'delete', range: rangeFromWire(message), returns: message.prevKv ? 'previous' : 'nothing' };
}

export function transactionFromWire(message: TxnRequest): StateTransaction {
  return {
    when: message.compare.map(conditionFromWire),
    then: message.success.map(operationFromWire),
    otherwise: message.failure.map(operationFromWire),
  };
}

export function transactionToWire(transaction: StateTransaction): TxnRequest {
  return {
    compare: transaction.when.map(conditionToWire),
    success: transaction.then.map(operationToWire),
    failure: transaction.otherwise.map(operationToWire),
  };
}

function operationFromWire({ request }: RequestOp): StateOperation {
  switch (request?.$case) {
    case 'requestRange':
      return { op: 'range', ...queryFromWire(request.value) };
    case 'requestPut':
      return putFromWire(request.value);
    case 'requestDeleteRange':
      return deleteFromWire(request.value);
    case 'requestTxn':
      throw new MetaError('NOT_SUPPORTED', 'Transactions inside transactions are not served. Flatten them.');
    default:
      throw new MetaError('INVALID', 'An operation of the transaction is empty.');
  }
}

function operationToWire(operation: StateOperation): RequestOp {
  switch (operation.op) {
    case 'range':
      return { request: { $case: 'requestRange', value: queryToWire(operation) } };
    case 'put':
      return { request: { $case: 'requestPut', value: putToWire(operation) } };
    case 'delete':
      return {
        request: {
          $case: 'requestDeleteRange',
          value: { ...rangeToWire(operation.range), prevKv: operation.returns === 'previous' },
        },
      };
    default:
      return unreachable(operation);
  }
}

function putToWire(put: Extract<StateOperation, { readonly op: 'put' }>): PutRequest {
  return {
    key: keyToBytes(put.key),
    value: put.value === 'keep' ? NO_BYTES : put.value,
    lease: put.lease === 'keep' ? NO_LEASE : leaseToWire(put.lease),
    prevKv: put.returns === 'previous',
    ignoreValue: put.value === 'keep',
    ignoreLease: put.lease === 'keep',
  };
}

function conditionFromWire(message: Compare): Condition {
  const range = rangeFromWire(message);
  const is = RELATIONS.get(message.result);
  const union = message.targetUnion;
  if (is === undefined) throw new MetaError('INVALID', `The comparison ${message.result} is not known.`);
  // An absent value is the default of its type, as proto3 has it.
  switch (message.target) {
    case Compare_CompareTarget.VERSION:
      return { range, is, target: 'version', than: union?.$case === 'version' ? union.value : 0 };
    case Compare_CompareTarget.CREATE:
      return { range, is, target: 'createRevision', than: union?.$case === 'createRevision' ? union.value : 0 };
    case Compare_CompareTarget.MOD:
      return { range, is, target: 'modRevision', than: union?.$case === 'modRevision' ? union.value : 0 };
    case Compare_CompareTarget.VALUE:
      return { range, is, target: 'value', than: union?.$case === 'value' ? union.value : NO_BYTES };
    case Compare_CompareTarget.LEASE:
      return { range, is, target: 'lease', than: union?.$case === 'lease' ? leaseFromWire(union.value) : undefined };
    default:
      throw new MetaError('INVALID', `What to compare, ${message.target}, is not known.`);
  }
}

function conditionToWire(condition: Condition): Compare {
  const message = { ...rangeToWire(condition.range), result: RELATION_CODES[condition.is] };
  switch (condition.target) {
    case 'value':
      return {
        ...message,
        target: Compare_CompareTarget.VALUE,
        targetUnion: { $case: 'value', value: condition.than },
      };
    case 'lease':
      return {
        ...message,
        target: Compare_CompareTarget.LEASE,
        targetUnion: { $case: 'lease', value: leaseToWire(condition.than) },
      };
    case 'version':
      return {
        ...message,
        target: Compare_CompareTarget.VERSION,
        targetUnion: { $case: 'version', value: condition.than },
      };
    case 'createRevision':
      return {
        ...message,
        target: Compare_CompareTarget.CREATE,
        targetUnion: { $case: 'createRevision', value: condition.than },
      };
    case 'modRevision':
      return {
        ...message,
        target: Compare_CompareTarget.MOD,
        targetUnion: { $case: 'modRevision', value: condition.than },
      };
    default:
      return unreachable(condition);
  }
}

/** Empty is "from the first key on", as etcd reads it in a watch. */
export function watchRangeFromWire(message: { readonly key: Buffer; readonly rangeEnd: Buffer }): KeyRange {
  const range = rangeFromWire(message);
  return range.key === '' ? { key: '\0' as KeyBytes, end: range.end } : range; // one char, one byte
}

function invert<K extends string, V>(table: Readonly<Record<K, V>>): ReadonlyMap<V, K> {
  return new Map(Object.entries(table).map(([key, value]) => [value as V, key as K])); // entries of exactly this table
}
