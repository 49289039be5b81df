// The frame around every program of ours: one catcher, one exit.
//
// Invariants:
//   M1. Whatever main throws is printed once, as one line with its causes, and decides the exit code.
//   M2. An orderly stop has a deadline; what still hangs is named, and the process ends with 1.
//   M3. A rejection or exception that nobody handled ends the process with 70: its state is not known any more.
//       Everything that was acknowledged is on disk, and the next start recovers it.

import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Environment, readEnvironment } from './config/environment.js';
import { type ErrorReport, reportError } from './error-report.js';
import { RuntimeError } from './errors.js';
import { EXIT_CODES, type ExitCode } from './exit-codes.js';
import type { RuntimeLogger } from './logger.js';
import { type ProcessHost, thisProcess } from './process-host.js';
import { exitCodeOfSignal, type StopReason, StopRequest } from './shutdown.js';

/** Milliseconds until the configured deadline is known; a stop before that closes next to nothing. */
const DEADLINE_MS_BEFORE_CONFIG = 10_000;

export interface RunContext {
  readonly environment: Environment;
  /** Aborts when a stop is asked for. */
  readonly stopSignal: AbortSignal;
  /** Resolves when a stop is asked for: by SIGTERM, SIGINT or fail(). */
  shutdownRequested(): Promise<StopReason>;
  /** A part of the process cannot go on: an orderly stop begins, and the error decides the exit code. */
  fail(error: unknown): void;
  /** Told once the configuration is known. */
  adopt(running: RunningParts): void;
}

export interface RunningParts {
  readonly log?: RuntimeLogger;
  /** Milliseconds an orderly stop may take (M2). */
  readonly shutdownDeadlineMs?: number;
  /** What is being closed at this moment; StartSteps knows. */
  readonly activity?: () => string | undefined;
}

/** What main() hands back becomes the exit code; nothing means 0. */
export type Main = (context: RunContext) => Promise<ExitCode | undefined>;

export interface RunMainOptions {
  /** The name in front of what is printed, such as `robust-server`. */
  readonly program: string;
  readonly host?: ProcessHost;
  readonly clock?: Clock;
}

/** Runs a program to its end and ends the process. */
export async function runMain(main: Main, options: RunMainOptions): Promise<void> {
  const run = new Run(options);
  await run.toTheEnd(main);
}

class Run {
  readonly #program: string;
  readonly #host: ProcessHost;
  readonly #clock: Clock;
  readonly #environment: Environment;
  readonly #stop: StopRequest;
  #parts: RunningParts = {};

  constructor({ program, host = thisProcess(), clock = systemClock }: RunMainOptions) {
    this.#program = program;
    this.#host = host;
    this.#clock = clock;
    this.#environment = readEnvironment(host.variables);
    this.#stop = new StopRequest(host, clock);
  }

  async toTheEnd(main: Main): Promise<void> {
    const release = this.#host.stayAlive();
    this.#host.onFault((fault) => this.#endWithFault(fault));
    this.#stop.listen((signal) => this.#end(exitCodeOfSignal[signal], [`${signal} again: ended at once`]));
    this.#stop.signal.addEventListener('abort', () => this.#watchTheStop(), { once: true });
    try {
      const code = await main(this.#context());
      this.#endAfter(code ?? EXIT_CODES.ok);
    } catch (error) {
      this.#endWithError(error);
    } finally {
      this.#stop.unlisten();
      release();
    }
  }

  #context(): RunContext {
    return {
      environment: this.#environment,
      stopSignal: this.#stop.signal,
      shutdownRequested: () => this.#stop.requested(),
      fail: (error) => this.#stop.request({ kind: 'failure', error }),
      adopt: (parts) => {
        this.#parts = { ...this.#parts, ...parts };
      },
    };
  }

  /** main() came back: in order, or because a part of the process had failed. */
  #endAfter(code: number): void {
    const reason = this.#stop.reason;
    if (reason?.kind === 'failure') this.#endWithError(reason.error);
    else this.#end(code, []);
  }

  #endWithError(error: unknown): void {
    const { exitCode, lines } = this.#report(error);
    const reason = this.#stop.reason;
    const wasInterrupted = error instanceof RuntimeError && error.code === 'INTERRUPTED';
    if (wasInterrupted && reason?.kind === 'signal')
      this.#end(exitCodeOfSignal[reason.signal], lines); // M1
    else if (wasInterrupted && reason?.kind === 'failure') this.#endWithError(reason.error);
    else this.#end(exitCode, lines);
  }

  /** M3 */
  #endWithFault(fault: unknown): void {
    const { lines } = this.#report(fault);
    this.#parts.log?.error({ err: fault }, 'nobody handled this failure');
    this.#end(EXIT_CODES.internal, [`ended by a failure that nobody handled: ${lines[0]}`, ...lines.slice(1)]);
  }

  /** M2 */
  #watchTheStop(): void {
    const deadlineMs = this.#parts.shutdownDeadlineMs ?? DEADLINE_MS_BEFORE_CONFIG;
    this.#clock.setTimer(deadlineMs, () => {
      const hangs = this.#parts.activity?.() ?? 'the work in progress';
      this.#end(EXIT_CODES.runtime, [
        `not stopped within ${deadlineMs} ms (still ${hangs}): ended. The next start recovers; raise shutdown.deadline_ms if it needs longer`,
      ]);
    });
  }

  #report(error: unknown): ErrorReport {
    try {
      return reportError(error, { debug: this.#environment.debug });
    } catch (failure) {
      return { exitCode: EXIT_CODES.internal, lines: [errorMessage(failure)] };
    }
  }

  #end(code: number, lines: readonly string[]): void {
    this.#parts.log?.flush();
    const [first, ...more] = lines;
    if (first !== undefined) this.#host.writeError(`${[`${this.#program}: ${first}`, ...more].join('\n')}\n`);
    this.#host.exit(code);
  }
}
