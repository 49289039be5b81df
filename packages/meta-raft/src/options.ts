// Every option of this package: what it means, its default, and why that.

import { KiB, MiB } from '@robustmq/stdx/byte-size';
import type { RequestLimits } from './client/requests.js';
import type { RaftConfig } from './core/config.js';
import type { NodeId } from './core/types.js';
import type { GroupLimits } from './driver/raft-group.js';
import { MetaError } from './errors.js';
import type { RpcCredentials } from './rpc-credentials.js';
import type { HistoryOptions } from './service/history-compactor.js';

export interface ConnectMetaOptions {
  /** host:port of the metadata nodes; any of them serves everything, so one is enough while it lives. */
  readonly endpoints: readonly string[];
  /** Sent as `authorization: Bearer <secret>`; required when the cluster has one. */
  readonly secret?: string;
  /** For TLS: grpc-js channel credentials. Plain text by default. */
  readonly credentials?: RpcCredentials;
  /** Milliseconds for a call with all its attempts. Default 10,000: longer than any election. From 1 to 600,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds for one attempt. Default 3,000: a member that hangs is left for the next. From 1 to 600,000. */
  readonly attemptTimeoutMs?: number;
  /**
   * `deduplicated` (default) repeats a write whose outcome is unknown; our service applies it once. `never` is for a real
   * etcd, which cannot tell.
   */
  readonly writeRetries?: 'deduplicated' | 'never';
}

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
  /**
   * A fresh directory joins the cluster of the other `peers` instead of founding one with them: it is added as a learner, catches up,
   * and is promoted. Means nothing once the directory is there. Default false.
   */
  readonly join?: boolean;
  /** Sent with every call to other nodes; their gRPC servers check it. */
  readonly secret?: string | undefined;
  /** For TLS between nodes: grpc-js channel credentials. Plain text by default. */
  readonly credentials?: RpcCredentials | undefined;
  /** Default: ticks of 50 ms, a heartbeat every 2, an election after 12 to 24 without one. */
  readonly timing?: { readonly tickMs?: number; readonly heartbeatTicks?: number; readonly electionTicks?: number };
  /** Milliseconds for a call with all its attempts. Default 10,000. From 1 to 600,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds until a leader is known and this node has caught up with it. Default 30,000. From 1 to 600,000. */
  readonly startTimeoutMs?: number;
}

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

/**
 * tickMs          50: the grid of all timers; half a heartbeat.
 * heartbeatTicks  2 (100 ms): as etcd. A lost one must not matter, so an election waits for several.
 * electionTicks   12 (600 to 1,200 ms, drawn anew each time): above the pauses a busy process makes (garbage collection
 *                 stretched a 50 ms interval to 1.1 s at worst), below what a user of the cluster notices as an outage.
 */
const TIMING = { tickMs: 50, heartbeatTicks: 2, electionTicks: 12 } as const;

const CORE_LIMITS = {
  /** 256 KiB: on a loop that also serves clients, encoding one takes a fraction of a millisecond. */
  appendBytesMax: 256 * KiB,
  /** 64 messages and 4 MiB on the way to a peer: more than a LAN's round trip holds. */
  inflight: { messagesMax: 64, bytesMax: 4 * MiB },
  /** 32 MiB proposed and not committed: beyond it the cluster does not keep up, and callers should know. */
  uncommittedBytesMax: 32 * MiB,
  /** 1 MiB applied at a time: some 4,000 small entries, a few milliseconds. */
  applyBytesMax: MiB,
  /** A driver asks for one at a time, so this is the number of followers that ask at once. */
  readsMax: 1024,
} as const;

const GROUP_LIMITS = {
  /** 16,384 writes and as many reads in waiting: at 10,000 per second more than a second's worth. */
  proposalsMax: 16_384,
  readsMax: 16_384,
  /** Messages taken in one turn; a peer has at most 64 appends on the way. */
  inboxMax: 4096,
  /** As one append request. */
  batchBytesMax: 256 * KiB,
  /** etcd's numbers: 10,000 entries, of which 5,000 stay; 64 MiB are read in well under a second at a start. */
  compaction: { entriesMax: 10_000, bytesMax: 64 * MiB, entriesKept: 5_000 },
} as const;

/** Founding nodes started by hand, or by a slow machine, one after the other. */
const START_TIMEOUT_MS = 30_000;
/** An hour of history, or 100,000 revisions: a watcher that was away for longer lists again. */
const HISTORY: HistoryOptions = { keepMs: 3_600_000, revisionsMax: 100_000 };

export interface ResolvedMetaOptions {
  readonly node: NodeId;
  readonly cluster: string;
  readonly directory: string;
  readonly founders: readonly NodeId[];
  /** host:port by node, this one included when it is known. */
  readonly addresses: ReadonlyMap<NodeId, string>;
  readonly join: boolean;
  readonly secret: string | undefined;
  readonly credentials: RpcCredentials | undefined;
  readonly tickMs: number;
  readonly electionMs: number;
  readonly core: RaftConfig;
  readonly group: GroupLimits;
  readonly requestTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly requests: RequestLimits;
  readonly history: HistoryOptions;
}

/** Throws MetaError INVALID. */
export function resolveMetaOptions(given: MetaOptions): ResolvedMetaOptions {
  const node = nodeId('nodeId', given.nodeId);
  const { clusterName, dataDirectory, secret, credentials } = given;
  if (clusterName === '')
    throw new MetaError('INVALID', 'clusterName is empty. Name the cluster: its nodes must agree on it.');
  if (dataDirectory === '')
    throw new MetaError('INVALID', 'dataDirectory is empty. Say where the node keeps its data.');
  const addresses = new Map(
    Object.entries(given.peers ?? {}).map(([id, address]) => [nodeId('peers', Number(id)), address]),
  );
  if (addresses.size > 0 && !addresses.has(node)) {
    throw new MetaError(
      'INVALID',
      `peers does not name node ${node} itself. List all founding nodes, this one included.`,
    );
  }
  if (given.join === true && addresses.size < 2) {
    throw new MetaError('INVALID', 'join is set, and peers names nobody to join. List the members and this node.');
  }
  const { tickMs, heartbeatTicks, electionTicks } = { ...TIMING, ...given.timing };
  if (electionTicks <= 2 * heartbeatTicks) {
    throw new MetaError(
      'INVALID',
      `electionTicks is ${electionTicks}. It must be more than two heartbeats (${2 * heartbeatTicks}).`,
    );
  }
  const requestTimeoutMs = milliseconds('requestTimeoutMs', given.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
  return {
    node,
    cluster: clusterName,
    directory: dataDirectory,
    founders: addresses.size > 0 ? [...addresses.keys()].sort((a, b) => a - b) : [node],
    addresses,
    join: given.join ?? false,
    secret,
    credentials,
    tickMs: milliseconds('tickMs', tickMs),
    electionMs: tickMs * electionTicks,
    core: {
      ...CORE_LIMITS,
      heartbeatTicks: ticks('heartbeatTicks', heartbeatTicks),
      electionTicks: ticks('electionTicks', electionTicks),
    },
    group: { ...GROUP_LIMITS, callTimeoutMs: requestTimeoutMs },
    requestTimeoutMs,
    startTimeoutMs: milliseconds('startTimeoutMs', given.startTimeoutMs ?? START_TIMEOUT_MS),
    requests: DEFAULT_REQUEST_LIMITS,
    history: HISTORY,
  };
}

function nodeId(name: string, id: number): NodeId {
  if (Number.isSafeInteger(id) && id >= 1) return id;
  throw new MetaError('INVALID', `${name} names node ${id}. A node id is a whole number of 1 or more.`);
}

function ticks(name: string, count: number): number {
  if (Number.isSafeInteger(count) && count >= 1 && count <= 10_000) return count;
  throw new MetaError('INVALID', `${name} is ${count}. It must be from 1 to 10,000.`);
}
