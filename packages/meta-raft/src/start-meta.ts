// The metadata service of a node, from the disk to the answer.
//
//   claim the directory  →  recover log and state  →  let peers in  →  run Raft  →  wait for a leader and for this node to
//   hold what it had committed  →  serve clients
//
// Closing goes the same way back.

import { randomBytes } from 'node:crypto';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type Disk, nodeDisk } from '@robustmq/wal';
import type { MetaClient } from './client/meta-client.js';
import type { PeerTransport } from './driver/peer-transport.js';
import type { GroupStatus } from './driver/replication.js';
import type { MetaError } from './errors.js';
import { MetaNode } from './meta-node.js';
import { resolveMetaOptions } from './options.js';
import type { RpcMount } from './rpc-mount.js';
import type { LevelDatabase } from './storage/level-database.js';

export interface MetaOptions {
  /** This node: a whole number of 1 or more, unique in the cluster for ever. */
  readonly nodeId: number;
  /** The same on all nodes; a directory of another cluster is refused. */
  readonly clusterName: string;
  /** Made when missing. One node's only. */
  readonly dataDirectory: string;
  /**
   * host:port of the gRPC server of every founding node by its id, this one included, the same on all. Alone by default: such
   * a node founds a cluster of one at once.
   */
  readonly peers?: Readonly<Record<string, string>>;
  /** Sent with every call to other nodes; their gRPC servers check it. */
  readonly secret?: string | undefined;
  /** For TLS between nodes: grpc-js channel credentials. Plain text by default. */
  readonly credentials?: ChannelCredentials | undefined;
  /** Default: ticks of 50 ms, a heartbeat every 2, an election after 12 to 24 without one. */
  readonly timing?: { readonly tickMs?: number; readonly heartbeatTicks?: number; readonly electionTicks?: number };
  /** Milliseconds for a call with all its attempts. Default 10,000. From 1 to 600,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds until a leader is known and this node has caught up with it. Default 30,000. From 1 to 600,000. */
  readonly startTimeoutMs?: number;
}

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

export interface MetaService extends AsyncDisposable {
  /** A client of this node's own state, without a wire between. */
  readonly client: MetaClient;
  status(): GroupStatus;
  /** True while this node serves: a leader is known, and a quorum stands behind it as far as this node can tell. */
  isReady(): boolean;
  /** Hands leadership over when it can, finishes what was accepted, and lets the directory go. */
  close(): Promise<void>;
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
