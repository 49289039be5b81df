import { type Histogram, type MetricSample, type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';
import type { GroupStatus } from './driver/replication.js';
import type { MetaState } from './state/meta-state.js';
import type { PeerStatistics } from './transport/grpc-peer-transport.js';

/** What is read of one group at every scrape. */
export interface GroupReadings {
  /** The group's name: the label of its samples. */
  readonly name: string;
  readonly status: GroupStatus;
  readonly state: MetaState;
  readonly watchers: number;
  readonly waitingProposals: number;
  /** Applied and not yet written to the state's database. */
  readonly statePendingBytes: number;
}

export interface MetaReadings {
  readonly groups: readonly GroupReadings[];
  readonly peers: readonly PeerStatistics[];
  readonly logBytesSinceCheckpoint: number;
  /** Pauses of the process that were longer than a tick. */
  readonly stalls: number;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The Prometheus metrics of the metadata service; README.md lists them. */
export class MetaMetrics {
  readonly #proposalSeconds: Histogram;
  readonly #readSeconds: Histogram;
  #proposals = { applied: 0, rejected: 0, failed: 0 };
  #leaderChanges = 0;

  constructor(registry: MetricsRegistry = nullMetrics, read: () => MetaReadings) {
    registerGroups(registry, () => read().groups);
    registerPeers(registry, () => read().peers);
    registry.gauge(
      { name: 'meta_raft_log_bytes', help: 'Bytes of the raft log written since it last gave back space' },
      () => read().logBytesSinceCheckpoint,
    );
    registry.counter(
      { name: 'meta_raft_stalls_total', help: 'Pauses of the process that were longer than a tick' },
      () => read().stalls,
    );
    registry.counter(
      { name: 'meta_raft_leader_changes_total', help: 'How often another node, or none, came to lead' },
      () => this.#leaderChanges,
    );
    registry.counter({ name: 'meta_proposals_total', help: 'Writes by what came of them' }, () =>
      Object.entries(this.#proposals).map(([outcome, value]) => ({ labels: { outcome }, value })),
    );
    const histogram = (name: string, help: string) => registry.histogram({ name, help, buckets: SECONDS });
    this.#proposalSeconds = histogram('meta_proposal_seconds', 'From the call to the applied result of a write');
    this.#readSeconds = histogram('meta_read_barrier_seconds', 'What a linearizable read waited before it was served');
  }

  proposed(outcome: 'applied' | 'rejected' | 'failed', tookMs: number): void {
    this.#proposals[outcome]++;
    this.#proposalSeconds.observe(tookMs / 1000);
  }

  readConfirmed(tookMs: number): void {
    this.#readSeconds.observe(tookMs / 1000);
  }

  leaderChanged(): void {
    this.#leaderChanges++;
  }
}

type GroupGauge = readonly [name: string, help: string, value: (group: GroupReadings) => number];

const GROUP_GAUGES: readonly GroupGauge[] = [
  ['meta_raft_term', 'The term this node is in', ({ status }) => status.term],
  ['meta_raft_leading', '1 while this node leads', ({ status }) => (status.role === 'leader' ? 1 : 0)],
  ['meta_raft_leader_known', '1 while a leader is known', ({ status }) => (status.leader === undefined ? 0 : 1)],
  ['meta_raft_failed', '1 when the group can serve no more', ({ status }) => (status.role === 'failed' ? 1 : 0)],
  ['meta_raft_commit_index', 'The last committed entry', ({ status }) => status.commitIndex],
  ['meta_raft_applied_index', 'The last applied entry', ({ status }) => status.appliedIndex],
  ['meta_raft_last_index', 'The last entry of the log', ({ status }) => status.lastLog.index],
  ['meta_proposals_waiting', 'Writes without an outcome yet', ({ waitingProposals }) => waitingProposals],
  ['meta_state_pending_bytes', 'Applied and not yet in the database', ({ statePendingBytes }) => statePendingBytes],
  ['meta_revision', 'The newest revision', ({ state }) => state.versions.revision],
  ['meta_compacted_revision', 'Where history begins', ({ state }) => state.versions.compactedRevision],
  ['meta_keys', 'Keys that exist', ({ state }) => state.versions.liveKeys],
  ['meta_leases', 'Leases that exist', ({ state }) => state.leases.size],
  ['meta_clients_remembered', 'Clients whose writes can be repeated safely', ({ state }) => state.requests.clients],
  ['meta_watchers', 'Open watches on this node', ({ watchers }) => watchers],
];

function registerGroups(registry: MetricsRegistry, read: () => readonly GroupReadings[]): void {
  for (const [name, help, value] of GROUP_GAUGES) {
    registry.gauge({ name, help }, () =>
      read().map((group): MetricSample => ({ labels: { group: group.name }, value: value(group) })),
    );
  }
}

function registerPeers(registry: MetricsRegistry, read: () => readonly PeerStatistics[]): void {
  const samples = (value: (peer: PeerStatistics) => number) => () =>
    read().map((peer): MetricSample => ({ labels: { peer: String(peer.peer) }, value: value(peer) }));
  registry.gauge(
    { name: 'meta_peer_connected', help: '1 while the stream to the peer stands' },
    samples((peer) => (peer.connected ? 1 : 0)),
  );
  registry.gauge(
    { name: 'meta_peer_queued_bytes', help: 'Bytes the connection to the peer has not taken yet' },
    samples((peer) => peer.queuedBytes),
  );
  registry.counter(
    { name: 'meta_peer_sent_total', help: 'Messages handed to the connection to the peer' },
    samples((peer) => peer.sent),
  );
  registry.counter(
    {
      name: 'meta_peer_dropped_total',
      help: 'Messages to the peer that were dropped: no connection, or its queue was full',
    },
    samples((peer) => peer.dropped),
  );
}
