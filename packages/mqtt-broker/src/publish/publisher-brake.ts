/** A connection that can be held back from reading. */
export interface HeldPublisher {
  holdReading(reason: 'storage'): void;
  releaseReading(reason: 'storage'): void;
}

export interface BrakeLimits {
  readonly bytesMax: number;
  readonly messagesMax: number;
}

/** What waits for storage now. */
export interface UnderWay {
  readonly bytesUnderWay: number;
  readonly recordsUnderWay: number;
}

/**
 * Stops reading from publishers while too much waits for storage, and goes on when half of it is kept: what
 * storage cannot take piles up in the sockets of those who send it, not here (D16).
 */
export class PublisherBrake {
  readonly #limits: BrakeLimits;
  readonly #underWay: () => UnderWay;
  readonly #held = new Set<HeldPublisher>();
  /** How often a publisher was held back. */
  applied = 0;

  constructor(limits: BrakeLimits, underWay: () => UnderWay) {
    this.#limits = limits;
    this.#underWay = underWay;
  }

  /** To be called after a publisher added to what waits. */
  check(publisher: HeldPublisher): void {
    if (!this.#isAbove(1) || this.#held.has(publisher)) return;
    this.#held.add(publisher);
    this.applied++;
    publisher.holdReading('storage');
  }

  /** To be called when something was kept or failed. */
  release(): void {
    if (this.#held.size === 0 || this.#isAbove(0.5)) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const publisher of held) publisher.releaseReading('storage');
  }

  forget(publisher: HeldPublisher): void {
    this.#held.delete(publisher);
  }

  #isAbove(share: number): boolean {
    const { bytesUnderWay, recordsUnderWay } = this.#underWay();
    return bytesUnderWay > this.#limits.bytesMax * share || recordsUnderWay > this.#limits.messagesMax * share;
  }
}
