// A group of simulated nodes and the wires between them, for tests that read as conversations: tell some nodes what
// happens to them, settle, and look at what was said.

import { AssertionFailure, assert } from '@robustmq/stdx/assert';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import type { RaftConfig } from '../core/config.js';
import type { Entry, Message, NodeId } from '../core/types.js';
import { type Parcel, RaftPeer, TEST_CONFIG } from './raft-peer.js';

export interface RaftNetworkOptions {
  readonly voters: readonly NodeId[];
  readonly seed?: number;
  readonly config?: Partial<RaftConfig>;
}

/** More rounds than any finite conversation of a test needs. */
const ROUNDS_MAX = 1000;

export class RaftNetwork {
  readonly #prng: Prng;
  readonly #config: RaftConfig;
  readonly #peers = new Map<NodeId, RaftPeer>();
  readonly #cut = new Set<string>();
  #lost: (message: Message) => boolean = () => false;
  #said: string[] = [];

  constructor(options: RaftNetworkOptions) {
    this.#prng = createPrng(options.seed ?? 1);
    this.#config = { ...TEST_CONFIG, ...options.config };
    for (const id of options.voters) this.#add(id, options.voters);
    // The founding entry is committed from the start; applying it makes the membership known.
    this.settle();
    this.#said = [];
  }

  peer(id: NodeId): RaftPeer {
    const peer = this.#peers.get(id);
    assert(peer, `node ${id} is part of the network`);
    return peer;
  }

  get peers(): readonly RaftPeer[] {
    return [...this.#peers.values()];
  }

  /** A node with an empty disk that is not a founder. */
  join(id: NodeId): void {
    this.#add(id, undefined);
  }

  campaign(id: NodeId): this {
    this.peer(id).raft.campaign();
    return this;
  }

  propose(id: NodeId, ...commands: string[]): this {
    const outcome = this.peer(id).raft.propose(commands.map((command) => Buffer.from(command)));
    assert(outcome.outcome === 'appended', `node ${id} took the proposal, not: ${outcome.outcome}`);
    return this;
  }

  tick(ticks: number, ...ids: NodeId[]): this {
    const chosen = ids.length > 0 ? ids.map((id) => this.peer(id)) : this.peers;
    for (let i = 0; i < ticks; i++) for (const peer of chosen) peer.raft.tick();
    return this;
  }

  /** Ticks one after the other, with everything said in between. */
  pass(ticks: number, ...ids: NodeId[]): this {
    for (let i = 0; i < ticks; i++) this.tick(1, ...ids).settle();
    return this;
  }

  isolate(id: NodeId): this {
    for (const other of this.#peers.keys()) this.cut(id, other);
    return this;
  }

  cut(a: NodeId, b: NodeId): this {
    this.#cut.add(`${a}-${b}`).add(`${b}-${a}`);
    return this;
  }

  /** Loses every message it is true for, until the next call or heal(). */
  lose(lost: (message: Message) => boolean): this {
    this.#lost = lost;
    return this;
  }

  heal(): this {
    this.#cut.clear();
    this.#lost = () => false;
    return this;
  }

  restart(id: NodeId): this {
    this.peer(id).crash(0, 'flushed');
    return this;
  }

  /** Disks, states and wires work until nobody has anything left to do or to say. */
  settle(): this {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let worked = false;
      for (const peer of this.#peers.values()) worked = this.#work(peer) || worked;
      if (!worked) return this;
    }
    throw new AssertionFailure('the conversation does not end');
  }

  /** One round: what is said now, without answers. */
  round(): this {
    for (const peer of this.#peers.values()) this.#work(peer);
    return this;
  }

  /** What was said since the last call, one line per message. */
  said(): string[] {
    const said = this.#said;
    this.#said = [];
    return said;
  }

  get leaders(): NodeId[] {
    return this.peers.filter((peer) => peer.raft.role.kind === 'leader').map((peer) => peer.id);
  }

  #add(id: NodeId, founders: readonly NodeId[] | undefined): void {
    const prng = this.#prng.fork(`node ${id}`);
    this.#peers.set(id, new RaftPeer({ id, prng, config: this.#config, founders }));
  }

  #work(peer: RaftPeer): boolean {
    let worked = peer.takeReady();
    while (peer.completeWrite()) worked = true;
    if (peer.applyNext()) worked = true;
    for (const parcel of peer.outbox.splice(0)) {
      this.#said.push(describe(parcel.message));
      this.#deliver(parcel);
      worked = true;
    }
    return worked;
  }

  #deliver(parcel: Parcel): void {
    const { from, to } = parcel.message;
    if (this.#cut.has(`${from}-${to}`) || this.#lost(parcel.message)) return;
    this.#peers.get(to)?.receive(parcel);
  }
}

/** `1>2 append-request t2 after 3/1: 4/2 x commit 3` */
export function describe(message: Message): string {
  return `${message.from}>${message.to} ${message.type} t${message.term}${details(message)}`;
}

function details(message: Message): string {
  switch (message.type) {
    case 'vote-request':
    case 'pre-vote-request':
      return ` log ${message.lastLog.index}/${message.lastLog.term}${message.reason === 'transfer' ? ' for transfer' : ''}`;
    case 'vote-response':
    case 'pre-vote-response':
      return ` ${message.verdict}`;
    case 'append-request': {
      const { previous, entries, commitIndex } = message;
      return ` after ${previous.index}/${previous.term} [${entries.map(describeEntry).join(', ')}] commit ${commitIndex}`;
    }
    case 'append-response': {
      const { outcome } = message;
      if (outcome.result === 'accepted') return ` accepted ${outcome.matchIndex}`;
      return ` rejected ${outcome.rejectedIndex} hint ${outcome.hint.index}/${outcome.hint.term}`;
    }
    case 'heartbeat':
      return ` commit ${message.commitIndex}${message.readToken > 0 ? ` read ${message.readToken}` : ''}`;
    case 'heartbeat-response':
      return message.readToken > 0 ? ` read ${message.readToken}` : '';
    case 'install-snapshot':
      return ` ${message.snapshot.index}/${message.snapshot.term}`;
    case 'read-index-request':
      return ` #${message.requestId}`;
    case 'read-index-response':
      return ` #${message.requestId} at ${message.readIndex ?? 'none'}`;
    case 'timeout-now':
      return '';
  }
}

function describeEntry(entry: Entry): string {
  const text = entry.kind === 'command' ? entry.payload.toString() : entry.kind;
  return `${entry.index}/${entry.term} ${text}`;
}
