// A start as a list of named steps, and the stop as the same list backwards.
//
// Invariants:
//   S1. A step is begun only when the one before it is done.
//   S2. What a step returned is closed exactly once, in the reverse order of the steps, also when a later step
//       failed or a later close failed.
//   S3. A step that overran its deadline is given up; what it still returns later is closed at once.

import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { recognize } from './error-report.js';
import { RuntimeError } from './errors.js';

export interface StartStepsOptions {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Milliseconds a step may take unless it says otherwise. */
  readonly deadlineMs: number;
  /** Aborts when a stop is asked for: the running step is given up. */
  readonly signal?: AbortSignal;
}

export interface StepOptions {
  readonly deadlineMs?: number;
  /** What an operator can do when the step does not get done in time. */
  readonly hint?: string;
}

/**
 * The work of a step: it gives up when the signal aborts, and notes what it is waiting for, so that a deadline
 * can say more than that it passed.
 */
export type StepWork<Result> = (signal: AbortSignal, note: (waitingFor: string) => void) => Result | Promise<Result>;

interface Opened {
  readonly name: string;
  readonly close: () => PromiseLike<void>;
}

export class StartSteps implements AsyncDisposable {
  readonly #options: StartStepsOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #opened: Opened[] = [];
  readonly #startedAtMs: number;
  #activity: string | undefined;

  constructor(options: StartStepsOptions) {
    this.#options = options;
    this.#log = options.log ?? nullLogger;
    this.#clock = options.clock ?? systemClock;
    this.#startedAtMs = this.#clock.now();
  }

  /** What is being started or closed at this moment, for those who ask or wait. */
  get activity(): string | undefined {
    return this.#activity;
  }

  /** Milliseconds since the first step could begin. */
  get elapsedMs(): number {
    return this.#clock.now() - this.#startedAtMs;
  }

  /**
   * Runs one step and logs how long it took. When the result can be disposed of, dispose() of the steps will do
   * it, in its turn (S2). Throws START_FAILED with the cause, START_DEADLINE, or INTERRUPTED.
   */
  async step<Result>(title: StepTitle, options: StepOptions, work: StepWork<Result>): Promise<Result> {
    const label = `step ${title.number} (${title.name})`;
    const beganMs = this.#clock.now();
    this.#activity = `starting ${title.name}`;
    try {
      const result = await this.#withDeadline(label, options, work);
      this.#keep(title.name, result);
      const tookMs = Math.round(this.#clock.now() - beganMs);
      this.#log.info({ step: title.number, tookMs }, `${label} done in ${tookMs} ms`);
      return result;
    } finally {
      this.#activity = undefined;
    }
  }

  /** Says in the log that a step does not apply, and why. */
  skip(title: StepTitle, why: string): void {
    this.#log.info({ step: title.number }, `step ${title.number} (${title.name}) skipped: ${why}`);
  }

  /** Closes what the steps opened, last first (S2). Throws CLOSE_FAILED naming all that failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: { readonly name: string; readonly error: unknown }[] = [];
    for (let opened = this.#opened.pop(); opened; opened = this.#opened.pop()) {
      const beganMs = this.#clock.now();
      this.#activity = `closing ${opened.name}`;
      try {
        await opened.close();
        this.#log.info({ tookMs: Math.round(this.#clock.now() - beganMs) }, `closed ${opened.name}`);
      } catch (error) {
        failures.push({ name: opened.name, error });
        this.#log.error({ err: error }, `closing ${opened.name} failed`);
      }
    }
    this.#activity = undefined;
    if (failures.length === 0) return;
    const text = failures.map(({ name, error }) => `${name}: ${errorMessage(error)}`).join('; ');
    throw new RuntimeError('CLOSE_FAILED', `not everything closed cleanly (${text}). The next start recovers`, {
      cause: failures[0]?.error,
    });
  }

  #withDeadline<Result>(label: string, options: StepOptions, work: StepWork<Result>): Promise<Result> {
    const deadlineMs = options.deadlineMs ?? this.#options.deadlineMs;
    const abort = new AbortController();
    return new Promise<Result>((resolve, reject) => {
      let isOver = false;
      const giveUp = (error: RuntimeError) => {
        if (isOver) return;
        end();
        abort.abort(error);
        reject(error);
      };
      const hint = options.hint === undefined ? '' : `. ${options.hint}`;
      let noted = '';
      const note = (waitingFor: string) => {
        noted = ` (${waitingFor})`;
      };
      const late = () => {
        giveUp(new RuntimeError('START_DEADLINE', `${label} was not done within ${deadlineMs} ms${noted}${hint}`));
      };
      const stopped = () => giveUp(new RuntimeError('INTERRUPTED', `${label} was cut short: a stop was asked for`));
      const timer = this.#clock.setTimer(deadlineMs, late);
      const { signal } = this.#options;
      const end = () => {
        isOver = true;
        timer.cancel();
        signal?.removeEventListener('abort', stopped);
      };
      signal?.addEventListener('abort', stopped, { once: true });
      if (signal?.aborted) return stopped();
      void runWork(() => work(abort.signal, note)).then(
        (result) => {
          if (isOver) return this.#closeLate(label, result); // S3
          end();
          resolve(result);
        },
        (error: unknown) => {
          if (isOver) return;
          end();
          reject(startFailed(label, error, hint));
        },
      );
    });
  }

  #keep(name: string, result: unknown): void {
    const close = closeOf(result);
    if (close) this.#opened.push({ name, close });
  }

  #closeLate(label: string, result: unknown): void {
    const close = closeOf(result);
    if (!close) return;
    close().then(undefined, (error: unknown) => this.#log.warn({ err: error }, `${label} came late and did not close`));
  }
}

export interface StepTitle {
  /** Its number in the list of the architecture; several parts of one step share it. */
  readonly number: number;
  readonly name: string;
}

/** A step that throws before its first await fails like any other. */
async function runWork<Result>(work: () => Result | Promise<Result>): Promise<Result> {
  return await work();
}

function startFailed(label: string, thrown: unknown, hint: string): RuntimeError {
  const cause = recognize(thrown);
  // The hint is about what does not come up in time; what can never work says itself what to do.
  const advice = cause instanceof CodedError && cause.next === 'never' ? '' : hint;
  return new RuntimeError('START_FAILED', `${label} failed: ${errorMessage(cause)}${advice}`, { cause });
}

function closeOf(result: unknown): (() => PromiseLike<void>) | undefined {
  if (typeof result !== 'object' || result === null || !(Symbol.asyncDispose in result)) return undefined;
  const disposable = result as AsyncDisposable; // has the method, checked above
  return () => disposable[Symbol.asyncDispose]();
}
