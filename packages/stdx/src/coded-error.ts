// The base of every package's error class.
//
// A package has one error class and one catalogue of codes. Each code says what the caller does next,
// so that nobody matches on message texts.

/**
 * What the caller does next.
 *   later      nothing was done; the same call may succeed after a pause
 *   elsewhere  another node serves this; refresh and call there
 *   unknown    it may have been done or not; repeat only what is idempotent
 *   never      the call itself is wrong, or the state forbids it; repeating cannot help
 */
export type NextStep = 'later' | 'elsewhere' | 'unknown' | 'never';

export interface ErrorKind {
  readonly next: NextStep;
  /** One sentence for the reference documentation: when does this happen. */
  readonly when: string;
}

export type ErrorCatalogue = Readonly<Record<string, ErrorKind>>;

export interface CodedErrorOptions {
  readonly cause?: unknown;
}

/** An entry of the package's catalogue. */
export interface ErrorIdentity<Code extends string> {
  readonly code: Code;
  readonly kind: ErrorKind;
}

/**
 * An operating error with a stable code. `message` says what happened and why; `next` says what to do.
 * Subclassed once per package with that package's catalogue.
 */
export abstract class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly next: NextStep;

  protected constructor(identity: ErrorIdentity<Code>, message: string, options: CodedErrorOptions = {}) {
    const { code, kind } = identity;
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.next = kind.next;
    this.name = new.target.name;
  }
}

/** The text of anything that was thrown, without its stack. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
