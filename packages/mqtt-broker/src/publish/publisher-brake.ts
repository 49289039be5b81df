import type { SessionPort } from '../session/session-port.js';

/**
 * Stops reading from publishers while too many bytes wait for storage, and goes on when half of them are
 * kept: what storage cannot take piles up in the sockets of those who send it, not here (D16).
 */
export class PublisherBrake {
  readonly #bytesMax: number;
  readonly #bytesUnderWay: () => number;
  readonly #paused = new Set<SessionPort>();
  /** How often a publisher was paused. */
  applied = 0;

  constructor(bytesMax: number, bytesUnderWay: () => number) {
    this.#bytesMax = bytesMax;
    this.#bytesUnderWay = bytesUnderWay;
  }

  /** To be called after a publisher added to what waits. */
  check(port: SessionPort): void {
    if (this.#bytesUnderWay() <= this.#bytesMax || this.#paused.has(port)) return;
    this.#paused.add(port);
    this.applied++;
    port.pauseReading();
  }

  /** To be called when something was kept or failed. */
  release(): void {
    if (this.#paused.size === 0 || this.#bytesUnderWay() > this.#bytesMax / 2) return;
    const paused = [...this.#paused];
    this.#paused.clear();
    for (const port of paused) port.resumeReading();
  }

  forget(port: SessionPort): void {
    this.#paused.delete(port);
  }
}
