// The exit codes of every program of ours; docs/reference/exit-codes.md explains them to operators.
// The numbers above 63 are those of sysexits.h, so that init systems and scripts know them already.

export const EXIT_CODES = {
  /** Stopped as asked, or the command did what it was told. */
  ok: 0,
  /** Failed while running, or closing had to be cut short. */
  runtime: 1,
  /** The command line is wrong (EX_USAGE). */
  usage: 64,
  /** Something needed is not there or is taken: a port, a peer, a directory in use (EX_UNAVAILABLE). */
  unavailable: 69,
  /** A fault of the program itself (EX_SOFTWARE). Please report it. */
  internal: 70,
  /** The configuration, or what it points at, must be changed first (EX_CONFIG). */
  config: 78,
  /** SIGINT cut the start or the stop short (128 + 2). */
  interrupted: 130,
  /** SIGTERM cut the start or the stop short (128 + 15). */
  terminated: 143,
} as const;

export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];
