// The metadata service of a node, from the disk to the answer.
//
//   claim the directory  →  recover log and state  →  let peers in  →  run Raft  →  wait for a leader and for this node to
//   hold what it had committed  →  serve clients
//
// Closing goes the same way back.

import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type Disk, nodeDisk } from '@robustmq/wal';
import type { PeerTransport } from './driver/peer-transport.js';
import type { MetaError } from './errors.js';
import { MetaNode } from './meta-node.js';
import type { MetaService } from './meta-service.js';
import { type MetaOptions, resolveMetaOptions } from './options.js';
import type { RpcMount } from './rpc-mount.js';
import type { LevelDatabase } from './storage/level-database.js';

export interface MetaDeps {
  readonly disk?: Disk;
  readonly clock?: Clock;
  readonly prng?: Prng;
  readonly logger?: Logger;
  readonly metrics?: MetricsRegistry;
  /** Where peers and clients come in. Without it the service is reached through `client` only, and the node is alone. */
  readonly rpc?: RpcMount;
  /** Ends the waiting for a leader. */
  readonly signal?: AbortSignal;
  /** The node can serve no more (a failed sync, a broken invariant): the process should end. Called at most once. */
  readonly failed?: (error: MetaError) => void;
  /** For simulations: what stands in for gRPC between nodes, and for LevelDB. */
  readonly transport?: PeerTransport;
  readonly openDatabase?: (directory: string) => Promise<LevelDatabase>;
}

/**
 * Rejects with MetaError: INVALID (options), DIRECTORY_MISMATCH, DAMAGED, UNAVAILABLE (no leader within startTimeoutMs: too few
 * of the peers can be reached), FAILED, or with the signal's reason. Nothing runs on then.
 */
export async function startMeta(given: MetaOptions, deps: MetaDeps = {}): Promise<MetaService> {
  const options = resolveMetaOptions(given);
  const node = await MetaNode.open(options, {
    disk: nodeDisk(),
    clock: systemClock,
    prng: createPrng(randomBytes(16).toString('hex')),
    logger: nullLogger,
    metrics: nullMetrics,
    ...deps,
  });
  try {
    await node.start(deps.signal);
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}
