// The whole metadata service under chaos: several nodes in one thread, and one seed that decides everything.
//
//   chaos    clients work while things go wrong; the oracle looks after every event (cluster-oracle.ts)
//   healing  nothing goes wrong any more: a leader must come, all members must come to the same state, calls must settle
//   verdict  what clients saw is judged: linearizable, nothing lost or doubled, watches without a gap

import { AssertionFailure, assert } from '@robustmq/stdx/assert';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { SimDiskFault } from '@robustmq/wal/testing';
import type { KeyValue } from '../../client/meta-client.js';
import { allMembers, isMember, NO_MEMBERSHIP } from '../../core/membership.js';
import type { NodeId } from '../../core/types.js';
import { MetaError } from '../../errors.js';
import { ClusterOracle } from './cluster-oracle.js';
import { drawSettings } from './draw-settings.js';
import { Nemesis } from './nemesis.js';
import { KEY_PREFIX, SimClients } from './sim-clients.js';
import { SimNetwork } from './sim-network.js';
import { type NodeSettings, SimNode } from './sim-node.js';
import { type SimHost, SimWorld } from './sim-world.js';
import { describe, judge, picture } from './verdict.js';

export interface MetaSimulationOptions {
  readonly seed: number;
  /** Of chaos, simulated. */
  readonly seconds: number;
}

export interface MetaSimulationReport {
  readonly seed: number;
  /** Of everything that happened: the same seed gives the same. */
  readonly trace: number;
  /** Undefined when everything held. */
  readonly violation: string | undefined;
  readonly nodes: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly leaders: number;
  readonly committed: number;
  readonly calls: { readonly returned: number; readonly failed: number; readonly unknown: number };
  readonly snapshots: number;
  readonly restarts: number;
  /** 1 when the search for an order was given up. */
  readonly unjudged: number;
  readonly leasesEnded: number;
  readonly watched: number;
  readonly faults: Readonly<Record<string, number>>;
}

const STEP_MS = 250;
const STEPS_BETWEEN_COMPARISONS = 8;
const HEALING_MS = 40_000;
/** A call with all its attempts, and the time until somebody looks. */
const CALL_SETTLES_MS = 20_000;
/** A read at the end, when nothing is wrong any more. */
const READ_MS = 3_000;

/** Resolves with the report whatever happened. Never run two at once in a process. */
export function simulateMeta(options: MetaSimulationOptions): Promise<MetaSimulationReport> {
  return new MetaSimulation(options).run();
}

class MetaSimulation {
  readonly #options: MetaSimulationOptions;
  readonly #prng: Prng;
  readonly #world = new SimWorld();
  readonly #hosts = new Map<NodeId, SimHost>();
  readonly #nodes: SimNode[] = [];
  readonly #network: SimNetwork;
  readonly #oracle: ClusterOracle;
  readonly #nemesis: Nemesis;
  readonly #clients: SimClients;
  #phase: 'chaos' | 'healing' = 'chaos';
  #violation: { readonly error: unknown; readonly phase: string; readonly atMs: number } | undefined;
  #unjudged = 0;
  #steps = 0;
  #snapshots = 0;
  #restarts = 0;

  constructor(options: MetaSimulationOptions) {
    this.#options = options;
    this.#prng = createPrng(options.seed);
    const setup = this.#prng.fork('setup');
    const skew = setup.chance(0.5) ? 0.05 : 0;
    const ids = Array.from({ length: setup.pick([3, 3, 4, 5, 5]) }, (_, i) => i + 1);
    const settings = drawSettings(setup, ids);
    for (const id of ids) {
      const rate = 1 + (setup.next() * 2 - 1) * skew;
      this.#hosts.set(id, { id, rate, wallOffsetMs: 0, life: 0, pausedUntilMs: 0 });
    }
    const electionMs = settings.tickMs * settings.core.electionTicks;
    this.#oracle = new ClusterOracle(2 * electionMs + 500);
    const world = this.#world;
    this.#network = new SimNetwork({
      world,
      prng: this.#prng.fork('network'),
      hosts: this.#hosts,
      sent: (from, { message }) => this.#sent(from, message),
    });
    for (const host of this.#hosts.values()) this.#nodes.push(this.#node(host, settings));
    const common = { world, nodes: this.#nodes };
    const meanMs = setup.pick([700, 2000, 5000]);
    this.#nemesis = new Nemesis({ ...common, prng: this.#prng.fork('nemesis'), network: this.#network, meanMs });
    this.#clients = new SimClients({
      ...common,
      prng: this.#prng.fork('clients'),
      clients: setup.between(2, 6),
      keys: setup.between(2, 10),
      pauseMs: setup.pick([50, 200, 400]),
      fastestRate: 1 + skew,
      isMember: ({ id }) => isMember(this.#leader()?.running?.raft.status.membership ?? NO_MEMBERSHIP, id),
      violated: (error) => this.#violate(error),
    });
  }

  async run(): Promise<MetaSimulationReport> {
    for (const node of this.#nodes) this.#world.schedule(0, { source: 'script', fire: () => node.start() });
    this.#nemesis.start();
    this.#clients.start();
    await this.#pass(this.#options.seconds * 1000);
    this.#heal();
    await this.#converge();
    const atTheEnd = await this.#readEverything();
    if (atTheEnd && this.#violation === undefined) this.#guard(() => this.#judge(atTheEnd));
    return this.#report();
  }

  #node(host: SimHost, settings: NodeSettings): SimNode {
    const { id } = host;
    return new SimNode(host, {
      world: this.#world,
      network: this.#network,
      prng: this.#prng.fork(`node ${id}`),
      settings,
      peer: (node) => this.#nodes[node - 1],
      booted: (_node, { raft }) => this.#guard(() => this.#oracle.observeBoot(id, raft)),
      applied: (_node, results) => this.#clients.applied(results),
      failed: (node, error) => this.#failed(node, error),
    });
  }

  #sent(from: NodeId, message: Parameters<ClusterOracle['observeSent']>[1]): void {
    this.#world.note(from, message.to, message.term, message.type.length);
    if (message.type === 'install-snapshot') this.#snapshots++;
    // A process that was paused learns of its disk when it goes on.
    const node = this.#nodes[from - 1];
    const since = Math.max(node?.syncingSinceMs ?? this.#world.nowMs, node?.host.pausedUntilMs ?? 0);
    this.#guard(() => {
      assert(from === message.from && from !== message.to, 'a message is from who sends it, to somebody else');
      this.#oracle.observeSent(from, message, this.#world.nowMs - since);
    });
    // What it sends follows from what it has become.
    this.#check(from);
  }

  /** A disk that fails ends the process, which somebody starts again; anything else is a fault of the service. */
  #failed(node: SimNode, error: unknown): void {
    if (!isDiskFault(error)) {
      this.#violate(error);
      return;
    }
    this.#restarts++;
    node.crash('process');
    const { life } = node.host;
    this.#world.schedule(500, {
      source: 'script',
      fire: () => {
        if (node.host.life === life) node.start();
      },
    });
  }

  async #pass(forMs: number): Promise<void> {
    const untilMs = this.#world.nowMs + forMs;
    while (this.#world.nowMs < untilMs && this.#violation === undefined) {
      await this.#world.runUntil(Math.min(untilMs, this.#world.nowMs + STEP_MS));
      for (const { id } of this.#nodes) this.#check(id);
      if (++this.#steps % STEPS_BETWEEN_COMPARISONS === 0) this.#guard(() => this.#oracle.checkLogs(this.#nodes));
      const stranded = this.#clients.stranded(CALL_SETTLES_MS);
      if (stranded) this.#violate(new AssertionFailure(`a call on node ${stranded.node.id} never settles`));
    }
  }

  #heal(): void {
    this.#phase = 'healing';
    this.#nemesis.heal();
    for (const node of this.#nodes) {
      // Down for longer than it would have been, or in the middle of coming back: as good as a new start.
      if (node.running) continue;
      node.crash('process');
      node.start();
    }
  }

  async #converge(): Promise<void> {
    await this.#pass(5_000);
    this.#clients.stop();
    const untilMs = this.#world.nowMs + HEALING_MS;
    while (this.#world.nowMs < untilMs && this.#violation === undefined) {
      await this.#pass(1000);
      this.#leaveJoint();
      if (this.#agrees()) {
        // Enough for every call to settle and every lease to end.
        if (this.#world.nowMs >= untilMs - HEALING_MS + CALL_SETTLES_MS + 1000) return;
      }
    }
    if (this.#violation === undefined)
      this.#violate(new AssertionFailure(`all heals and nothing works again: ${picture(this.#nodes)}`));
  }

  #leaveJoint(): void {
    const group = this.#leader()?.running?.group;
    const membership = group?.status().membership;
    if (!membership || membership.votersOutgoing.length === 0) return;
    group?.changeMembership({ kind: 'leave' }, { timeoutMs: 3_000 }).catch(() => {});
  }

  /** All members lead or follow one leader, and have the same state. */
  #agrees(): boolean {
    const leader = this.#leader()?.running;
    if (!leader) return false;
    const { membership, commitIndex } = leader.raft.status;
    const { sum, records } = leader.machine.state.digest;
    return allMembers(membership).every((id) => {
      const { machine, raft } = this.#nodes[id - 1]?.running ?? {};
      if (!machine || !raft || machine.applied.index !== commitIndex || raft.leader !== leader.raft.status.id)
        return false;
      const { digest } = machine.state;
      return digest.sum === sum && digest.records === records;
    });
  }

  #leader(): SimNode | undefined {
    const leaders = this.#nodes.filter(({ running }) => running?.raft.role.kind === 'leader');
    return leaders.sort((a, b) => (b.running?.raft.term ?? 0) - (a.running?.raft.term ?? 0))[0];
  }

  async #readEverything(): Promise<readonly KeyValue[] | undefined> {
    if (this.#violation !== undefined) return undefined;
    let kvs: readonly KeyValue[] | undefined;
    const read = this.#leader()?.running?.client.range({ prefix: KEY_PREFIX });
    read?.then(
      (result) => {
        kvs = result.kvs;
      },
      (error: unknown) => this.#violate(error),
    );
    await this.#pass(READ_MS);
    if (!kvs) this.#violate(new AssertionFailure('a read does not settle although nothing is wrong any more'));
    return kvs;
  }

  #judge(atTheEnd: readonly KeyValue[]): void {
    const machine = this.#leader()?.running?.machine;
    assert(machine, 'a cluster that works has a leader');
    const leasesEndByMs = this.#world.nowMs - CALL_SETTLES_MS;
    const { faults, linearizability } = judge({ clients: this.#clients, machine, atTheEnd, leasesEndByMs });
    if (linearizability === 'given up') this.#unjudged++;
    assert(faults.length === 0, faults.slice(0, 3).join('; '));
  }

  #check(id: NodeId): void {
    const node = this.#nodes[id - 1];
    if (node) this.#guard(() => this.#oracle.check(node));
  }

  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#violate(error);
    }
  }

  #violate(error: unknown): void {
    this.#violation ??= { error, phase: this.#phase, atMs: Math.round(this.#world.nowMs) };
  }

  #report(): MetaSimulationReport {
    const { history, leasesEnded, watches } = this.#clients;
    const violation = this.#violation;
    return {
      seed: this.#options.seed,
      trace: this.#world.trace,
      violation: violation && `${describe(violation.error)} (${violation.phase}, ${violation.atMs} ms)`,
      nodes: this.#nodes.length,
      simulatedMs: this.#world.nowMs,
      events: this.#world.events,
      leaders: this.#oracle.leaders,
      committed: this.#oracle.committed,
      calls: {
        returned: history.count('returned'),
        failed: history.count('failed'),
        unknown: history.count('unknown') + history.count('open'),
      },
      snapshots: this.#snapshots,
      restarts: this.#restarts,
      unjudged: this.#unjudged,
      leasesEnded,
      watched: watches.reduce((sum, { batches }) => sum + batches.length, 0),
      faults: Object.fromEntries(this.#nemesis.counts),
    };
  }
}

function isDiskFault(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof AssertionFailure || (cause instanceof MetaError && cause.code === 'DAMAGED')) return false;
    if (cause instanceof SimDiskFault) return true;
  }
  return false;
}
