import { errorMessage } from '@robustmq/stdx/coded-error';
import { LocalMetaClient } from './client/local-meta-client.js';
import type { MetaClient } from './client/meta-client.js';
import { CloseStack } from './close-stack.js';
import { allMembers, isVoter } from './core/membership.js';
import type { NodeId } from './core/types.js';
import { GROUP_IDS } from './driver/group-id.js';
import { MultiRaft } from './driver/multi-raft.js';
import { noPeers } from './driver/no-peers.js';
import { claimDirectory, type NodeIdentity } from './driver/node-identity.js';
import type { PeerTransport } from './driver/peer-transport.js';
import type { RaftGroup } from './driver/raft-group.js';
import { recoverRaft } from './driver/recovery.js';
import type { GroupStatus } from './driver/replication.js';
import { SnapshotSpool } from './driver/snapshot-spool.js';
import { MetaError } from './errors.js';
import { MetaForwardServiceService, RaftPeerServiceService } from './gen/robustmq/raft/v1/raft.js';
import type { MetaNodeDeps } from './meta-node-deps.js';
import type { MetaService } from './meta-service.js';
import { MetaMetrics, type MetaReadings } from './metrics.js';
import { joinAsLearner, NodeCluster } from './node-cluster.js';
import type { ResolvedMetaOptions } from './options.js';
import { plainText } from './rpc-credentials.js';
import { mountEtcdServices } from './service/etcd-services.js';
import { createForwardService, GrpcLeaderLink } from './service/forward-service.js';
import { HistoryCompactor } from './service/history-compactor.js';
import { ReplicatedStateAccess } from './service/replicated-state-access.js';
import type { MemberView } from './service/service-context.js';
import type { CommandResult } from './state/command.js';
import { openLevelDatabase } from './storage/level-database.js';
import { MetaStateMachine } from './storage/meta-state-machine.js';
import { RaftLogStore } from './storage/raft-log-store.js';
import { GrpcPeerTransport } from './transport/grpc-peer-transport.js';

interface NodeParts {
  readonly options: ResolvedMetaOptions;
  readonly deps: MetaNodeDeps;
  readonly identity: NodeIdentity;
  readonly machine: MetaStateMachine;
  readonly logStore: RaftLogStore;
  readonly transport: PeerTransport;
  readonly raft: MultiRaft;
  readonly group: RaftGroup<CommandResult>;
  readonly cluster: NodeCluster;
  readonly closing: CloseStack;
}

/** One node of the metadata service: everything that runs, put together once. */
export class MetaNode implements MetaService {
  readonly #parts: NodeParts;
  readonly #access: ReplicatedStateAccess;
  readonly client: MetaClient;
  #phase: 'starting' | 'serving' | 'closed' = 'starting';

  /** Recovers what the disk holds. Nothing is sent, and nobody is answered, before start(). */
  static async open(options: ResolvedMetaOptions, deps: MetaNodeDeps): Promise<MetaNode> {
    const closing = new CloseStack(deps.logger);
    try {
      return new MetaNode(await openParts(options, deps, closing));
    } catch (error) {
      await closing.close();
      throw error;
    }
  }

  private constructor(parts: NodeParts) {
    this.#parts = parts;
    const { options, deps, group, machine, cluster, closing } = parts;
    const { clock, prng, logger } = deps;
    const link = new GrpcLeaderLink({
      group: group.group,
      addressOf: (node) => cluster.addressOf(node),
      credentials: options.credentials ?? plainText(),
      secret: options.secret,
      clock,
      timeoutMs: options.requestTimeoutMs,
    });
    closing.push('leader link', () => link.close());
    this.#access = new ReplicatedStateAccess({
      replication: group,
      machine,
      leader: link,
      clock,
      prng: prng.fork('access'),
      logger,
      requestTimeoutMs: options.requestTimeoutMs,
      metrics: new MetaMetrics(deps.metrics, () => this.#readings()),
    });
    closing.push('state access', () => this.#access.close());
    const history = new HistoryCompactor(options.history, {
      replication: group,
      versions: () => machine.state.versions,
      clock,
      logger,
    });
    closing.push('history', () => history.close());
    this.client = new LocalMetaClient({ access: this.#access, limits: options.requests, prng: prng.fork('client') });
    closing.push('client', () => this.client.close());
  }

  /** Resolves when clients can be served. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    const { options, deps, cluster, raft } = this.#parts;
    // Peers first: they may need this node to elect a leader.
    this.#mountForPeers();
    cluster.refreshPeers();
    raft.start();
    await this.#caughtUp(signal);
    this.#mountForClients();
    if (options.join) cluster.seekVote();
    this.#phase = 'serving';
    const { term, leader, appliedIndex } = this.status();
    deps.logger.info({ node: options.node, term, leader, appliedIndex }, 'metadata service ready');
  }

  status(): GroupStatus {
    return this.#parts.group.status();
  }

  isReady(): boolean {
    return this.#phase === 'serving' && this.status().leader !== undefined;
  }

  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    const wasServing = this.#phase === 'serving';
    this.#phase = 'closed';
    const { group, options, deps, closing } = this.#parts;
    if (wasServing) {
      await group.handOver({ timeoutMs: options.electionMs }).catch((error: unknown) => {
        // The others will elect one after a timeout instead.
        deps.logger.debug({ error: errorMessage(error) }, 'leadership was not handed over');
      });
    }
    await closing.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #caughtUp(signal: AbortSignal | undefined): Promise<void> {
    const { group, options } = this.#parts;
    try {
      await group.readBarrier({ timeoutMs: options.startTimeoutMs, ...(signal === undefined ? {} : { signal }) });
    } catch (error) {
      if (!(error instanceof MetaError) || error.code !== 'DEADLINE') throw error;
      const peers = [...options.addresses].map(([node, address]) => `${node} at ${address}`).join(', ');
      const seconds = options.startTimeoutMs / 1000;
      const message = `No leader of the metadata service was found within ${seconds} s. A majority of the nodes (${peers}) must run and reach each other; check their addresses, the shared secret, and their logs.`;
      throw new MetaError('UNAVAILABLE', message, { cause: error });
    }
  }

  #mountForPeers(): void {
    const { deps, transport, group } = this.#parts;
    const { rpc } = deps;
    if (!rpc) return;
    if (transport instanceof GrpcPeerTransport) rpc.mount(RaftPeerServiceService, { ...transport.service });
    const forward = createForwardService({
      access: (id) => (id === group.group ? this.#access : undefined),
      leader: () => group.status().leader,
    });
    rpc.mount(MetaForwardServiceService, { ...forward });
  }

  #mountForClients(): void {
    const { deps, options, group, cluster } = this.#parts;
    const { rpc, clock, prng } = deps;
    if (!rpc) return;
    const context = {
      access: this.#access,
      view: () => this.#view(),
      cluster,
      transferLeadership: (to: number) => group.transferLeadership(to),
      limits: options.requests,
      clock,
      prng: prng.fork('service'),
    };
    mountEtcdServices(context, (definition, implementation) => rpc.mount(definition, implementation));
  }

  #view(): MemberView {
    const { identity, cluster } = this.#parts;
    const { node, term, leader, commitIndex, appliedIndex, membership } = this.status();
    const members = allMembers(membership).map((id) => ({
      id,
      address: cluster.addressOf(id) ?? '',
      role: isVoter(membership, id) ? ('voter' as const) : ('learner' as const),
    }));
    return { clusterId: identity.clusterId, memberId: node, term, leader, commitIndex, appliedIndex, members };
  }

  #readings(): MetaReadings {
    const { group, machine, logStore, raft, transport } = this.#parts;
    return {
      groups: [
        {
          name: 'metadata',
          status: group.status(),
          state: machine.state,
          watchers: machine.watches.watchers,
          waitingProposals: group.waitingProposals,
          statePendingBytes: machine.pendingBytes,
        },
      ],
      peers: transport instanceof GrpcPeerTransport ? transport.statistics : [],
      logBytesSinceCheckpoint: logStore.bytesSinceCheckpoint,
      stalls: raft.stalls,
    };
  }
}

async function openParts(options: ResolvedMetaOptions, deps: MetaNodeDeps, closing: CloseStack): Promise<NodeParts> {
  const { directory, node, founders } = options;
  const { disk, clock, prng, logger, metrics, openDatabase = openLevelDatabase } = deps;
  const learned = new Map<NodeId, string>();
  const identity = await claim(options, deps, { closing, learned });
  const logStore = await RaftLogStore.open({ directory: `${directory}/raft-log` }, { disk, clock, logger, metrics });
  closing.push('raft log', () => logStore.close());
  const machine = await MetaStateMachine.open(await openDatabase(`${directory}/state`));
  closing.push('state', () => machine.close());
  const spool = await SnapshotSpool.open(disk, `${directory}/incoming`);
  const transport = deps.transport ?? openTransport(options, deps, identity);
  closing.push('connections to peers', () => transport.close());
  // Said at the earliest when a group runs, and by then there is the one who listens.
  let cluster: NodeCluster | undefined;
  const raft = new MultiRaft({
    node,
    clock,
    logger,
    logStore,
    transport,
    tickMs: options.tickMs,
    diskStallMs: options.electionMs,
    failed: (_group, error) => deps.failed?.(error),
    membershipChanged: () => cluster?.refreshPeers(),
  });
  const group = raft.addGroup<CommandResult>({
    group: GROUP_IDS.metadata,
    raft: await recoverRaft({
      group: GROUP_IDS.metadata,
      node,
      founders: identity.joined ? [] : founders,
      logStore,
      applied: machine.applied,
      config: options.core,
      prng: prng.fork('metadata'),
    }),
    stateMachine: machine,
    spool,
    logger,
    limits: options.group,
  });
  closing.push('raft', () => raft.close());
  cluster = new NodeCluster({ options, deps, learned, transport, group });
  closing.push('membership', () => cluster?.close());
  return { options, deps, identity, machine, logStore, transport, raft, group, cluster, closing };
}

interface ClaimContext {
  readonly closing: CloseStack;
  /** Filled when this node joins. */
  readonly learned: Map<NodeId, string>;
}

async function claim(
  options: ResolvedMetaOptions,
  deps: MetaNodeDeps,
  { closing, learned }: ClaimContext,
): Promise<NodeIdentity> {
  const { directory, cluster, node, founders } = options;
  await deps.disk.makeDirectory(directory);
  const lock = await deps.disk.lock(directory).catch((error: unknown) => {
    throw new MetaError('DIRECTORY_MISMATCH', `The metadata directory is in use: ${errorMessage(error)}`, {
      cause: error,
    });
  });
  closing.push('directory lock', () => lock.release());
  const join = options.join
    ? async () => {
        const { clusterId, addresses } = await joinAsLearner(options, deps, deps.signal);
        for (const [id, address] of addresses) learned.set(id, address);
        return clusterId;
      }
    : undefined;
  return claimDirectory(deps.disk, { directory, cluster, node, founders, join });
}

function openTransport(options: ResolvedMetaOptions, deps: MetaNodeDeps, identity: NodeIdentity): PeerTransport {
  // Without a server nobody could answer; with one, a node that is alone today may get company.
  if (!deps.rpc && options.addresses.size < 2) return noPeers;
  const { node, secret, credentials: given } = options;
  const { clock, prng, logger } = deps;
  // The id too: clusters that share a name but were founded by other nodes are not the same.
  const cluster = `${identity.cluster}#${identity.clusterId}`;
  return new GrpcPeerTransport(
    { cluster, node, secret, credentials: given },
    { clock, prng: prng.fork('peers'), logger },
  );
}
