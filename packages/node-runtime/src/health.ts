// Health that tells the truth: every check asks the part it is about, when somebody asks.
//
// Live means: the process works; restarting it would gain nothing. Ready means: clients may be sent here.
// A check that was named and is not yet bound is not true, so that a node is never ready by omission.

import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';

/** Milliseconds a check may take; longer is an answer too. */
const CHECK_MS_MAX = 1000;

export type CheckResult =
  | { readonly ok: true; readonly detail?: string }
  | { readonly ok: false; readonly reason: string };

export type Check = () => CheckResult | Promise<CheckResult>;

export interface HealthReport {
  readonly status: 'ready' | 'not ready';
  readonly checks: Readonly<Record<string, CheckResult>>;
}

export interface HealthOptions {
  /** The checks that must all be true; each is bound once its part is started. */
  readonly checks: readonly string[];
  readonly clock?: Clock;
}

type Phase =
  | { readonly kind: 'running' }
  | { readonly kind: 'stopping' }
  | { readonly kind: 'failed'; readonly why: string };

export class Health {
  readonly #clock: Clock;
  readonly #checks = new Map<string, Check | undefined>();
  #phase: Phase = { kind: 'running' };

  constructor({ checks, clock = systemClock }: HealthOptions) {
    this.#clock = clock;
    for (const name of checks) this.#checks.set(name, undefined);
  }

  /** The part behind the check is started and answers for itself from now on. */
  bind(name: string, check: Check): void {
    this.#checks.set(name, check);
  }

  /** Not ready from now on: the orderly stop has begun. */
  stopping(): void {
    if (this.#phase.kind === 'running') this.#phase = { kind: 'stopping' };
  }

  /** Neither ready nor live from now on: only a restart helps. */
  failed(why: string): void {
    this.#phase = { kind: 'failed', why };
  }

  live(): CheckResult {
    return this.#phase.kind === 'failed' ? { ok: false, reason: this.#phase.why } : { ok: true };
  }

  async report(): Promise<HealthReport> {
    const names = [...this.#checks.keys()];
    const results = await Promise.all(names.map((name) => this.#ask(this.#checks.get(name))));
    const checks: Record<string, CheckResult> = {};
    for (const [at, name] of names.entries()) checks[name] = results[at] ?? NOT_STARTED;
    if (this.#phase.kind === 'stopping') checks['process'] = { ok: false, reason: 'it is stopping' };
    if (this.#phase.kind === 'failed') checks['process'] = { ok: false, reason: this.#phase.why };
    const isReady = Object.values(checks).every(({ ok }) => ok);
    return { status: isReady ? 'ready' : 'not ready', checks };
  }

  async #ask(check: Check | undefined): Promise<CheckResult> {
    if (!check) return NOT_STARTED;
    let timer: { cancel(): void } | undefined;
    const late = new Promise<CheckResult>((resolve) => {
      timer = this.#clock.setTimer(CHECK_MS_MAX, () =>
        resolve({ ok: false, reason: `no answer within ${CHECK_MS_MAX} ms` }),
      );
    });
    try {
      return await Promise.race([check(), late]);
    } catch (error) {
      return { ok: false, reason: errorMessage(error) };
    } finally {
      timer?.cancel();
    }
  }
}

const NOT_STARTED: CheckResult = { ok: false, reason: 'not started yet' };
