import { CodedError, type CodedErrorOptions, type ErrorCatalogue } from '@robustmq/stdx/coded-error';

export const WAL_ERRORS = {
  INVALID_ARGUMENT: { next: 'never', when: 'an option or an argument is out of its legal range' },
  PAYLOAD_TOO_LARGE: { next: 'never', when: 'one frame carries more than `payloadBytesMax`' },
  OVERLOADED: { next: 'later', when: 'more than `pendingBytesMax` wait for the disk; retry when some became durable' },
  DISK_FULL: {
    next: 'later',
    when: 'no space is left; the frame was cut off again and its sequence is given to a later one. Free space and retry',
  },
  CORRUPT: {
    next: 'never',
    when: 'a frame or the checkpoint that was durable can no longer be read; restore or repair',
  },
  FORMAT_VERSION: { next: 'never', when: 'the directory was written by another version of the format' },
  FAILED: {
    next: 'unknown',
    when: 'a write or sync failed; nothing more is accepted until the directory is opened anew',
  },
  DIRECTORY_IN_USE: { next: 'never', when: 'a living process holds the directory; stop it or use another directory' },
  CLOSED: { next: 'never', when: 'the log was closed' },
} as const satisfies ErrorCatalogue;

export type WalErrorCode = keyof typeof WAL_ERRORS;

/** The one error class of this package. */
export class WalError extends CodedError<WalErrorCode> {
  constructor(code: WalErrorCode, message: string, options?: CodedErrorOptions) {
    super({ code, kind: WAL_ERRORS[code] }, message, options);
  }
}

/** Whether a Disk refused for lack of space or quota: nothing is broken, and room can be made. */
export function isDiskFull(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code; // any thrown thing may carry a code
  return code === 'ENOSPC' || code === 'EDQUOT';
}
