import type { Clock } from '@robustmq/stdx/clock';
import type { Disk } from './disk/disk.js';

/** How often a full disk is looked at, however many appends are refused meanwhile. */
const EVERY_MS = 1000;

/** Finds out that a full disk has room again. It sets no timer: refused appends drive it. */
export class SpaceWatch {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #want: { readonly directory: string; readonly bytes: number };
  #lookedAtMs: number;

  constructor(disk: Disk, clock: Clock, want: { readonly directory: string; readonly bytes: number }) {
    this.#disk = disk;
    this.#clock = clock;
    this.#want = want;
    this.#lookedAtMs = clock.now();
  }

  /** Calls `onSpace` later when there is room, unless it looked a moment ago. A disk that cannot tell has none. */
  look(onSpace: (freeBytes: number) => void): void {
    if (this.#clock.now() - this.#lookedAtMs < EVERY_MS) return;
    this.#lookedAtMs = this.#clock.now();
    this.#disk.freeBytes(this.#want.directory).then(
      (freeBytes) => {
        if (freeBytes >= this.#want.bytes) onSpace(freeBytes);
      },
      () => {},
    );
  }
}
