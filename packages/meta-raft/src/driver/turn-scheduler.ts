import type { Clock } from '@robustmq/stdx/clock';

/**
 * Runs one turn for everything that was asked for since the last: what one poll of the event loop brought in is
 * taken together, and answered together.
 */
export class TurnScheduler {
  readonly #clock: Clock;
  readonly #turn: () => void;
  #state: 'idle' | 'requested' | 'stopped' = 'idle';

  constructor(clock: Clock, turn: () => void) {
    this.#clock = clock;
    this.#turn = turn;
  }

  request(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'requested';
    this.#clock.setImmediate(() => {
      if (this.#state !== 'requested') return;
      // Before the turn: what comes up in it is for the next.
      this.#state = 'idle';
      this.#turn();
    });
  }

  stop(): void {
    this.#state = 'stopped';
  }
}
