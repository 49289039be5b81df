/**
 * What is done to one group's state machine, one job after the other (the state machine's M3): slices, snapshots to
 * install, flushes. The first failure ends it.
 */
export class ApplyQueue {
  readonly #onFailure: (error: unknown) => void;
  #tail: Promise<void> = Promise.resolve();
  #state: 'open' | 'ended' = 'open';

  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure;
  }

  /** Jobs after the end are dropped. */
  add(job: () => Promise<void>): void {
    this.#tail = this.#tail.then(async () => {
      if (this.#state === 'ended') return;
      try {
        await job();
      } catch (error) {
        this.#state = 'ended';
        this.#onFailure(error);
      }
    });
  }

  /** Resolves when everything added so far is done or dropped. Never rejects. */
  drained(): Promise<void> {
    return this.#tail;
  }

  end(): void {
    this.#state = 'ended';
  }
}
