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
import { storeCheckpoint } from './checkpoint-file.js';
import type { Disk, DiskLock } from './disk/disk.js';
import { isDiskFull, WalError } from './errors.js';
import { frameBytes } from './frame.js';
import { type FrameToWrite, GroupEncoder } from './group-encoder.js';
import { LogFiles } from './log-files.js';
import { registerWalMetrics, type WalMetrics } from './metrics.js';
import { type ResolvedWalOptions, resolveWalOptions, type WalOptions } from './options.js';
import { type Recovered, recover, type WalFrame } from './replay.js';

export interface WalDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
}

/** Told once when the frame is durable, or with the reason why it never will be. Must not throw. */
export type OnDurable = (error?: WalError) => void;

interface PendingFrame extends FrameToWrite {
  readonly onDurable: OnDurable;
}

type WalState =
  | { readonly kind: 'open' }
  /** The disk refused for lack of space. Appends are refused, and now and then one of them looks for space again. */
  | { readonly kind: 'full'; readonly error: WalError; lookedAtMs: number }
  | { readonly kind: 'failed'; readonly error: WalError }
  | { readonly kind: 'closed' };

/** How often a full log looks whether there is space again, when appends come. */
const LOOK_FOR_SPACE_EVERY_MS = 1000;

export class Wal {
  readonly #options: ResolvedWalOptions;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: WalMetrics;
  readonly #files: LogFiles;
  readonly #lock: DiskLock;
  readonly #encoder = new GroupEncoder();
  #state: WalState = { kind: 'open' };
  #pending: PendingFrame[] = [];
  #pendingBytes = 0;
  #nextSequence: number;
  #durableSequence: number;
  #firstSequence: number;
  #bytesSinceCheckpoint: number;
  #flushing = false;
  #idleWaiters: (() => void)[] = [];
  #checkpointing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #framesTotal = 0;
  #bytesTotal = 0;
  #groupsTotal = 0;

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
      const { live, free, lastNumber } = recovered;
      const files = new LogFiles(disk, options, { live, free, lastNumber });
      await files.resume(recovered.position);
      const wal = new Wal({ options, deps, lock, files, recovered });
      wal.#metrics.replaySeconds.observe((clock.now() - startedMs) / 1000);
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
    this.#lock = parts.lock;
    this.#nextSequence = recovered.nextSequence;
    this.#durableSequence = recovered.nextSequence;
    this.#firstSequence = recovered.checkpoint.firstNeeded;
    this.#bytesSinceCheckpoint = recovered.replayedBytes;
    this.#metrics = registerWalMetrics(deps.metrics, parts.options.name, () => ({
      framesTotal: this.#framesTotal,
      bytesTotal: this.#bytesTotal,
      groupsTotal: this.#groupsTotal,
      pendingBytes: this.#pendingBytes,
      liveFiles: this.#files.live.length,
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
    const bytes = frameBytes(length);
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > pendingBytesMax) {
      throw new WalError(
        'OVERLOADED',
        `${this.#pendingBytes} bytes wait for the disk; pendingBytesMax is ${pendingBytesMax}`,
      ); // W5
    }
    const sequence = this.#nextSequence++;
    this.#pending.push({ sequence, kind, parts, length, onDurable });
    this.#pendingBytes += bytes;
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
      if (this.#state.kind === 'open') await this.#storeCheckpoint(this.#firstSequence);
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
      const firstFile = await this.#storeCheckpoint(firstNeeded);
      this.#firstSequence = firstNeeded;
      this.#bytesSinceCheckpoint -= bytesBefore;
      if (firstFile !== undefined) await this.#files.release(firstFile);
    } catch (error) {
      if (isDiskFull(error)) {
        throw new WalError('DISK_FULL', 'no space to write the checkpoint; free some and try again', { cause: error });
      }
      throw this.#fail(error, 'the checkpoint could not be made durable');
    }
  }

  /** Returns the number of the oldest file that stays. */
  async #storeCheckpoint(firstNeeded: number): Promise<number | undefined> {
    const oldest = this.#files.oldestNeeded(firstNeeded);
    await storeCheckpoint(this.#disk, this.#options.directory, {
      firstFile: oldest?.number ?? 1,
      firstFileSequence: oldest?.firstSequence ?? 0,
      firstNeeded,
      durable: this.#durableSequence,
    });
    return oldest?.number;
  }

  #startFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true; // W3
    // In a later turn: everything appended in this one goes into the group.
    this.#clock.setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    const startedMs = this.#clock.now();
    const outcome = await this.#writeGroup();
    this.#flushing = false;
    if (outcome.kind === 'durable') {
      const { group, bytes } = outcome;
      this.#metrics.syncSeconds.observe((this.#clock.now() - startedMs) / 1000);
      this.#metrics.groupFrames.observe(group.length);
      this.#framesTotal += group.length;
      this.#groupsTotal++;
      this.#bytesTotal += bytes;
      this.#bytesSinceCheckpoint += bytes;
      this.#pendingBytes -= bytes;
      this.#durableSequence += group.length; // W1
      this.#settle(group, undefined);
    } else {
      const refused = [...outcome.group, ...this.#pending];
      this.#pending = [];
      this.#pendingBytes = 0;
      if (outcome.kind === 'full') this.#nextSequence = this.#durableSequence; // W6
      this.#settle(refused, outcome.error);
    }
    if (this.#pending.length > 0) {
      this.#startFlush();
    } else if (!this.#flushing) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  }

  /** Writes and syncs as many pending frames as fit in one group of one file. */
  async #writeGroup(): Promise<
    | { kind: 'durable'; group: PendingFrame[]; bytes: number }
    | { kind: 'full' | 'failed'; group: PendingFrame[]; error: WalError }
  > {
    let group: PendingFrame[] = [];
    try {
      const first = this.#pending[0];
      if (first && frameBytes(first.length) > this.#files.room) {
        await this.#files.roll(first.sequence, frameBytes(first.length));
      }
      const taken = this.#takeGroup();
      group = taken.group;
      await this.#files.write(this.#encoder.encode(group, this.#files.place), taken.bytes);
      await this.#files.datasync();
      return { kind: 'durable', ...taken };
    } catch (error) {
      return await this.#afterFailedWrite(group, error);
    }
  }

  /** A full disk is no fault when the log can be brought back to its last durable frame. */
  async #afterFailedWrite(
    group: PendingFrame[],
    cause: unknown,
  ): Promise<{ kind: 'full' | 'failed'; group: PendingFrame[]; error: WalError }> {
    if (!isDiskFull(cause)) return { kind: 'failed', group, error: this.#fail(cause, errorMessage(cause)) }; // W4
    try {
      await this.#files.cut();
    } catch (error) {
      return { kind: 'failed', group, error: this.#fail(error, 'a write that did not fit could not be cut off') }; // W4
    }
    const error = new WalError('DISK_FULL', `no space left in ${this.#options.directory}: free some`, { cause });
    this.#logger.error({ directory: this.#options.directory }, 'wal: the disk is full, appends are refused');
    this.#state = { kind: 'full', error, lookedAtMs: this.#clock.now() };
    return { kind: 'full', group, error };
  }

  /** The next group: at least one frame, then as many as the file and `groupBytesMax` allow. */
  #takeGroup(): { group: PendingFrame[]; bytes: number } {
    const limit = Math.min(this.#files.room, this.#options.groupBytesMax);
    let bytes = 0;
    let count = 0;
    for (const { length } of this.#pending) {
      const more = frameBytes(length);
      if (count > 0 && bytes + more > limit) break;
      bytes += more;
      count++;
    }
    if (count < this.#pending.length) return { group: this.#pending.splice(0, count), bytes };
    const group = this.#pending;
    this.#pending = [];
    return { group, bytes };
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
      this.#lookForSpace(state);
      return state.error;
    }
    return new WalError('CLOSED', `the log in ${this.#options.directory} is closed`);
  }

  /** Opens a full log again when the disk has room for another stretch of the file and something to spare. */
  #lookForSpace(full: WalState & { kind: 'full' }): void {
    if (this.#clock.now() - full.lookedAtMs < LOOK_FOR_SPACE_EVERY_MS) return;
    full.lookedAtMs = this.#clock.now();
    const { directory, growBytes, groupBytesMax } = this.#options;
    this.#disk.freeBytes(directory).then(
      (free) => {
        if (this.#state !== full || free < 2 * (growBytes + groupBytesMax)) return;
        this.#state = { kind: 'open' };
        this.#logger.info({ directory, freeBytes: free }, 'wal: there is space again, appends are accepted');
      },
      (error: unknown) => this.#logger.warn({ directory, err: error }, 'wal: cannot tell the free space'),
    );
  }
}
