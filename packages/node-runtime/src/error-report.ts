// What an operator reads when the process gives up, and the code it ends with.

import { AssertionFailure } from '@robustmq/stdx/assert';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { RUNTIME_ERRORS, RuntimeError } from './errors.js';
import { EXIT_CODES, type ExitCode } from './exit-codes.js';

/** A chain of causes longer than this is a loop or a fault. */
const CAUSES_MAX = 8;

export interface ErrorReport {
  readonly exitCode: ExitCode;
  /** One line for a coded error; for others, and on request, one more for each cause that says something new. */
  readonly lines: readonly string[];
}

export function reportError(thrown: unknown, options: { readonly debug: boolean }): ErrorReport {
  const { first, later } = unsuppress(thrown);
  const error = recognize(first);
  const lines: string[] = [errorMessage(error) || String(error)];
  // A coded error says what, why and what to do in its one line; its causes are for who asks for more.
  const causes = error instanceof CodedError && !options.debug ? [] : causesOf(error);
  for (const cause of causes) {
    const text = errorMessage(cause).split('\n')[0] ?? '';
    if (text !== '' && !lines.some((line) => line.includes(text))) lines.push(`  because: ${text}`);
  }
  for (const failure of later) lines.push(`  and then: ${errorMessage(failure)}`);
  const exitCode = exitCodeOf(error);
  if (exitCode === EXIT_CODES.internal) {
    lines.push('  This is a fault of the program. Please report it with the output of a run with ROBUSTMQ_DEBUG=1.');
  }
  if (options.debug) lines.push(...stacksOf(error));
  return { exitCode, lines };
}

/**
 * `await using` wraps a failure in a SuppressedError when closing fails on top of it. What failed first is what
 * the operator asks about, and what decides the exit code.
 */
function unsuppress(thrown: unknown): { readonly first: unknown; readonly later: readonly unknown[] } {
  const later: unknown[] = [];
  let first = thrown;
  while (later.length < CAUSES_MAX && first instanceof Error && 'suppressed' in first) {
    if ('error' in first) later.unshift(first.error);
    first = first.suppressed;
  }
  return { first, later };
}

/** A start failure ends the process with the code of what made it fail. */
export function exitCodeOf(thrown: unknown): ExitCode {
  if (thrown instanceof RuntimeError) {
    if (thrown.code === 'START_FAILED' && thrown.cause !== undefined) return exitCodeOf(thrown.cause);
    return RUNTIME_ERRORS[thrown.code].exitCode;
  }
  if (thrown instanceof AssertionFailure) return EXIT_CODES.internal;
  if (thrown instanceof CodedError) return EXIT_CODE_OF_OTHERS[thrown.code] ?? EXIT_CODES.runtime;
  return isSystemError(thrown) ? EXIT_CODES.runtime : EXIT_CODES.internal;
}

/** Codes of the other packages that mean more than a failure; their catalogues know nothing of processes. */
const EXIT_CODE_OF_OTHERS: Readonly<Record<string, ExitCode>> = {
  UNAVAILABLE: EXIT_CODES.unavailable,
  DEADLINE: EXIT_CODES.unavailable,
  OVERLOADED: EXIT_CODES.unavailable,
  ADDRESS_IN_USE: EXIT_CODES.unavailable,
  DIRECTORY_IN_USE: EXIT_CODES.unavailable,
  INVALID_OPTION: EXIT_CODES.config,
  DIRECTORY_MISMATCH: EXIT_CODES.config,
  DIRECTORY_FOREIGN: EXIT_CODES.config,
  FORMAT_VERSION: EXIT_CODES.config,
  FORMAT_UNSUPPORTED: EXIT_CODES.config,
  DISK_REPLACED: EXIT_CODES.config,
  DISK_UNREGISTERED: EXIT_CODES.config,
  UNAUTHENTICATED: EXIT_CODES.config,
  WRONG_CLUSTER: EXIT_CODES.config,
};

/** Failures that reach us as something else's error, and deserve words of ours. */
export function recognize(thrown: unknown): unknown {
  for (const error of [thrown, ...causesOf(thrown)]) {
    const message = errorMessage(error);
    const isDlopen = error instanceof Error && 'code' in error && error.code === 'ERR_DLOPEN_FAILED';
    if (!isDlopen && !/No native build was found|Cannot find module .*classic-level/.test(message)) continue;
    return new RuntimeError(
      'NATIVE_BINDING_MISSING',
      `the native part of the level store cannot be loaded on ${process.platform}-${process.arch}: ${message.split('\n')[0]}. ` +
        'Use the package made for this platform, and unpack it whole: the files in native/ belong to it',
      { cause: thrown },
    );
  }
  return thrown;
}

/** The causes of an error, outermost first. */
function causesOf(thrown: unknown): readonly unknown[] {
  const causes: unknown[] = [];
  let current = thrown;
  while (current instanceof Error && causes.length < CAUSES_MAX) {
    // Several failures at once (closing, dialling two addresses): the first stands for all.
    const next = current.cause ?? (current instanceof AggregateError ? current.errors[0] : undefined);
    if (next === undefined) break;
    causes.push(next);
    current = next;
  }
  return causes;
}

function isSystemError(thrown: unknown): boolean {
  return thrown instanceof Error && 'syscall' in thrown;
}

function stacksOf(error: unknown): readonly string[] {
  return [error, ...causesOf(error)].flatMap((one) => (one instanceof Error ? (one.stack ?? '').split('\n') : []));
}

/** An error as fields of a log line; the stack as a list, so that it stays readable on one line. */
export function flattenError(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  return {
    type: error.name,
    ...('code' in error ? { code: error.code } : {}),
    message: error.message,
    ...(error.cause === undefined ? {} : { cause: errorMessage(error.cause) }),
    stack: (error.stack ?? '')
      .split('\n')
      .slice(1, 12)
      .map((line) => line.trim()),
  };
}
