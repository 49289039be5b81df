// A group under chaos: one seed decides the order of everything that can happen, and what goes wrong.
//
// After every step the oracle compares what the nodes say with what may be true (raft-oracle.ts). At the end everything
// heals, and the group must come to agree and to work again.

import { assert } from '@robustmq/stdx/assert';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { isVoter } from '../core/membership.js';
import type { MembershipChange, NodeId } from '../core/types.js';
import { RaftOracle } from './raft-oracle.js';
import { type Parcel, RaftPeer, TEST_CONFIG } from './raft-peer.js';

export interface SimulationOptions {
  readonly seed: number;
  readonly steps: number;
}

export interface SimulationReport {
  readonly committed: number;
  readonly leaders: number;
  readonly crashes: number;
  readonly snapshots: number;
  readonly membershipChanges: number;
  readonly reads: number;
  /** Of everything observable: the same seed gives the same number. */
  readonly trace: number;
}

interface Weather {
  readonly loss: number;
  readonly repeat: number;
  readonly reorder: number;
  readonly crash: number;
  readonly partition: number;
  readonly membership: number;
  readonly transfer: number;
  readonly compaction: number;
  readonly slowDisk: number;
  readonly stall: number;
  readonly ambition: number;
}

const WIRE_PARCELS_MAX = 500;

const ALL_NODES: readonly NodeId[] = [1, 2, 3, 4, 5];

export function simulate(options: SimulationOptions): SimulationReport {
  return new RaftSimulation(options).run();
}

class RaftSimulation {
  readonly #prng: Prng;
  readonly #steps: number;
  readonly #weather: Weather;
  readonly #peers = new Map<NodeId, RaftPeer>();
  readonly #oracle = new RaftOracle();
  readonly #wires: Parcel[] = [];
  #cut: (from: NodeId, to: NodeId) => boolean = () => false;
  #commands = 0;
  #requests = 0;
  #crashes = 0;
  #snapshots = 0;
  #changes = 0;
  #trace = 0;

  constructor(options: SimulationOptions) {
    this.#prng = createPrng(options.seed);
    this.#steps = options.steps;
    this.#weather = drawWeather(this.#prng.fork('weather'));
    const setup = this.#prng.fork('setup');
    const founders = ALL_NODES.slice(0, setup.pick([1, 3, 3, 3, 5]));
    const config = {
      ...TEST_CONFIG,
      electionTicks: setup.pick([3, 5, 10]),
      appendBytesMax: setup.pick([1, 100, 1024]),
      applyBytesMax: setup.pick([1, 200, 4096]),
      inflight: { messagesMax: setup.pick([1, 2, 8]), bytesMax: setup.pick([64, 512, 8192]) },
    };
    for (const id of ALL_NODES) {
      const founding = founders.includes(id) ? founders : undefined;
      this.#peers.set(id, new RaftPeer({ id, prng: this.#prng.fork(`node ${id}`), config, founders: founding }));
    }
  }

  run(): SimulationReport {
    for (let step = 0; step < this.#steps; step++) {
      this.#step();
      this.#oracle.check(this.#peers);
    }
    this.#heal();
    const { committed, leaders, reads } = this.#oracle;
    return {
      committed,
      leaders,
      reads,
      crashes: this.#crashes,
      snapshots: this.#snapshots,
      membershipChanges: this.#changes,
      trace: this.#trace,
    };
  }

  #step(): void {
    const prng = this.#prng;
    const weather = this.#weather;
    const peer = this.#peer(prng.pick(ALL_NODES));
    if (prng.chance(weather.crash)) this.#crash(peer);
    if (prng.chance(weather.partition)) this.#partition();
    if (prng.chance(weather.compaction)) peer.compact(peer.state.index - prng.between(0, 5));
    if (prng.chance(weather.transfer)) peer.raft.transferLeadership(prng.pick(ALL_NODES));
    if (prng.chance(weather.membership)) this.#changeMembership(peer);
    if (prng.chance(weather.ambition)) this.#challenge(peer);
    if (prng.chance(0.2)) {
      // A node that was away from its processor finds many ticks passed, and may well campaign.
      for (let i = prng.chance(weather.stall) ? 20 : 1; i > 0; i--) peer.raft.tick();
    }
    if (prng.chance(0.1)) this.#propose(prng.chance(0.5) ? (this.#leader() ?? peer) : peer);
    if (prng.chance(0.1)) this.#read(peer);
    if (prng.chance(0.8)) this.#collect(peer);
    if (prng.chance(0.8) && !prng.chance(weather.slowDisk)) peer.completeWrite();
    if (prng.chance(0.5)) peer.applyNext();
    for (let i = prng.between(0, 4); i > 0; i--) this.#deliver();
  }

  #collect(peer: RaftPeer): void {
    peer.takeReady();
    this.#oracle.observeReads(peer);
    for (const parcel of peer.outbox.splice(0)) {
      this.#oracle.observeSent(peer, parcel.message);
      this.#mix(parcel.message.term * 31 + parcel.message.from * 7 + parcel.message.to);
      if (parcel.message.type === 'install-snapshot') this.#snapshots++;
      if (this.#prng.chance(this.#weather.loss)) {
        this.#drop(parcel);
        continue;
      }
      this.#wires.push(parcel);
      if (this.#prng.chance(this.#weather.repeat)) this.#wires.push(parcel);
    }
    // A wire holds only so much; the oldest is lost first.
    for (const parcel of this.#wires.splice(0, Math.max(0, this.#wires.length - WIRE_PARCELS_MAX))) this.#drop(parcel);
  }

  #deliver(): void {
    const { length } = this.#wires;
    if (length === 0) return;
    const at = this.#prng.chance(this.#weather.reorder) ? this.#prng.between(0, length - 1) : 0;
    const [parcel] = this.#wires.splice(at, 1);
    assert(parcel, 'the wire is not empty');
    const { from, to, type } = parcel.message;
    if (this.#cut(from, to)) {
      if (type === 'append-request') this.#peer(from).raft.peerUnreachable(to);
      this.#drop(parcel);
      return;
    }
    this.#peer(to).receive(parcel);
    if (type === 'install-snapshot') this.#peer(from).raft.snapshotEnded(to, 'installed');
  }

  /** A transport may lose silently, but what became of a snapshot it always knows. */
  #drop(parcel: Parcel): void {
    const { from, to, type } = parcel.message;
    if (type === 'install-snapshot') this.#peer(from).raft.snapshotEnded(to, 'failed');
  }

  #propose(peer: RaftPeer): void {
    const count = this.#prng.between(1, 3);
    const payloads = Array.from({ length: count }, () => Buffer.from(`c${this.#commands++}`));
    peer.raft.propose(payloads);
  }

  #read(peer: RaftPeer): void {
    const requestId = ++this.#requests;
    this.#oracle.expectRead(requestId);
    peer.raft.readIndex(requestId);
  }

  #crash(peer: RaftPeer): void {
    this.#crashes++;
    this.#mix(peer.id);
    peer.crash(this.#prng.between(0, peer.pendingWrites), this.#prng.pick(['flushed', 'applied']));
  }

  #partition(): void {
    const kind = this.#prng.pick(['none', 'one', 'split', 'one-way']);
    const lonely = this.#prng.pick(ALL_NODES);
    const side = new Set(ALL_NODES.filter(() => this.#prng.chance(0.5)));
    if (kind === 'none') this.#cut = () => false;
    else if (kind === 'one') this.#cut = (from, to) => from === lonely || to === lonely;
    else if (kind === 'one-way') this.#cut = (from) => from === lonely;
    else this.#cut = (from, to) => side.has(from) !== side.has(to);
  }

  /** An election against a leader that lives: some believe it gone. */
  #challenge(challenger: RaftPeer): void {
    for (const peer of this.#peers.values()) if (this.#prng.chance(0.7)) peer.raft.forgetLeader();
    challenger.raft.forgetLeader();
    challenger.raft.campaign();
  }

  #changeMembership(peer: RaftPeer): void {
    const prng = this.#prng;
    const step = () => ({
      change: prng.pick(['add-voter', 'add-learner', 'remove'] as const),
      node: prng.pick(ALL_NODES),
    });
    const change = prng.pick<() => MembershipChange>([
      () => ({ kind: 'simple', steps: [step()] }),
      () => ({ kind: 'joint', steps: [step(), step()], leave: prng.pick(['auto', 'explicit']) }),
      () => ({ kind: 'leave' }),
    ])();
    if (peer.raft.proposeMembership(change).outcome === 'appended') this.#changes++;
  }

  /** Liveness: without faults the group elects, commits what is new, and every member comes to the same state. */
  #heal(): void {
    this.#cut = () => false;
    const marker = 'after the storm';
    for (let round = 0; round < 400; round++) {
      for (const peer of this.#peers.values()) {
        peer.raft.tick();
        this.#work(peer);
        if (peer.raft.status.membership.votersOutgoing.length > 0) peer.raft.proposeMembership({ kind: 'leave' });
      }
      this.#oracle.check(this.#peers);
      if (round % 50 === 25) this.#leader()?.raft.propose([Buffer.from(marker)]);
      if (round % 50 === 49 && this.#agrees(marker)) return;
    }
    const nodes = [...this.#peers.values()].map((peer) =>
      JSON.stringify({ ...peer.raft.status, state: peer.state.index }),
    );
    assert(false, `the group works again when everything heals:\n${nodes.join('\n')}`);
  }

  #work(peer: RaftPeer): void {
    for (let i = 0; i < 20; i++) {
      peer.takeReady();
      while (peer.completeWrite());
      peer.applyNext();
      for (const parcel of peer.outbox.splice(0)) {
        this.#oracle.observeSent(peer, parcel.message);
        this.#wires.push(parcel);
      }
    }
    for (const parcel of this.#wires.splice(0)) {
      this.#peer(parcel.message.to).receive(parcel);
      if (parcel.message.type === 'install-snapshot') {
        this.#peer(parcel.message.from).raft.snapshotEnded(parcel.message.to, 'installed');
      }
    }
  }

  #agrees(marker: string): boolean {
    const leader = this.#leader();
    if (!leader) return false;
    const { membership } = leader.raft.status;
    const members = [...this.#peers.values()].filter((peer) => isVoter(membership, peer.id));
    const state = leader.state.commands.join('\n');
    this.#mix(state.length);
    return state.includes(marker) && members.every((peer) => peer.state.commands.join('\n') === state);
  }

  #leader(): RaftPeer | undefined {
    return [...this.#peers.values()]
      .filter((peer) => peer.raft.role.kind === 'leader')
      .sort((a, b) => b.raft.term - a.raft.term)[0];
  }

  #peer(id: NodeId): RaftPeer {
    const peer = this.#peers.get(id);
    assert(peer, 'every node is simulated');
    return peer;
  }

  #mix(value: number): void {
    this.#trace = (Math.imul(this.#trace, 0x01000193) ^ value) >>> 0;
  }
}

/** Every seed has its own weather: most faults are absent in most seeds, so that rare combinations are not drowned. */
function drawWeather(prng: Prng): Weather {
  const sometimes = (probability: number, most: number) => (prng.chance(probability) ? prng.next() * most : 0);
  return {
    loss: sometimes(0.5, 0.3),
    repeat: sometimes(0.5, 0.5),
    reorder: sometimes(0.7, 0.8),
    crash: sometimes(0.5, 0.02),
    partition: sometimes(0.5, 0.01),
    membership: sometimes(0.4, 0.2),
    transfer: sometimes(0.4, 0.03),
    compaction: sometimes(0.5, 0.2),
    slowDisk: sometimes(0.3, 0.9),
    stall: sometimes(0.5, 0.1),
    ambition: sometimes(0.6, 0.03),
  };
}
