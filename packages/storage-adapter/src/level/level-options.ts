import { KiB, MiB } from '@robustmq/stdx/byte-size';
import { StorageError } from '../errors.js';

export interface LevelStorageOptions {
  /** Where the database lies; created when missing. */
  readonly directory: string;
  /** Accepted and not durable yet, in bytes; beyond it appends are refused with OVERLOADED. */
  readonly pendingBytesMax?: number;
  /** How often retention is enforced, in milliseconds. */
  readonly retentionEveryMs?: number;
  /** LevelDB's block cache, in bytes. */
  readonly cacheBytes?: number;
  /** LevelDB's memory table, in bytes. */
  readonly writeBufferBytes?: number;
}

export type ResolvedLevelStorageOptions = Required<LevelStorageOptions>;

const RANGES = {
  /** Half a second of a slow disk; a longer queue only adds latency. */
  pendingBytesMax: { standard: 64 * MiB, low: 4 * KiB, high: 4096 * MiB },
  /** Retention is stated in minutes and more; half a minute late is on time. */
  retentionEveryMs: { standard: 30_000, low: 1, high: 24 * 60 * 60 * 1000 },
  /** LevelDB's own default; most reads are of what was just written, and that is in the memory table. */
  cacheBytes: { standard: 8 * MiB, low: 0, high: 4096 * MiB },
  /** Four times LevelDB's default: fewer table files for the same stream of appends, still quick to replay. */
  writeBufferBytes: { standard: 16 * MiB, low: 64 * KiB, high: 1024 * MiB },
} as const;

export function resolveLevelStorageOptions(options: LevelStorageOptions): ResolvedLevelStorageOptions {
  if (options.directory === '') throw new StorageError('INVALID_ARGUMENT', 'level storage needs a directory');
  return {
    directory: options.directory,
    pendingBytesMax: inRange('pendingBytesMax', options.pendingBytesMax),
    retentionEveryMs: inRange('retentionEveryMs', options.retentionEveryMs),
    cacheBytes: inRange('cacheBytes', options.cacheBytes),
    writeBufferBytes: inRange('writeBufferBytes', options.writeBufferBytes),
  };
}

function inRange(option: keyof typeof RANGES, given: number | undefined): number {
  const { standard, low, high } = RANGES[option];
  const value = given ?? standard;
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new StorageError('INVALID_ARGUMENT', `${option} is ${value}; a whole number from ${low} to ${high} is needed`);
}
