// What goes wrong in a simulated cluster, and how often. Each seed draws its own weather: most faults are absent in most
// seeds, so that rare combinations are not drowned (swarm testing).

import type { Prng } from '@robustmq/stdx/prng';
import type { MembershipChange, NodeId } from '../../core/types.js';
import type { NetworkWeather, SimNetwork } from './sim-network.js';
import type { SimNode } from './sim-node.js';
import type { SimWorld } from './sim-world.js';

export const FAULTS = [
  'power loss',
  'process kill',
  'power loss of all',
  'pause',
  'isolation',
  'split',
  'one-way cut',
  'bridge',
  'clog',
  'disk stall',
  'disk error',
  'slow disk',
  'leadership transfer',
  'contested election',
  'membership change',
  'wall clock jump',
] as const;

export type Fault = (typeof FAULTS)[number];

export interface NemesisDeps {
  readonly world: SimWorld;
  readonly prng: Prng;
  readonly nodes: readonly SimNode[];
  readonly network: SimNetwork;
  /** Mean of the time between two faults, in milliseconds. */
  readonly meanMs: number;
}

export class Nemesis {
  readonly #deps: NemesisDeps;
  readonly #chosen: readonly Fault[];
  readonly counts = new Map<Fault, number>();
  #state: 'working' | 'stopped' = 'working';

  constructor(deps: NemesisDeps) {
    this.#deps = deps;
    const { prng, network } = deps;
    this.#chosen = FAULTS.filter(() => prng.chance(0.35));
    network.weather = drawWeather(prng.fork('network'));
  }

  start(): void {
    const { world, prng, meanMs } = this.#deps;
    if (this.#chosen.length === 0) return;
    const next = () => {
      if (this.#state === 'stopped') return;
      this.#strike(prng.pick(this.#chosen));
      world.schedule(-Math.log(1 - prng.next()) * meanMs, { source: 'script', fire: next });
    };
    world.schedule(prng.next() * meanMs, { source: 'script', fire: next });
  }

  /** Everything works again; who is down comes back. */
  heal(): void {
    this.#state = 'stopped';
    this.#deps.network.heal();
    for (const node of this.#deps.nodes) {
      node.host.pausedUntilMs = 0;
      node.slowness = 1;
      node.stallDisk(0);
    }
  }

  #strike(fault: Fault): void {
    const { prng, nodes, world } = this.#deps;
    const node = this.#victim();
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    world.note(node.id, fault.length);
    const forMs = -Math.log(1 - prng.next()) * 2500;
    switch (fault) {
      case 'power loss':
        this.#crash(node, 'power', forMs);
        return;
      case 'process kill':
        this.#crash(node, 'process', forMs);
        return;
      case 'power loss of all':
        for (const each of nodes) this.#crash(each, 'power', prng.next() * 500);
        return;
      case 'pause':
        node.host.pausedUntilMs = world.nowMs + Math.min(10_000, 100 + forMs);
        return;
      case 'disk stall':
        node.stallDisk(300 + forMs);
        return;
      case 'disk error':
        node.disk.failNext(prng.pick(['datasync', 'write']), { code: prng.pick(['EIO', 'ENOSPC']) });
        return;
      case 'slow disk':
        node.slowness = prng.pick([1, 10, 50]);
        return;
      case 'leadership transfer':
        this.#transfer(prng.pick(nodes).id);
        return;
      case 'contested election':
        this.#contest(node);
        return;
      case 'membership change':
        this.#changeMembership();
        return;
      case 'wall clock jump':
        node.host.wallOffsetMs += prng.between(-3_600_000, 3_600_000);
        return;
      default:
        this.#disturbNetwork(fault, node.id, forMs);
    }
  }

  /** The leader every other time: there is most to break. */
  #victim(): SimNode {
    const { prng, nodes } = this.#deps;
    return (prng.chance(0.5) ? this.#leader() : undefined) ?? prng.pick(nodes);
  }

  #leader(): SimNode | undefined {
    return this.#deps.nodes.find((node) => node.running?.raft.role.kind === 'leader');
  }

  #crash(node: SimNode, what: 'power' | 'process', downMs: number): void {
    node.crash(what);
    const { life } = node.host;
    this.#deps.world.schedule(100 + downMs, {
      source: 'script',
      fire: () => {
        if (node.host.life === life) node.start();
      },
    });
  }

  #disturbNetwork(fault: Fault, lonely: NodeId, forMs: number): void {
    const { prng, network, world, nodes } = this.#deps;
    const side = new Set(nodes.filter(() => prng.chance(0.5)).map(({ id }) => id));
    const bridge = prng.pick(nodes).id;
    const cuts: Partial<Record<Fault, (from: NodeId, to: NodeId) => boolean>> = {
      isolation: (from, to) => from === lonely || to === lonely,
      split: (from, to) => side.has(from) !== side.has(to),
      'one-way cut': prng.chance(0.5) ? (from) => from === lonely : (_from, to) => to === lonely,
      bridge: (from, to) => from !== bridge && to !== bridge && side.has(from) !== side.has(to),
    };
    const cut = cuts[fault];
    if (!cut) {
      network.clog(prng.pick(nodes).id, prng.pick(nodes).id, Math.min(5_000, forMs));
      return;
    }
    network.cut(cut);
    world.schedule(500 + forMs, {
      source: 'script',
      fire: () => {
        if (this.#state === 'working') network.cut(() => false);
      },
    });
  }

  #transfer(to: NodeId): void {
    const group = this.#leader()?.running?.group;
    // Who is told to take over may refuse or be too late: the outcome is seen in what follows.
    group?.transferLeadership(to, { timeoutMs: 2_000 }).catch(() => {});
  }

  /** Against a leader that lives: some believe it gone. */
  #contest(challenger: SimNode): void {
    const { nodes, prng } = this.#deps;
    for (const { running } of nodes) if (prng.chance(0.7)) running?.raft.forgetLeader();
    challenger.running?.raft.forgetLeader();
    challenger.running?.raft.campaign();
  }

  #changeMembership(): void {
    const { prng, nodes } = this.#deps;
    const group = this.#leader()?.running?.group;
    if (!group) return;
    const step = () => ({
      change: prng.pick(['add-voter', 'add-voter', 'add-learner', 'remove'] as const),
      node: prng.pick(nodes).id,
    });
    const joint = group.status().membership.votersOutgoing.length > 0;
    const change = prng.pick<() => MembershipChange>([
      () => ({ kind: 'simple', steps: [step()] }),
      () => ({ kind: 'joint', steps: [step(), step()], leave: prng.pick(['auto', 'explicit']) }),
    ])();
    group.changeMembership(joint ? { kind: 'leave' } : change, { timeoutMs: 3_000 }).catch(() => {});
  }
}

function drawWeather(prng: Prng): NetworkWeather {
  return {
    loss: prng.chance(0.4) ? prng.next() * 0.3 : 0,
    repeat: prng.chance(0.3) ? prng.next() * 0.5 : 0,
    delayMs: prng.pick([0.5, 2, 5, 20, 60]),
    order: prng.chance(0.5) ? 'kept' : 'lost',
  };
}
