import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';

const WINDOW_MS = 10_000;
const LINES_PER_WINDOW = 20;

/**
 * Says why clients are refused, and stays readable under a flood of them: twenty lines in ten seconds, then
 * one that says how many were left out.
 */
export class RefusalLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #leftOut = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  say(fields: object, message: string): void {
    const now = this.#clock.now();
    if (now - this.#windowStartMs >= WINDOW_MS) {
      if (this.#leftOut > 0)
        this.#logger.warn({ leftOut: this.#leftOut }, 'more clients were refused than lines written');
      this.#windowStartMs = now;
      this.#lines = 0;
      this.#leftOut = 0;
    }
    if (this.#lines >= LINES_PER_WINDOW) this.#leftOut++;
    else {
      this.#lines++;
      this.#logger.info(fields, message);
    }
  }
}
