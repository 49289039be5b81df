import { CodedError, type CodedErrorOptions, type ErrorCatalogue } from '@robustmq/stdx/coded-error';

export const STORAGE_ERRORS = {
  SHARD_NOT_FOUND: { next: 'never', when: 'no shard of that name exists; create it first' },
  SHARD_EXISTS: { next: 'never', when: 'a shard of that name exists with another configuration' },
  INVALID_ARGUMENT: { next: 'never', when: 'a name, offset, record or option is out of its legal range' },
  OFFSET_OUT_OF_RANGE: { next: 'never', when: 'the offset lies before the log start or beyond its end' },
  RECORD_TOO_LARGE: { next: 'never', when: 'a record or batch is larger than the configured limit' },
  PRODUCER_FENCED: { next: 'never', when: 'a producer of the same id with a higher epoch has appeared' },
  SEQUENCE_GAP: { next: 'never', when: 'a producer skipped a sequence number, or repeats one too old to be known' },
  NOT_SUPPORTED: { next: 'never', when: 'this driver does not claim the capability' },
  OVERLOADED: { next: 'later', when: 'a byte or request budget is used up; retry after a pause' },
  DISK_FULL: { next: 'later', when: 'no space is left for new records; reads go on' },
  UNAVAILABLE: { next: 'later', when: 'the engine cannot be reached or has not enough replicas' },
  UNKNOWN_OUTCOME: {
    next: 'unknown',
    when: 'the external engine went away while an append was under way; it may have been done or not',
  },
  ENGINE_UNFIT: {
    next: 'never',
    when: 'the external engine is set up so that it would lose records or cannot fence writers; its settings must change',
  },
  CLIENT_MISSING: { next: 'never', when: 'the client package of the external engine is not installed' },
  FAILED: { next: 'unknown', when: 'storage failed for good (a sync error, a corrupt file); nothing more is accepted' },
  CLOSED: { next: 'never', when: 'the storage was closed' },
} as const satisfies ErrorCatalogue;

export type StorageErrorCode = keyof typeof STORAGE_ERRORS;

/** The one error class of this contract; drivers throw nothing else. */
export class StorageError extends CodedError<StorageErrorCode> {
  constructor(code: StorageErrorCode, message: string, options?: CodedErrorOptions) {
    super({ code, kind: STORAGE_ERRORS[code] }, message, options);
  }
}
