// Errors across gRPC. Stock etcd clients match on status code and text, so both are etcd's where etcd has the
// case. Our own client reads the code and the full sentence from the metadata beside it.

import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { errorMessage, type NextStep } from '@robustmq/stdx/coded-error';
import { META_ERRORS, MetaError, type MetaErrorCode } from '../errors.js';

const CODE_KEY = 'robustmq-error';
const NEXT_KEY = 'robustmq-next';
const MESSAGE_KEY = 'robustmq-message-bin';

/** How grpc-js says that a call found no connection: then it cannot have reached anybody. */
const NEVER_SENT = 'No connection established';

interface RpcStatus {
  readonly code: status;
  readonly text: string;
}

/** In the order in which a text is looked for: one that etcd uses for two of our codes means the first. */
const STATUS: Readonly<Record<MetaErrorCode, RpcStatus>> = {
  COMPACTED: { code: status.OUT_OF_RANGE, text: 'etcdserver: mvcc: required revision has been compacted' },
  FUTURE_REVISION: { code: status.OUT_OF_RANGE, text: 'etcdserver: mvcc: required revision is a future revision' },
  LEASE_NOT_FOUND: { code: status.NOT_FOUND, text: 'etcdserver: requested lease not found' },
  LEASE_EXISTS: { code: status.FAILED_PRECONDITION, text: 'etcdserver: lease already exists' },
  TTL_TOO_LARGE: { code: status.OUT_OF_RANGE, text: 'etcdserver: too large lease TTL' },
  BAD_TRANSFEREE: { code: status.FAILED_PRECONDITION, text: 'etcdserver: bad leader transferee' },
  MEMBER_NOT_FOUND: { code: status.NOT_FOUND, text: 'etcdserver: member not found' },
  MEMBER_EXISTS: { code: status.FAILED_PRECONDITION, text: 'etcdserver: Peer URLs already exists' },
  NOT_LEARNER: { code: status.FAILED_PRECONDITION, text: 'etcdserver: can only promote a learner member' },
  LEARNER_NOT_READY: {
    code: status.FAILED_PRECONDITION,
    text: 'etcdserver: can only promote a learner member which is in sync with leader',
  },
  REMOVED: {
    code: status.FAILED_PRECONDITION,
    text: 'etcdserver: the member has been permanently removed from the cluster',
  },
  KEY_NOT_FOUND: { code: status.INVALID_ARGUMENT, text: 'etcdserver: key not found' },
  DUPLICATE_KEY: { code: status.INVALID_ARGUMENT, text: 'etcdserver: duplicate key given in txn request' },
  TOO_LARGE: { code: status.INVALID_ARGUMENT, text: 'etcdserver: request is too large' },
  INVALID: { code: status.INVALID_ARGUMENT, text: 'etcdserver: key is not provided' },
  NO_SPACE: { code: status.RESOURCE_EXHAUSTED, text: 'etcdserver: mvcc: database space exceeded' },
  OVERLOADED: { code: status.RESOURCE_EXHAUSTED, text: 'etcdserver: too many requests' },
  UNAVAILABLE: { code: status.UNAVAILABLE, text: 'etcdserver: no leader' },
  NOT_LEADER: { code: status.FAILED_PRECONDITION, text: 'etcdserver: not leader' },
  DEADLINE: { code: status.UNAVAILABLE, text: 'etcdserver: request timed out' },
  OUTCOME_UNKNOWN: {
    code: status.UNAVAILABLE,
    text: 'etcdserver: request timed out, possibly due to previous leader failure',
  },
  FORGOTTEN: { code: status.ABORTED, text: 'etcdserver: the outcome of a repeated request is no longer known' },
  NOT_SUPPORTED: { code: status.UNIMPLEMENTED, text: 'etcdserver: not capable' },
  UNAUTHENTICATED: { code: status.UNAUTHENTICATED, text: 'etcdserver: invalid auth token' },
  WRONG_CLUSTER: { code: status.FAILED_PRECONDITION, text: 'etcdserver: cluster ID mismatch' },
  DIRECTORY_MISMATCH: { code: status.FAILED_PRECONDITION, text: 'etcdserver: data directory mismatch' },
  DAMAGED: { code: status.DATA_LOSS, text: 'etcdserver: corrupt cluster' },
  FAILED: { code: status.UNAVAILABLE, text: 'etcdserver: server stopped after a storage failure' },
  CLOSED: { code: status.UNAVAILABLE, text: 'etcdserver: server stopped' },
};

export interface RpcFailure {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** What a handler answers with; anything that is no MetaError is a fault of ours and says INTERNAL. */
export function toRpcFailure(error: unknown): RpcFailure {
  const metadata = new Metadata();
  if (!(error instanceof MetaError)) return { code: status.INTERNAL, details: errorMessage(error), metadata };
  const { code, text } = STATUS[error.code];
  metadata.set(CODE_KEY, error.code);
  metadata.set(NEXT_KEY, error.next);
  metadata.set(MESSAGE_KEY, Buffer.from(error.message));
  return { code, details: text, metadata };
}

/** The MetaError behind a failed call, ours or etcd's. `endpoint` is named in the message. */
export function fromRpcFailure(failure: ServiceError, endpoint: string): MetaError {
  const [code] = failure.metadata?.get(CODE_KEY) ?? [];
  if (typeof code === 'string' && code in META_ERRORS) {
    const [text] = failure.metadata.get(MESSAGE_KEY);
    const [next] = failure.metadata.get(NEXT_KEY);
    const known = code as MetaErrorCode; // `in` just checked it
    return new MetaError(known, text === undefined ? failure.details : text.toString(), {
      cause: failure,
      ...(isNextStep(next) ? { next } : {}),
    });
  }
  const found = Object.entries(STATUS).find(([, known]) => known.text === failure.details);
  if (found) return new MetaError(found[0] as MetaErrorCode, `${endpoint}: ${failure.details}.`, { cause: failure }); // a key of STATUS
  return fromStatusCode(failure, endpoint);
}

function fromStatusCode(failure: ServiceError, endpoint: string): MetaError {
  const said = `${endpoint} answered: ${failure.details || failure.message}.`;
  switch (failure.code) {
    case status.UNAVAILABLE:
      if (failure.details.startsWith(NEVER_SENT)) {
        return new MetaError('UNAVAILABLE', `${endpoint} cannot be reached; nothing was done.`, { cause: failure });
      }
      // From a lost connection as well as from a server that is starting: the request may have been on its way.
      return new MetaError('UNAVAILABLE', `${said} The call may be tried again.`, { cause: failure, next: 'unknown' });
    case status.DEADLINE_EXCEEDED:
      return new MetaError('DEADLINE', `No answer from ${endpoint} within the time limit.`, { cause: failure });
    case status.CANCELLED:
      return new MetaError('OUTCOME_UNKNOWN', said, { cause: failure });
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new MetaError('UNAUTHENTICATED', `${said} Give the shared secret the cluster was started with.`, {
        cause: failure,
      });
    case status.RESOURCE_EXHAUSTED:
      return new MetaError('OVERLOADED', said, { cause: failure });
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
    case status.NOT_FOUND:
    case status.FAILED_PRECONDITION:
    case status.ALREADY_EXISTS:
      return new MetaError('INVALID', said, { cause: failure });
    case status.UNIMPLEMENTED:
      return new MetaError('NOT_SUPPORTED', `${said} Is this the gRPC address of a metadata node?`, { cause: failure });
    default:
      return new MetaError('OUTCOME_UNKNOWN', said, { cause: failure });
  }
}

function isNextStep(value: unknown): value is NextStep {
  return value === 'later' || value === 'elsewhere' || value === 'unknown' || value === 'never';
}
