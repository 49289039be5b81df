// Every option of this package: what it means, its default, and why that.

import { KiB, MiB } from '@robustmq/stdx/byte-size';
import type { ConnectMetaOptions } from './client/connect-meta.js';
import type { RequestLimits } from './client/requests.js';
import { MetaError } from './errors.js';

/**
 * keyBytesMax      4 KiB: keys are names; they are held in memory by every replica and watcher.
 * requestBytesMax  1.5 MiB: etcd's limit, so that what fits there fits here. A larger entry would hold up heartbeats.
 * operationsMax    128: etcd's limit; one apply stays far below a heartbeat interval.
 */
export const DEFAULT_REQUEST_LIMITS: RequestLimits = {
  keyBytesMax: 4 * KiB,
  requestBytesMax: 1.5 * MiB,
  operationsMax: 128,
};

/** A call with all its attempts: longer than any election at the default timers. */
const REQUEST_TIMEOUT_MS = 10_000;
/** One attempt: a member that hangs is left for the next. */
const ATTEMPT_TIMEOUT_MS = 3_000;
const TIMEOUT_MS_MAX = 600_000;

export interface ResolvedConnectOptions {
  readonly requestTimeoutMs: number;
  readonly attemptTimeoutMs: number;
  readonly writeRetries: 'deduplicated' | 'never';
  readonly limits: RequestLimits;
}

/** Throws MetaError INVALID. */
export function resolveConnectOptions(given: ConnectMetaOptions): ResolvedConnectOptions {
  const requestTimeoutMs = given.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  return {
    requestTimeoutMs: milliseconds('requestTimeoutMs', requestTimeoutMs),
    attemptTimeoutMs: milliseconds('attemptTimeoutMs', given.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS),
    writeRetries: given.writeRetries ?? 'deduplicated',
    limits: DEFAULT_REQUEST_LIMITS,
  };
}

function milliseconds(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 1 && value <= TIMEOUT_MS_MAX) return value;
  throw new MetaError('INVALID', `${name} is ${value}. It must be from 1 to ${TIMEOUT_MS_MAX} milliseconds.`);
}
