import { GiB, KiB, MiB } from '@robustmq/stdx/byte-size';
import { WalError } from './errors.js';

export interface WalOptions {
  /** Where the files lie; created when missing. One log per directory. */
  readonly directory: string;
  /** In front of every metric name, so that two logs in one process differ: `journal` gives `journal_wal_…`. */
  readonly name?: string;
  /** Size of one file, in bytes. */
  readonly fileBytes?: number;
  /** A new file grows by this many zero bytes at a time, in bytes. */
  readonly growBytes?: number;
  /** One write and sync covers at most this many bytes, or one frame. */
  readonly groupBytesMax?: number;
  /** Frames that are not durable yet may hold this many bytes; an idle log takes any single frame. */
  readonly pendingBytesMax?: number;
  /** The largest payload of one frame, in bytes. */
  readonly payloadBytesMax?: number;
  /** Files kept for reuse after a checkpoint; the others are removed. */
  readonly recycledFilesMax?: number;
}

export type ResolvedWalOptions = Required<WalOptions>;

interface Range {
  readonly standard: number;
  readonly low: number;
  readonly high: number;
}

const RANGES = {
  /** Large enough that rolling (two directory syncs) is rare, small enough that a checkpoint frees disk soon. */
  fileBytes: { standard: 64 * MiB, low: 4 * KiB, high: GiB },
  /** A sync that also grows a file costs a journal commit of the file system; 256 KiB is 2 ms of a slow disk. */
  growBytes: { standard: 256 * KiB, low: 512, high: 64 * MiB },
  /** Some 30 ms of a slow disk (127 MB/s measured): what waits behind a full group waits no longer. */
  groupBytesMax: { standard: 4 * MiB, low: 512, high: GiB },
  /** Half a second of a slow disk; a queue any longer only adds latency. */
  pendingBytesMax: { standard: 64 * MiB, low: 4 * KiB, high: 4 * GiB },
  /** Twice the largest record storage accepts (64 MiB), so that its framing never makes it too large. */
  payloadBytesMax: { standard: 128 * MiB, low: 512, high: GiB },
  /** Two cover the log between two checkpoints in steady state. */
  recycledFilesMax: { standard: 2, low: 0, high: 1024 },
} as const satisfies Record<string, Range>;

export function resolveWalOptions(options: WalOptions): ResolvedWalOptions {
  const { directory, name = '' } = options;
  if (directory === '') throw new WalError('INVALID_ARGUMENT', 'a log needs a directory');
  if (!/^[a-z_]*$/.test(name))
    throw new WalError('INVALID_ARGUMENT', `"${name}" cannot begin a metric name: only a-z and _`);
  return {
    directory,
    name,
    fileBytes: inRange('fileBytes', options.fileBytes),
    growBytes: inRange('growBytes', options.growBytes),
    groupBytesMax: inRange('groupBytesMax', options.groupBytesMax),
    pendingBytesMax: inRange('pendingBytesMax', options.pendingBytesMax),
    payloadBytesMax: inRange('payloadBytesMax', options.payloadBytesMax),
    recycledFilesMax: inRange('recycledFilesMax', options.recycledFilesMax),
  };
}

function inRange(option: keyof typeof RANGES, given: number | undefined): number {
  const { standard, low, high } = RANGES[option];
  const value = given ?? standard;
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new WalError('INVALID_ARGUMENT', `${option} is ${value}; a whole number from ${low} to ${high} is needed`);
}
