// How the service is set up in a simulation: every limit is drawn small in some seeds, so that what a limit brings about
// (truncated batches, full windows, snapshots, lost history) happens all the time.

import { KiB, MiB } from '@robustmq/stdx/byte-size';
import type { Prng } from '@robustmq/stdx/prng';
import type { NodeId } from '../../core/types.js';
import type { NodeSettings } from './sim-node.js';

const REQUEST_TIMEOUT_MS = 4_000;

export function drawSettings(prng: Prng, ids: readonly NodeId[]): NodeSettings {
  return {
    // The others join when the membership changes, if it does.
    founders: prng.chance(0.3) ? ids.slice(0, 3) : ids,
    tickMs: 50,
    core: {
      electionTicks: prng.pick([6, 12, 12]),
      heartbeatTicks: 2,
      appendBytesMax: prng.pick([1, 500, 256 * KiB]),
      inflight: { messagesMax: prng.pick([1, 3, 64]), bytesMax: prng.pick([200, 4 * MiB]) },
      uncommittedBytesMax: prng.pick([2 * KiB, 32 * MiB]),
      applyBytesMax: prng.pick([1, 500, MiB]),
      readsMax: prng.pick([2, 1024]),
    },
    group: {
      callTimeoutMs: REQUEST_TIMEOUT_MS,
      proposalsMax: 16_384,
      readsMax: 16_384,
      inboxMax: prng.pick([8, 4096]),
      batchBytesMax: prng.pick([1, 256 * KiB]),
      compaction: prng.pick([
        { entriesMax: 30, bytesMax: MiB, entriesKept: 5 },
        { entriesMax: 200, bytesMax: MiB, entriesKept: 100 },
        { entriesMax: 10_000, bytesMax: 64 * MiB, entriesKept: 5_000 },
      ]),
    },
    history: prng.pick([
      { keepMs: 5_000, revisionsMax: 50 },
      { keepMs: 20_000, revisionsMax: 100_000 },
      { keepMs: 3_600_000, revisionsMax: 100_000 },
    ]),
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    logFileBytes: prng.pick([16 * KiB, 256 * KiB]),
  };
}
