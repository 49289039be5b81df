// One machine of the simulated cluster, and the real metadata service on it: log store on the real write-ahead log, core,
// driver, state, leases, history and client. Only disk, database, network and clock are simulated.

import { nullLogger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { SimDisk, type SimOperation } from '@robustmq/wal/testing';
import { LocalMetaClient } from '../../client/local-meta-client.js';
import { RequestSequence } from '../../client/request-sequence.js';
import type { RaftConfig } from '../../core/config.js';
import type { Raft } from '../../core/raft.js';
import type { NodeId } from '../../core/types.js';
import { GROUP_IDS } from '../../driver/group-id.js';
import { MultiRaft } from '../../driver/multi-raft.js';
import type { GroupLimits, RaftGroup } from '../../driver/raft-group.js';
import { recoverRaft } from '../../driver/recovery.js';
import { SnapshotSpool } from '../../driver/snapshot-spool.js';
import { DEFAULT_REQUEST_LIMITS } from '../../options.js';
import { HistoryCompactor, type HistoryOptions } from '../../service/history-compactor.js';
import { ReplicatedStateAccess } from '../../service/replicated-state-access.js';
import type { CommandResult } from '../../state/command.js';
import { MetaStateMachine } from '../../storage/meta-state-machine.js';
import { RaftLogStore } from '../../storage/raft-log-store.js';
import { createSimLeaderLink } from './sim-leader-link.js';
import { SimLevel } from './sim-level.js';
import type { SimNetwork } from './sim-network.js';
import type { SimHost, SimWorld } from './sim-world.js';

export interface NodeSettings {
  readonly founders: readonly NodeId[];
  readonly tickMs: number;
  readonly core: RaftConfig;
  readonly group: GroupLimits;
  readonly history: HistoryOptions;
  readonly requestTimeoutMs: number;
  readonly logFileBytes: number;
}

/** What runs in one life of a node. */
export interface NodeLife {
  readonly raft: Raft;
  readonly machine: MetaStateMachine;
  readonly group: RaftGroup<CommandResult>;
  readonly access: ReplicatedStateAccess;
  readonly client: LocalMetaClient;
  /** Resolves when the process dies. */
  readonly died: Promise<void>;
}

export interface SimNodeDeps {
  readonly world: SimWorld;
  readonly network: SimNetwork;
  readonly prng: Prng;
  readonly settings: NodeSettings;
  readonly peer: (node: NodeId) => SimNode | undefined;
  /** Recovery is over; nothing has run yet. */
  readonly booted: (node: SimNode, life: NodeLife) => void;
  readonly applied: (node: SimNode, results: readonly CommandResult[]) => void;
  /** The process cannot go on. */
  readonly failed: (node: SimNode, error: unknown) => void;
}

export class SimNode {
  readonly id: NodeId;
  readonly host: SimHost;
  readonly disk: SimDisk;
  readonly #deps: SimNodeDeps;
  readonly #level: SimLevel;
  readonly #latency: Prng;
  #running: NodeLife | undefined;
  #die: () => void = () => {};
  #stalledUntilMs = 0;
  /** Since when the oldest sync waits that is under way, in simulated milliseconds. */
  #syncingSinceMs: number | undefined;
  slowness = 1;

  constructor(host: SimHost, deps: SimNodeDeps) {
    this.id = host.id;
    this.host = host;
    this.#deps = deps;
    this.disk = new SimDisk(deps.prng.fork('disk'));
    this.disk.before = (operation) => this.#diskAnswers(operation);
    this.#level = new SimLevel(deps.world, host, deps.prng.fork('level'));
    this.#latency = deps.prng.fork('latency');
  }

  /** Undefined while the process is down or recovers. */
  get running(): NodeLife | undefined {
    return this.#running;
  }

  get syncingSinceMs(): number | undefined {
    return this.#syncingSinceMs;
  }

  start(): void {
    const { life } = this.host;
    this.#boot().catch((error: unknown) => {
      if (life === this.host.life) this.#deps.failed(this, error);
    });
  }

  /** `power`: what was not synced may be lost. `process`: the page cache is still there. */
  crash(what: 'power' | 'process'): void {
    this.host.life++;
    this.host.pausedUntilMs = 0;
    this.#syncingSinceMs = undefined;
    this.#stalledUntilMs = 0;
    this.#running = undefined;
    this.#deps.network.detach(this.id);
    if (what === 'power') {
      this.disk.crash();
      this.#level.crash();
    } else {
      this.disk.kill();
    }
    this.#die();
  }

  stallDisk(forMs: number): void {
    this.#stalledUntilMs = this.#deps.world.nowMs + forMs;
  }

  async #boot(): Promise<void> {
    const { world, network, settings, prng } = this.#deps;
    const { id, host, disk } = this;
    const clock = world.clock(host);
    const lifePrng = prng.fork(`life ${host.life}`);
    const options = { directory: '/data/raft-log', fileBytes: settings.logFileBytes };
    const logStore = await RaftLogStore.open(options, { disk, clock });
    const machine = await MetaStateMachine.open(this.#level.open());
    const spool = await SnapshotSpool.open(disk, '/data/incoming');
    const { founders, tickMs, core, group: limits } = settings;
    const recovery = {
      group: GROUP_IDS.metadata,
      node: id,
      founders,
      logStore,
      applied: machine.applied,
      config: core,
    };
    const raft = await recoverRaft({ ...recovery, prng: lifePrng.fork('raft') });
    const multi = new MultiRaft({
      node: id,
      clock,
      logger: nullLogger,
      logStore,
      transport: network.transport(id),
      tickMs,
      diskStallMs: tickMs * core.electionTicks,
      failed: (_group, error) => this.#deps.failed(this, error),
    });
    const group = multi.addGroup<CommandResult>({
      group: GROUP_IDS.metadata,
      raft,
      stateMachine: machine,
      spool,
      logger: nullLogger,
      limits,
    });
    this.#serve({ raft, machine, group }, lifePrng);
    multi.start();
  }

  #serve(parts: Pick<NodeLife, 'raft' | 'machine' | 'group'>, prng: Prng): void {
    const { world, network, settings, peer, booted, applied } = this.#deps;
    const { host } = this;
    const { machine, group } = parts;
    const clock = world.clock(host);
    const { requestTimeoutMs } = settings;
    const accessOf = (node: NodeId) => peer(node)?.running?.access;
    const access = new ReplicatedStateAccess({
      replication: group,
      machine,
      leader: createSimLeaderLink({ world, network, host, timeoutMs: requestTimeoutMs, accessOf }),
      clock,
      prng: prng.fork('access'),
      logger: nullLogger,
      requestTimeoutMs,
    });
    new HistoryCompactor(settings.history, {
      replication: group,
      versions: () => machine.state.versions,
      clock,
      logger: nullLogger,
    });
    const client = new LocalMetaClient({
      access,
      limits: DEFAULT_REQUEST_LIMITS,
      prng: prng.fork('client'),
      requests: new RequestSequence(`node-${host.id}-life-${host.life}`),
    });
    const died = new Promise<void>((resolve) => {
      this.#die = resolve;
    });
    machine.onApplied((results) => applied(this, results));
    const life: NodeLife = { ...parts, access, client, died };
    this.#running = life;
    booted(this, life);
  }

  async #diskAnswers({ kind }: SimOperation): Promise<void> {
    const { world } = this.#deps;
    const { life } = this.host;
    const prng = this.#latency;
    if (kind !== 'write' && kind !== 'datasync') return;
    const drawn = kind === 'datasync' ? -Math.log(1 - prng.next()) * 2 : prng.next() * 0.2;
    if (kind === 'datasync') this.#syncingSinceMs ??= world.nowMs;
    do {
      const stalledMs = Math.max(0, this.#stalledUntilMs - world.nowMs);
      await world.passed(stalledMs + drawn * this.slowness, { host: this.host, source: 'disk' });
    } while (this.#stalledUntilMs > world.nowMs);
    if (kind === 'datasync' && life === this.host.life) this.#syncingSinceMs = undefined;
  }
}
