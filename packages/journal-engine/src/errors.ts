import { CodedError, type CodedErrorOptions, type ErrorCatalogue } from '@robustmq/stdx/coded-error';

export const JOURNAL_ERRORS = {
  INVALID_OPTION: { next: 'never', when: 'an option is out of its legal range' },
  DIRECTORY_FOREIGN: { next: 'never', when: 'the data directory belongs to another cluster or another node' },
  FORMAT_UNSUPPORTED: { next: 'never', when: 'the data directory was written in a format this version cannot read' },
  DISK_REPLACED: {
    next: 'never',
    when: 'meta knows this node with another disk than the one in the data directory: an empty or restored directory',
  },
  DISK_UNREGISTERED: {
    next: 'never',
    when: 'the data directory holds segments but meta knows nothing of this disk: the meta data was lost or replaced',
  },
  CORRUPT: { next: 'never', when: 'stored bytes differ from what was written; the range is named' },
  FENCED: { next: 'elsewhere', when: 'another writer has taken the shard over with a higher epoch' },
  UNAVAILABLE: { next: 'later', when: 'the metadata service cannot be reached' },
  FAILED: { next: 'unknown', when: 'a write or sync failed for good; nothing more is accepted until a restart' },
} as const satisfies ErrorCatalogue;

export type JournalErrorCode = keyof typeof JOURNAL_ERRORS;

/** Errors of the engine itself. What users of ShardStorage see is StorageError, with one of these as its cause. */
export class JournalError extends CodedError<JournalErrorCode> {
  constructor(code: JournalErrorCode, message: string, options?: CodedErrorOptions) {
    super({ code, kind: JOURNAL_ERRORS[code] }, message, options);
  }
}
