// One line on the terminal, rewritten while a run goes on. On anything but a terminal it says nothing.

import type { Clock } from '@robustmq/stdx/clock';
import type { Progress } from './load-run.js';
import { count, perSecond } from './report.js';

const EVERY_MS = 500;
const ERASE_LINE = '\r\u001b[2K';

export interface Terminal {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export class LiveLine {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  #shownMs = Number.NEGATIVE_INFINITY;
  #sent = 0;
  #received = 0;

  constructor(terminal: Terminal, clock: Clock) {
    this.#terminal = terminal;
    this.#clock = clock;
  }

  show(progress: Progress): void {
    if (this.#terminal.isTTY !== true) return;
    const nowMs = this.#clock.now();
    const seconds = (nowMs - this.#shownMs) / 1000;
    if (seconds * 1000 < EVERY_MS) return;
    const { sent, received } = progress.tally;
    const rates =
      sent + received === 0
        ? ''
        : `  sent ${perSecond((sent - this.#sent) / seconds)}  received ${perSecond((received - this.#received) / seconds)}`;
    this.#shownMs = nowMs;
    this.#sent = sent;
    this.#received = received;
    const standing =
      sent + received === 0 ? `${count(progress.inFlight)} connected` : `in flight ${count(progress.inFlight)}`;
    const line = `${progress.phase}${rates}  ${standing}  lost ${count(progress.lost)}`;
    this.#terminal.write(`${ERASE_LINE}${line.slice(0, (this.#terminal.columns ?? 120) - 1)}`);
  }

  clear(): void {
    if (this.#terminal.isTTY === true) this.#terminal.write(ERASE_LINE);
  }
}
