import { assert } from '@robustmq/stdx/assert';
import { UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { MiB } from '@robustmq/stdx/byte-size';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { nullLogger } from '@robustmq/stdx/logger';
import type { MetricsRegistry } from '@robustmq/stdx/metrics';
import { type Disk, Wal, WalError, type WalFrame } from '@robustmq/wal';
import type { LogPosition } from '../core/types.js';
import type { GroupId } from '../driver/group-id.js';
import type { LogStore, LogWrite, RecoveredLog } from '../driver/log-store.js';
import { MetaError, type MetaErrorCode } from '../errors.js';
import { BASE_FRAME, decodeLogParts, encodeLogParts, type LogPart, TURN_FRAME } from './log-frame.js';
import { LogMirror } from './log-mirror.js';

export interface RaftLogStoreOptions {
  readonly directory: string;
  /** Size of one file of the log, in bytes; packages/wal has the default and the reason. */
  readonly fileBytes?: number;
}

export interface RaftLogStoreDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
}

/** A longer log is not written once more when another is compacted: it will be compacted itself before long. */
const REWRITTEN_BYTES_MAX = 16 * MiB;
/** Milliseconds between two looks whether a full disk has space again. */
const SPACE_CHECK_MS = 250;

/** Taken and not durable yet. */
interface WaitingFrame {
  readonly kind: number;
  readonly payload: ReturnType<typeof encodeLogParts>;
  readonly onDurable: (error?: Error) => void;
  readonly sequence: number;
}

/** Where every group's log begins. */
const BEFORE_THE_LOG: LogPosition = { index: 0, term: 0 };

/**
 * The logs of all groups in one write-ahead log: a turn is one frame, so that one sync covers all groups and a turn
 * is found whole or not at all.
 *
 * Compacting writes a base frame and then lets the write-ahead log reuse every file before the oldest frame that is still
 * needed. A group whose old entries alone would hold files back has them written once more with the base, so that the log
 * is never longer than what a busy group keeps plus what was written since.
 *
 * Invariants:
 *   S1. Replaying the frames from the write-ahead log's first one on gives every mirror as it is now: behind that first
 *       frame lie a base frame and every entry that a mirror holds. Before the first compaction there is no base frame;
 *       then every frame is there, and every log begins at index 1.
 *   S2. After the first failed append nothing is accepted: the mirrors hold what the disk may not.
 *   S3. A full disk is no failure: frames wait, in order, and are appended again until there is space. The write-ahead log
 *       takes back the sequences of what it could not write, so each frame gets the one it had.
 */
export class RaftLogStore implements LogStore {
  readonly #wal: Wal;
  readonly #mirrors: Map<GroupId, LogMirror>;
  readonly #recovered = new Set<GroupId>();
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #waiting: WaitingFrame[] = [];
  /** Runs while the disk is full (S3). */
  #spaceCheck: Timer | undefined;
  #failure: MetaError | undefined;
  #compacting: Promise<void> = Promise.resolve();

  /** Rejects with DAMAGED when the log is anything but whole or torn at its very end, and DIRECTORY_MISMATCH when it is not ours. */
  static async open(options: RaftLogStoreOptions, deps: RaftLogStoreDeps): Promise<RaftLogStore> {
    const { directory, fileBytes } = options;
    const { disk, clock, logger = nullLogger, metrics } = deps;
    const mirrors = new Map<GroupId, LogMirror>();
    try {
      const wal = await Wal.open(
        { directory, name: 'meta', ...(fileBytes === undefined ? {} : { fileBytes }) },
        { disk, clock, logger, ...(metrics === undefined ? {} : { metrics }) },
        (frame) => replay(mirrors, frame),
      );
      for (const mirror of mirrors.values()) checkComplete(mirror);
      return new RaftLogStore(wal, mirrors, { logger, clock });
    } catch (error) {
      throw openingFailed(directory, error);
    }
  }

  private constructor(
    wal: Wal,
    mirrors: Map<GroupId, LogMirror>,
    { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
  ) {
    this.#clock = clock;
    this.#wal = wal;
    this.#mirrors = mirrors;
    this.#logger = logger;
    for (const group of mirrors.keys()) this.#recovered.add(group);
  }

  get bytesSinceCheckpoint(): number {
    return this.#wal.bytesSinceCheckpoint;
  }

  takeRecovered(group: GroupId): RecoveredLog | undefined {
    const mirror = this.#mirrors.get(group);
    if (!mirror || !this.#recovered.delete(group)) return undefined;
    return { base: mirror.base ?? BEFORE_THE_LOG, entries: [...mirror.entries], hardState: mirror.hardState };
  }

  write(parts: readonly LogWrite[], onDurable: (error?: Error) => void): void {
    const complete = parts.map((part) => ({ ...part, base: undefined }));
    this.#append(TURN_FRAME, complete, onDurable);
  }

  /** One at a time: each waits for the one before. */
  compact(group: GroupId, through: LogPosition): Promise<void> {
    const run = this.#compacting.then(() => this.#compact(group, through));
    this.#compacting = run.catch(() => {});
    return run;
  }

  /** Whether what is written waits for space on the disk. */
  get isFull(): boolean {
    return this.#spaceCheck !== undefined;
  }

  async close(): Promise<void> {
    if (this.#spaceCheck) {
      this.#spaceCheck.cancel();
      const closed = new MetaError('CLOSED', 'The raft log was closed while its disk was full.');
      this.#failure ??= closed;
      for (const { onDurable } of this.#waiting.splice(0)) onDurable(closed);
    }
    await this.#compacting;
    await this.#wal.close();
  }

  async #compact(group: GroupId, through: LogPosition): Promise<void> {
    const compacted = this.#mirrors.get(group);
    // A snapshot that was installed meanwhile may have moved the log beyond it.
    if (!compacted || through.index <= (compacted.base?.index ?? 0)) return;
    const sequence = await new Promise<number>((resolve, reject) => {
      const parts = [...this.#mirrors.values()].map((mirror) => basePart(mirror, { compacted, through }));
      const at = this.#append(BASE_FRAME, parts, (error) => (error ? reject(error) : resolve(at)));
    });
    let firstNeeded = sequence;
    for (const mirror of this.#mirrors.values()) {
      firstNeeded = Math.min(firstNeeded, mirror.firstSequence ?? sequence); // S1
    }
    try {
      await this.#wal.checkpoint(firstNeeded);
    } catch (error) {
      // The log goes on, only longer; the next compaction frees more.
      if (!(error instanceof WalError) || error.code !== 'DISK_FULL') throw this.#fail(error);
      this.#logger.warn({ err: error }, 'the raft log could not give back space');
    }
  }

  #append(kind: number, parts: readonly LogPart[], onDurable: (error?: Error) => void): number {
    if (this.#failure) throw this.#failure; // S2
    const payload = encodeLogParts(parts);
    const next = (this.#waiting.at(-1)?.sequence ?? -1) + 1;
    let sequence = next;
    try {
      if (!this.isFull) sequence = this.#wal.append(kind, payload, (error) => this.#written(error));
    } catch (error) {
      // Only when nothing waits can the sequence not be told, and then there was no append that found the disk full.
      if (error instanceof WalError && error.code === 'OVERLOADED') {
        throw new MetaError('OVERLOADED', `The raft log does not take more: ${error.message}`, { cause: error });
      }
      throw this.#fail(error);
    }
    this.#waiting.push({ kind, payload, onDurable, sequence });
    for (const part of parts) this.#mirror(part.group).apply(part, sequence);
    return sequence;
  }

  /** Of the oldest frame that was appended: they are told in order. */
  #written(error: Error | undefined): void {
    if (error instanceof WalError && error.code === 'DISK_FULL') {
      this.#spaceCheck ??= this.#checkLater(); // S3: all that waits was given up, and is appended again
      return;
    }
    const frame = this.#waiting.shift();
    if (error) frame?.onDurable(this.#fail(error));
    else frame?.onDurable();
  }

  #checkLater(): Timer {
    return this.#clock.setTimer(SPACE_CHECK_MS, () => {
      this.#spaceCheck = undefined;
      try {
        for (const { kind, payload } of this.#waiting) this.#wal.append(kind, payload, (error) => this.#written(error));
      } catch (error) {
        if (error instanceof WalError && error.code === 'DISK_FULL') {
          this.#spaceCheck = this.#checkLater();
          return;
        }
        const failure = this.#fail(error);
        for (const { onDurable } of this.#waiting.splice(0)) onDurable(failure);
      }
    });
  }

  #mirror(group: GroupId): LogMirror {
    const known = this.#mirrors.get(group);
    if (known) return known;
    const mirror = new LogMirror(group, BEFORE_THE_LOG);
    this.#mirrors.set(group, mirror);
    return mirror;
  }

  #fail(error: unknown): MetaError {
    this.#failure ??= new MetaError(
      error instanceof WalError && error.code === 'CLOSED' ? 'CLOSED' : 'FAILED',
      `The raft log takes no more: ${errorMessage(error)}.`,
      { cause: error },
    );
    return this.#failure;
  }
}

/** Base and hard state of one group, and its entries when they would hold back what the compacted group gives free. */
function basePart(
  mirror: LogMirror,
  { compacted, through }: { readonly compacted: LogMirror; readonly through: LogPosition },
): LogPart {
  const { group, hardState } = mirror;
  assert(mirror.base !== undefined, 'a log knows where it begins once it is open');
  if (mirror === compacted) return { group, reset: undefined, base: through, entries: [], hardState };
  if (mirror.bytes > REWRITTEN_BYTES_MAX) return { group, reset: undefined, base: mirror.base, entries: [], hardState };
  // A reset, not a base: a replay that begins behind this group's first entries has only later ones so far.
  return { group, reset: mirror.base, base: undefined, entries: [...mirror.entries], hardState };
}

function replay(mirrors: Map<GroupId, LogMirror>, { kind, payload, sequence }: WalFrame): void {
  if (kind !== TURN_FRAME && kind !== BASE_FRAME) throw damaged(sequence, `its kind is ${kind}`);
  try {
    for (const part of decodeLogParts(payload)) {
      let mirror = mirrors.get(part.group);
      if (!mirror) {
        // Only a log that was never compacted begins with the first frame; else its base is still to come.
        mirror = new LogMirror(part.group, undefined);
        mirrors.set(part.group, mirror);
      }
      mirror.apply(part, sequence);
    }
  } catch (error) {
    if (error instanceof RangeError || error instanceof UnexpectedEnd) throw damaged(sequence, error.message);
    throw error;
  }
}

/** A log without a base was never compacted: it must begin at 1. */
function checkComplete(mirror: LogMirror): void {
  if (mirror.base) return;
  const first = mirror.entries[0]?.index ?? 1;
  if (first !== 1)
    throw damaged(mirror.firstSequence ?? 0, `the log of group ${mirror.group} begins at ${first} and has no base`);
  mirror.apply(
    { group: mirror.group, reset: undefined, base: BEFORE_THE_LOG, entries: [], hardState: undefined },
    mirror.firstSequence ?? 0,
  );
}

function damaged(sequence: number, why: string): MetaError {
  return new MetaError(
    'DAMAGED',
    `Frame ${sequence} of the raft log cannot be trusted: ${why}. Replace this node by one with an empty data directory and a new id.`,
  );
}

const OPEN_CODES: Readonly<Record<string, MetaErrorCode>> = {
  CORRUPT: 'DAMAGED',
  FORMAT_VERSION: 'DIRECTORY_MISMATCH',
  DIRECTORY_IN_USE: 'DIRECTORY_MISMATCH',
  INVALID_ARGUMENT: 'INVALID',
};

function openingFailed(directory: string, error: unknown): unknown {
  if (!(error instanceof WalError)) return error;
  const code = OPEN_CODES[error.code] ?? 'FAILED';
  return new MetaError(code, `The raft log in ${directory} cannot be opened: ${error.message}.`, { cause: error });
}
