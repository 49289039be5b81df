import { MiB } from '@robustmq/stdx/byte-size';
import { StorageError } from '../errors.js';

/** What all external drivers have in common. */
export interface ExternalStorageOptions {
  /** Accepted and not stored yet, in bytes; beyond it appends are refused with OVERLOADED. */
  readonly pendingBytesMax?: number;
  /** How often retention is enforced, in milliseconds. */
  readonly retentionEveryMs?: number;
  /** How often shards that are listened to are asked for records of other processes, in milliseconds. */
  readonly pollEveryMs?: number;
  /** How long an append is repeated while the engine does not answer, in milliseconds. */
  readonly giveUpMs?: number;
  /** How long connecting may take, in milliseconds. */
  readonly connectTimeoutMs?: number;
}

export type ResolvedExternalStorageOptions = Required<ExternalStorageOptions>;

const DAY_MS = 24 * 60 * 60 * 1000;
const RANGES = {
  /** As in the level driver: half a second of a slow engine. */
  pendingBytesMax: { standard: 64 * MiB, low: 4096, high: 4096 * MiB },
  /** Retention is stated in minutes and more; half a minute late is on time. */
  retentionEveryMs: { standard: 30_000, low: 1, high: DAY_MS },
  /** Own appends are told at once; a message from another node may wait this long. Ten questions a second are no load. */
  pollEveryMs: { standard: 100, low: 1, high: DAY_MS },
  /** Longer than the restart of an engine takes, shorter than a publisher waits. */
  giveUpMs: { standard: 30_000, low: 1, high: DAY_MS },
  /** A start should fail while somebody still looks at it. */
  connectTimeoutMs: { standard: 10_000, low: 1, high: DAY_MS },
} as const;

export function resolveExternalStorageOptions(options: ExternalStorageOptions): ResolvedExternalStorageOptions {
  return {
    pendingBytesMax: inRange('pendingBytesMax', options.pendingBytesMax),
    retentionEveryMs: inRange('retentionEveryMs', options.retentionEveryMs),
    pollEveryMs: inRange('pollEveryMs', options.pollEveryMs),
    giveUpMs: inRange('giveUpMs', options.giveUpMs),
    connectTimeoutMs: inRange('connectTimeoutMs', options.connectTimeoutMs),
  };
}

function inRange(option: keyof typeof RANGES, given: number | undefined): number {
  const { standard, low, high } = RANGES[option];
  const value = given ?? standard;
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new StorageError('INVALID_ARGUMENT', `${option} is ${value}; a whole number from ${low} to ${high} is needed`);
}
