// The metadata of a node: the service itself, or a client of the nodes that carry it.

import { startMeta } from '@robustmq/meta-raft';
import { connectMeta, type MetaClient } from '@robustmq/meta-raft/client';
import { type CheckResult, formatAddress, type RpcServer } from '@robustmq/node-runtime';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { type Node, pathOf } from './node.js';

export interface MetaRole extends AsyncDisposable {
  readonly client: MetaClient;
}

/** Milliseconds a look at the metadata may take before health says that it cannot be reached. */
const LOOK_MS_MAX = 800;

/** What startMeta takes at most; the step has a deadline of its own. */
const START_TIMEOUT_MS_MAX = 600_000;

/** Raft ticks every so many parts of a heartbeat: fine enough for the draw between one and two election timeouts. */
const TICKS_PER_HEARTBEAT = 2;

/** Recovers the log, finds the peers, waits for a leader. */
export async function startMetaRole(node: Node, rpc: RpcServer, signal: AbortSignal): Promise<MetaRole> {
  const { config, disk, clock, prng, log, metrics, context } = node;
  const { heartbeat_ms: heartbeatMs, election_ms: electionMs } = config.meta;
  const tickMs = Math.max(1, Math.round(heartbeatMs / TICKS_PER_HEARTBEAT));
  const peers = [...config.meta.peers].map(([id, address]) => [String(id), formatAddress(address)] as const);
  const meta = await startMeta(
    {
      nodeId: config.node_id,
      clusterName: config.cluster_name,
      dataDirectory: pathOf(node, 'meta'),
      ...(peers.length > 0 ? { peers: Object.fromEntries(peers) } : {}),
      join: config.meta.join,
      secret: config.grpc.secret,
      timing: { tickMs, heartbeatTicks: TICKS_PER_HEARTBEAT, electionTicks: Math.round(electionMs / tickMs) },
      startTimeoutMs: Math.min(config.start.deadline_ms, START_TIMEOUT_MS_MAX),
    },
    {
      disk,
      clock,
      prng: prng.fork('meta'),
      logger: log.child({ part: 'meta' }),
      metrics,
      rpc,
      signal,
      failed: (error) => context.fail(error),
    },
  );
  node.health.bind('metadata', () =>
    meta.isReady() ? { ok: true } : { ok: false, reason: 'no leader with a quorum behind it is known' },
  );
  return meta;
}

/** What to look at when the metadata does not come up in time. */
export function metaHint({ config }: Node): string {
  const peers = [...config.meta.peers.values()].map(formatAddress).join(', ');
  return peers === ''
    ? 'This node is alone: look at its log'
    : `The metadata nodes are ${peers} (meta.peers): are enough of them started, and can they be reached?`;
}

/** Waits until a node with the role meta answers; the step's deadline is the limit. */
export async function connectMetaRole(node: Node, signal: AbortSignal): Promise<MetaRole> {
  const { config, clock, prng, log } = node;
  const endpoints = [...config.meta.peers.values()].map(formatAddress);
  const client = connectMeta(
    { endpoints, ...(config.grpc.secret === undefined ? {} : { secret: config.grpc.secret }) },
    { clock, prng: prng.fork('meta'), logger: log.child({ part: 'meta' }) },
  );
  try {
    await firstAnswer(client, signal);
  } catch (error) {
    await client.close();
    throw error;
  }
  node.health.bind('metadata', () => lookAt(client));
  return { client, [Symbol.asyncDispose]: () => client.close() };
}

/** Each call waits its own while and tries every node; what cannot get better by waiting is thrown. */
async function firstAnswer(client: MetaClient, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await client.get(WELL_KNOWN_KEY, { signal });
      return;
    } catch (error) {
      const mayComeUp = error instanceof CodedError && (error.next === 'later' || error.next === 'unknown');
      if (!mayComeUp || signal.aborted) throw error;
    }
  }
}

/** Any key will do: what counts is whether a linearizable read is answered. */
const WELL_KNOWN_KEY = 'nodes/';

async function lookAt(client: MetaClient): Promise<CheckResult> {
  try {
    await client.get(WELL_KNOWN_KEY, { signal: AbortSignal.timeout(LOOK_MS_MAX) });
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: `the metadata cannot be reached: ${errorMessage(error)}` };
  }
}
