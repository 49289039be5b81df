import { CodedError, type CodedErrorOptions, type ErrorKind } from '@robustmq/stdx/coded-error';
import { EXIT_CODES, type ExitCode } from './exit-codes.js';

/** An operating error of the process itself, with the exit code it ends the process with. */
export interface RuntimeErrorKind extends ErrorKind {
  readonly exitCode: ExitCode;
}

export const RUNTIME_ERRORS = {
  USAGE: {
    next: 'never',
    exitCode: EXIT_CODES.usage,
    when: 'the command line names an unknown command or flag, or a flag lacks its value',
  },
  CONFIG_UNREADABLE: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'the configuration file is missing, may not be read, or is not TOML',
  },
  CONFIG_INVALID: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'a setting has an unknown name or an illegal value, or two settings contradict each other',
  },
  PORT_IN_USE: {
    next: 'later',
    exitCode: EXIT_CODES.unavailable,
    when: 'another program listens on an address this one is configured to listen on',
  },
  ADDRESS_UNUSABLE: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'an address to listen on does not belong to this machine, or this user may not listen there',
  },
  DATA_PATH_UNUSABLE: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'the data directory cannot be created, read or written, or holds files of another program',
  },
  DATA_PATH_IN_USE: {
    next: 'later',
    exitCode: EXIT_CODES.unavailable,
    when: 'another live process holds the data directory',
  },
  DATA_PATH_MISMATCH: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'the data directory belongs to another cluster, another node, or another format version',
  },
  DATA_PATH_CORRUPT: {
    next: 'never',
    exitCode: EXIT_CODES.runtime,
    when: 'the identity file of the data directory is damaged',
  },
  TOO_FEW_FILE_DESCRIPTORS: {
    next: 'never',
    exitCode: EXIT_CODES.config,
    when: 'the limit on open files is below what the configured number of connections needs',
  },
  NATIVE_BINDING_MISSING: {
    next: 'never',
    exitCode: EXIT_CODES.unavailable,
    when: 'a native module is missing or was built for another platform',
  },
  NODE_ID_TAKEN: {
    next: 'never',
    exitCode: EXIT_CODES.unavailable,
    when: 'another live process is registered in the cluster under this node_id',
  },
  META_SILENT: {
    next: 'unknown',
    exitCode: EXIT_CODES.unavailable,
    when: 'the metadata did not answer in time',
  },
  START_FAILED: {
    next: 'never',
    exitCode: EXIT_CODES.runtime,
    when: 'a start step failed; the exit code is that of its cause',
  },
  START_DEADLINE: {
    next: 'later',
    exitCode: EXIT_CODES.unavailable,
    when: 'a start step did not finish within its deadline (an unreachable meta peer, a slow disk)',
  },
  NO_ANSWER: {
    next: 'later',
    exitCode: EXIT_CODES.unavailable,
    when: 'nothing answers at http.bind when a running server is asked for its status',
  },
  STOP_DEADLINE: {
    next: 'later',
    exitCode: EXIT_CODES.runtime,
    when: 'a server that was asked to stop is still there after its deadline',
  },
  INTERRUPTED: {
    next: 'never',
    exitCode: EXIT_CODES.interrupted,
    when: 'a stop signal arrived before the start was complete',
  },
  CLOSE_FAILED: {
    next: 'never',
    exitCode: EXIT_CODES.runtime,
    when: 'something failed while the process closed what it had opened; the message names what',
  },
} as const satisfies Readonly<Record<string, RuntimeErrorKind>>;

export type RuntimeErrorCode = keyof typeof RUNTIME_ERRORS;

/**
 * The one error class of this package. The message is what an operator reads: what happened, why, and what
 * to do, in one line.
 */
export class RuntimeError extends CodedError<RuntimeErrorCode> {
  constructor(code: RuntimeErrorCode, message: string, options?: CodedErrorOptions) {
    super({ code, kind: RUNTIME_ERRORS[code] }, message, options);
  }
}
