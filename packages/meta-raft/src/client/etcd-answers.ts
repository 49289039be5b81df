// What is answered: between the state's answers and the messages of the etcd API. etcd-requests.ts is the way in.

import { unreachable } from '@robustmq/stdx/assert';
import { MetaError } from '../errors.js';
import type { RangeResponse, ResponseHeader, ResponseOp, TxnResponse } from '../gen/etcdserverpb/rpc.js';
import type { KeyValue as WireKeyValue } from '../gen/mvccpb/kv.js';
import type { CommandResult, OperationAnswer, RangeAnswer } from '../state/command.js';
import { keyFromBytes, keyToBytes } from '../state/key-range.js';
import type { LiveVersion } from '../state/record.js';
import { leaseFromWire, leaseToWire } from './etcd-requests.js';

export function versionToWire(version: LiveVersion): WireKeyValue {
  return {
    key: keyToBytes(version.key),
    value: version.value,
    createRevision: version.createRevision,
    modRevision: version.modRevision,
    version: version.version,
    lease: leaseToWire(version.lease),
  };
}

/** `sub` and the checksum do not travel: the client of a range has no use for them. */
export function versionFromWire(kv: WireKeyValue): LiveVersion {
  return {
    key: keyFromBytes(kv.key),
    value: kv.value,
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    version: kv.version,
    lease: leaseFromWire(kv.lease),
    sub: 0,
    crc: 0,
  };
}

export function rangeAnswerToWire(answer: RangeAnswer, header: ResponseHeader | undefined): RangeResponse {
  return { header, kvs: answer.kvs.map(versionToWire), more: answer.more, count: answer.count };
}

export function rangeAnswerFromWire(message: RangeResponse): RangeAnswer {
  return { kvs: message.kvs.map(versionFromWire), more: message.more, count: message.count };
}

export function answerToWire(answer: OperationAnswer, header: ResponseHeader): ResponseOp {
  switch (answer.op) {
    case 'range':
      return { response: { $case: 'responseRange', value: rangeAnswerToWire(answer, header) } };
    case 'put': {
      const prevKv = answer.previous && versionToWire(answer.previous);
      return { response: { $case: 'responsePut', value: { header, prevKv } } };
    }
    case 'delete': {
      const prevKvs = answer.previous.map(versionToWire);
      return { response: { $case: 'responseDeleteRange', value: { header, deleted: answer.deleted, prevKvs } } };
    }
    default:
      return unreachable(answer);
  }
}

export function transactionResultFromWire(
  message: TxnResponse,
): Extract<CommandResult, { readonly kind: 'transacted' }> {
  return {
    kind: 'transacted',
    branch: message.succeeded ? 'then' : 'otherwise',
    revision: message.header?.revision ?? 0,
    answers: message.responses.map(answerFromWire),
  };
}

function answerFromWire({ response }: ResponseOp): OperationAnswer {
  switch (response?.$case) {
    case 'responseRange':
      return { op: 'range', ...rangeAnswerFromWire(response.value) };
    case 'responsePut':
      return { op: 'put', previous: response.value.prevKv && versionFromWire(response.value.prevKv) };
    case 'responseDeleteRange': {
      const { deleted, prevKvs } = response.value;
      return { op: 'delete', deleted, previous: prevKvs.map(versionFromWire) };
    }
    default:
      throw new MetaError('FAILED', 'The service answered an operation with something we did not ask for.');
  }
}
