// A write-ahead log: frames in, durable in order, replayed after a restart.
//
// Invariants:
//   W1. onDurable(undefined) comes after a datasync that covers the frame and every frame before it.
//   W2. Callbacks come in sequence order, each exactly once, never from within append().
//   W3. At most one write with its sync is in flight; what gathers meanwhile is the next group. No timer waits
//       for more.
//   W4. After a failed sync, or a failed write that could not be cut off again, nothing is ever acknowledged.
//   W5. Accepted bytes that are not durable are bounded; more is refused with OVERLOADED.
//   W6. firstNeeded <= durableSequence <= nextSequence, and none of them goes down, except that DISK_FULL takes
//       sequences back that were never durable.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import type { MetricsRegistry } from '@robustmq/stdx/metrics';
import type { Disk, DiskLock } from './disk/disk.js';
import { isDiskFull, WalError } from './errors.js';
import { frameBytes } from './frame.js';
import { GroupWriter } from './group-writer.js';
import { LogFiles } from './log-files.js';
import { WalMetrics } from './metrics.js';
import { type ResolvedWalOptions, resolveWalOptions, type WalOptions } from './options.js';
import { type FrameGroup, type OnDurable, type PendingFrame, PendingFrames } from './pending-frames.js';
import { type Recovered, recover, type WalFrame } from './replay.js';
import { SpaceWatch } from './space-watch.js';

export interface WalDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
}

type WalState =
  | { readonly kind: 'open' }
  /** The disk refused for lack of space. Appends are refused, and now and then one of them looks for space again. */
  | { readonly kind: 'full'; readonly error: WalError; readonly space: SpaceWatch }
  | { readonly kind: 'failed'; readonly error: WalError }
  | { readonly kind: 'closed' };

export class Wal {
  readonly #options: ResolvedWalOptions;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: WalMetrics;
  readonly #files: LogFiles;
  readonly #lock: DiskLock;
  readonly #writer: GroupWriter;
  readonly #pending = new PendingFrames();
  #state: WalState = { kind: 'open' };
  #nextSequence: number;
  #durableSequence: number;
  #firstSequence: number;
  #bytesSinceCheckpoint: number;
  #flushing = false;
  #idleWaiters: (() => void)[] = [];
  #checkpointing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /**
   * Opens or creates the log. Every needed frame goes through `replay`, in order, before this resolves; then all of
   * them are durable. Rejects with CORRUPT, FORMAT_VERSION, DIRECTORY_IN_USE, INVALID_ARGUMENT, or what `replay` threw.
   */
  static async open(given: WalOptions, deps: WalDeps, replay: (frame: WalFrame) => void): Promise<Wal> {
    const options = resolveWalOptions(given);
    const { disk, clock, logger = nullLogger } = deps;
    await disk.makeDirectory(options.directory);
    const lock = await disk.lock(options.directory);
    try {
      const startedMs = clock.now();
      const recovered = await recover({ disk, options, logger, replay });
      const files = new LogFiles(disk, options, recovered);
      await files.resume(recovered.position);
      const wal = new Wal({ options, deps, lock, files, recovered });
      wal.#metrics.replayed(clock.now() - startedMs);
      return wal;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private constructor(parts: {
    options: ResolvedWalOptions;
    deps: WalDeps;
    lock: DiskLock;
    files: LogFiles;
    recovered: Recovered;
  }) {
    const { deps, recovered } = parts;
    this.#options = parts.options;
    this.#disk = deps.disk;
    this.#clock = deps.clock;
    this.#logger = deps.logger ?? nullLogger;
    this.#files = parts.files;
    this.#writer = new GroupWriter(parts.files, parts.options.groupBytesMax);
    this.#lock = parts.lock;
    this.#nextSequence = recovered.nextSequence;
    this.#durableSequence = recovered.nextSequence;
    this.#firstSequence = recovered.checkpoint.firstNeeded;
    this.#bytesSinceCheckpoint = recovered.replayedBytes;
    this.#metrics = new WalMetrics(deps.metrics, parts.options.name, () => ({
      pendingBytes: this.#pending.bytes,
      files: this.#files.live.length,
      refusing: this.#state.kind === 'open' ? 0 : 1,
    }));
  }

  /** The sequence the next accepted frame gets. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** All frames below are durable. */
  get durableSequence(): number {
    return this.#durableSequence;
  }

  /** Where the next replay begins: what the last checkpoint() named. */
  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** Bytes of frames written since the last checkpoint() (or replayed at opening): roughly what a replay costs. */
  get bytesSinceCheckpoint(): number {
    return this.#bytesSinceCheckpoint;
  }

  /**
   * Queues one frame of `kind` (0 to 255) and returns its sequence. `parts` are one payload; they must not change
   * until `onDurable` is called. Throws OVERLOADED, DISK_FULL, FAILED, CLOSED or PAYLOAD_TOO_LARGE when the frame is
   * not accepted; `onDurable` is then never called. After DISK_FULL the same sequence is given out again.
   */
  append(kind: number, parts: readonly Uint8Array[], onDurable: OnDurable): number {
    if (this.#state.kind !== 'open' || this.#closing) throw this.#refusal();
    let length = 0;
    for (const part of parts) length += part.length;
    const { payloadBytesMax, pendingBytesMax } = this.#options;
    if (length > payloadBytesMax) {
      throw new WalError('PAYLOAD_TOO_LARGE', `a payload of ${length} bytes; payloadBytesMax is ${payloadBytesMax}`);
    }
    const pendingBytes = this.#pending.bytes;
    if (pendingBytes > 0 && pendingBytes + frameBytes(length) > pendingBytesMax) {
      throw new WalError(
        'OVERLOADED',
        `${pendingBytes} bytes wait for the disk; pendingBytesMax is ${pendingBytesMax}`,
      ); // W5
    }
    const sequence = this.#nextSequence++;
    this.#pending.push({ sequence, kind, parts, length, onDurable });
    this.#startFlush();
    return sequence;
  }

  /** The promise form of append(), for cold paths: resolves with the sequence once it is durable. */
  appendDurably(kind: number, parts: readonly Uint8Array[]): Promise<number> {
    return new Promise((resolve, reject) => {
      const sequence = this.append(kind, parts, (error) => (error ? reject(error) : resolve(sequence)));
    });
  }

  /**
   * Says that frames below `firstNeeded` (at most durableSequence) are no longer needed. When this resolves, that is
   * durable and their files may be used again. Rejects with DISK_FULL when there is no room to write it: the log goes on.
   */
  checkpoint(firstNeeded: number): Promise<void> {
    if (this.#closing) return Promise.reject(this.#refusal());
    const run = this.#checkpointing.then(() => this.#writeCheckpoint(firstNeeded));
    this.#checkpointing = run.catch(() => {});
    return run;
  }

  /** Makes durable what was accepted, refuses what comes after. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#checkpointing;
    if (this.#flushing) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    try {
      // A log that was closed knows how long it was: then even its last group cannot be cut unnoticed (R4).
      if (this.#state.kind === 'open') await this.#files.storeCheckpoint(this.#firstSequence, this.#durableSequence);
      await this.#files.close();
    } catch (error) {
      if (!isDiskFull(error)) throw this.#fail(error, 'the last checkpoint could not be written');
    } finally {
      if (this.#state.kind !== 'failed') this.#state = { kind: 'closed' };
      await this.#lock.release();
    }
  }

  async #writeCheckpoint(firstNeeded: number): Promise<void> {
    if (this.#state.kind === 'failed') throw this.#state.error;
    if (!(firstNeeded >= this.#firstSequence && firstNeeded <= this.#durableSequence)) {
      const range = `${this.#firstSequence} to ${this.#durableSequence}`;
      throw new WalError('INVALID_ARGUMENT', `a checkpoint at ${firstNeeded}; it must lie in ${range}`); // W6
    }
    const bytesBefore = this.#bytesSinceCheckpoint;
    try {
      const firstFile = await this.#files.storeCheckpoint(firstNeeded, this.#durableSequence);
      this.#firstSequence = firstNeeded;
      this.#bytesSinceCheckpoint -= bytesBefore;
      await this.#files.release(firstFile);
    } catch (error) {
      if (isDiskFull(error)) {
        throw new WalError('DISK_FULL', 'no space to write the checkpoint; free some and try again', { cause: error });
      }
      throw this.#fail(error, 'the checkpoint could not be made durable');
    }
  }

  #startFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true; // W3
    // In a later turn: everything appended in this one goes into the group.
    this.#clock.setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    const startedMs = this.#clock.now();
    const outcome = await this.#writer.write(this.#pending);
    this.#flushing = false;
    if (outcome.kind === 'durable') {
      this.#metrics.groupDurable(outcome.group, this.#clock.now() - startedMs);
      this.#acknowledge(outcome.group);
    } else {
      const { kind, group, cause } = outcome;
      const error = kind === 'full' ? this.#refuseUntilThereIsSpace(cause) : this.#fail(cause, errorMessage(cause)); // W4
      if (kind === 'full') this.#nextSequence = this.#durableSequence; // W6
      this.#settle(this.#pending.abandon(group), error);
    }
    if (!this.#pending.isEmpty) {
      this.#startFlush();
    } else if (!this.#flushing) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  }

  #acknowledge(group: FrameGroup): void {
    const { frames, bytes } = group;
    this.#bytesSinceCheckpoint += bytes;
    this.#pending.settled(group);
    this.#durableSequence += frames.length; // W1
    this.#settle(frames, undefined);
  }

  #refuseUntilThereIsSpace(cause: unknown): WalError {
    const { directory, growBytes, groupBytesMax } = this.#options;
    const error = new WalError('DISK_FULL', `no space left for the log in ${directory}: free some`, { cause });
    this.#logger.error({ directory }, 'wal: the disk is full, appends are refused');
    // Room for another stretch of the file and a group, and as much again to spare.
    const want = { directory, bytes: 2 * (growBytes + groupBytesMax) };
    this.#state = { kind: 'full', error, space: new SpaceWatch(this.#disk, this.#clock, want) };
    return error;
  }

  #acceptAgain(full: WalState, freeBytes: number): void {
    if (this.#state !== full) return;
    this.#state = { kind: 'open' };
    this.#logger.info({ directory: this.#options.directory, freeBytes }, 'wal: there is space again');
  }

  #settle(frames: readonly PendingFrame[], error: WalError | undefined): void {
    for (const { onDurable } of frames) {
      try {
        onDurable(error); // W2
      } catch (thrown) {
        // The others must still be told; the fault then surfaces as what it is, an uncaught exception.
        this.#clock.setImmediate(() => {
          throw thrown;
        });
      }
    }
  }

  #fail(cause: unknown, what: string): WalError {
    if (this.#state.kind === 'failed') return this.#state.error;
    const { directory } = this.#options;
    const advice = 'Nothing more is accepted; check the disk, then restart this process';
    const error = new WalError('FAILED', `the log in ${directory} failed: ${what}. ${advice}`, { cause });
    this.#state = { kind: 'failed', error };
    this.#logger.error({ directory, err: cause }, `wal: failed: ${what}`);
    return error;
  }

  #refusal(): WalError {
    const state = this.#state;
    if (state.kind === 'failed') return state.error;
    if (state.kind === 'full' && !this.#closing) {
      state.space.look((freeBytes) => this.#acceptAgain(state, freeBytes));
      return state.error;
    }
    return new WalError('CLOSED', `the log in ${this.#options.directory} is closed`);
  }
}
