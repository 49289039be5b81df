import { CodedError, type CodedErrorOptions, type ErrorCatalogue, type NextStep } from '@robustmq/stdx/coded-error';

export const META_ERRORS = {
  NOT_LEADER: { next: 'elsewhere', when: 'this node does not lead the group; nothing was done' },
  UNAVAILABLE: { next: 'later', when: 'no leader is known, or no endpoint can be reached; nothing was done' },
  DEADLINE: { next: 'unknown', when: 'the time limit passed before an answer; the change may still be applied' },
  OUTCOME_UNKNOWN: {
    next: 'unknown',
    when: 'the connection or the leader was lost before an answer, and whether the change was applied cannot be told',
  },
  FORGOTTEN: {
    next: 'unknown',
    when: 'a repeated write came after what its first attempt did was forgotten; read the state before trying again',
  },
  OVERLOADED: { next: 'later', when: 'a queue, byte or request budget is used up; retry after a pause' },
  NO_SPACE: {
    next: 'later',
    when: 'the disk of the metadata is full; nothing was done, and writes resume when it has space',
  },
  COMPACTED: { next: 'never', when: 'the revision is older than the kept history; list again and go on from there' },
  FUTURE_REVISION: { next: 'never', when: 'the revision has not happened yet' },
  LEASE_NOT_FOUND: { next: 'never', when: 'the lease expired or was revoked, or never was; grant a new one' },
  LEASE_EXISTS: { next: 'never', when: 'a lease of that id was granted before' },
  TTL_TOO_LARGE: { next: 'never', when: 'a lease was asked for longer than any may last' },
  BAD_TRANSFEREE: { next: 'never', when: 'leadership was to go to a node that is no voting member' },
  MEMBER_NOT_FOUND: { next: 'never', when: 'a change of the membership names a node that is no member' },
  MEMBER_EXISTS: { next: 'never', when: 'a node to be added has the id or the address of a member' },
  NOT_LEARNER: { next: 'never', when: 'a node to be promoted is no learner' },
  LEARNER_NOT_READY: { next: 'later', when: 'a learner to be promoted has not caught up with the leader' },
  REMOVED: { next: 'never', when: 'the node was removed from the cluster; its id is not used again' },
  KEY_NOT_FOUND: { next: 'never', when: 'a put that keeps the old value or lease found no such key' },
  DUPLICATE_KEY: { next: 'never', when: 'a transaction changes the same key twice' },
  INVALID: { next: 'never', when: 'a key, value, range, revision, ttl or option is out of its legal range' },
  TOO_LARGE: { next: 'never', when: 'a request is larger, or has more operations, than the limits allow' },
  NOT_SUPPORTED: { next: 'never', when: 'this service does not offer the operation' },
  UNAUTHENTICATED: { next: 'never', when: 'the shared secret is missing or wrong' },
  WRONG_CLUSTER: { next: 'never', when: 'the other side belongs to another cluster, or speaks another protocol' },
  DIRECTORY_MISMATCH: {
    next: 'never',
    when: 'the data directory belongs to another node, cluster or format version; nothing was changed in it',
  },
  DAMAGED: {
    next: 'never',
    when: 'log or state on disk fail their checks; replace this node by one with an empty directory and a new id',
  },
  FAILED: { next: 'unknown', when: 'storage failed for good (a write or sync error); this node serves no more' },
  CLOSED: { next: 'never', when: 'the client or the service was closed' },
} as const satisfies ErrorCatalogue;

export type MetaErrorCode = keyof typeof META_ERRORS;

export interface MetaErrorOptions extends CodedErrorOptions {
  /** Where the code alone would say less than is known: a leader lost in mid-flight is UNAVAILABLE, 'unknown'. */
  readonly next?: NextStep;
}

/** The one error class of this package. */
export class MetaError extends CodedError<MetaErrorCode> {
  constructor(code: MetaErrorCode, message: string, options: MetaErrorOptions = {}) {
    const { next, ...rest } = options;
    const kind = META_ERRORS[code];
    super({ code, kind: next === undefined ? kind : { ...kind, next } }, message, rest);
  }
}
