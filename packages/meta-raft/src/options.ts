// Every option of this package: what it means, its default, and why that.

import { KiB, MiB } from '@robustmq/stdx/byte-size';
import type { RequestLimits } from './client/requests.js';

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
