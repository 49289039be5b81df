import { CodedError, type CodedErrorOptions, type ErrorKind } from '@robustmq/stdx/coded-error';

const BENCH_ERRORS = {
  UNAVAILABLE: { next: 'later', when: 'the broker cannot be reached, or refuses a connection or a subscription' },
  BROKER_GONE: { next: 'unknown', when: 'the broker closed connections while messages were under way' },
  MESSAGES_LOST: { next: 'never', when: 'the run is complete, and messages that should have arrived did not' },
} as const satisfies Readonly<Record<string, ErrorKind>>;

type BenchErrorCode = keyof typeof BENCH_ERRORS;

/** Exit codes: UNAVAILABLE ends with 69, the others with 1. */
export class BenchError extends CodedError<BenchErrorCode> {
  constructor(code: BenchErrorCode, message: string, options?: CodedErrorOptions) {
    super({ code, kind: BENCH_ERRORS[code] }, message, options);
  }
}
