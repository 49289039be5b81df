// Watches the free space: read-only before the disk is full, writable again when there is room.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Disk } from '@robustmq/wal';
import type { EngineState } from '../writer/engine-state.js';

/** Appends resume only with this much more than the reserve, so that the state does not flap. */
const RESUME_FACTOR = 1.25;

export interface DiskGuardOptions {
  readonly directory: string;
  readonly diskReserveBytes: number;
  readonly diskCheckIntervalMs: number;
}

export class DiskGuard {
  readonly #options: DiskGuardOptions;
  readonly #deps: { readonly disk: Disk; readonly clock: Clock; readonly logger: Logger; readonly state: EngineState };
  #timer: Timer | undefined;
  freeBytes = Number.POSITIVE_INFINITY;

  constructor(
    options: DiskGuardOptions,
    deps: { readonly disk: Disk; readonly clock: Clock; readonly logger: Logger; readonly state: EngineState },
  ) {
    this.#options = options;
    this.#deps = deps;
  }

  async start(): Promise<void> {
    await this.check();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  async check(): Promise<void> {
    const { disk, logger, state } = this.#deps;
    const { directory, diskReserveBytes } = this.#options;
    try {
      this.freeBytes = await disk.freeBytes(directory);
    } catch (error) {
      logger.warn(`cannot tell the free space of ${directory}: ${errorMessage(error)}`);
      return;
    }
    if (this.freeBytes < diskReserveBytes)
      state.becomeReadOnly(
        `${directory} has ${this.freeBytes} bytes left and ${diskReserveBytes} are kept in reserve; free some`,
      );
    else if (this.freeBytes >= diskReserveBytes * RESUME_FACTOR) state.becomeWritable();
  }

  #arm(): void {
    this.#timer = this.#deps.clock.setTimer(this.#options.diskCheckIntervalMs, () => {
      void this.check().then(() => this.#arm());
    });
  }
}
