// The network of a simulated cluster: it loses, repeats, delays and reorders, is cut in one direction or both, and clogs.

import type { Prng } from '@robustmq/stdx/prng';
import type { InstallSnapshot, NodeId } from '../../core/types.js';
import type { GroupId } from '../../driver/group-id.js';
import type { GroupMessage, PeerReceiver, PeerTransport } from '../../driver/peer-transport.js';
import type { StateSnapshot } from '../../driver/state-machine.js';
import { MetaError } from '../../errors.js';
import type { SimHost, SimWorld } from './sim-world.js';

export interface NetworkWeather {
  readonly loss: number;
  readonly repeat: number;
  /** Mean of the delay beyond the least, in milliseconds. */
  readonly delayMs: number;
  /** Later messages may overtake. */
  readonly order: 'kept' | 'lost';
}

export const FAIR_WEATHER: NetworkWeather = { loss: 0, repeat: 0, delayMs: 1, order: 'kept' };

const LEAST_DELAY_MS = 0.2;
const SNAPSHOT_TIMEOUT_MS = 3_000;

export interface SimNetworkDeps {
  readonly world: SimWorld;
  readonly prng: Prng;
  readonly hosts: ReadonlyMap<NodeId, SimHost>;
  /** Sees every message that leaves a node. */
  readonly sent: (from: NodeId, message: GroupMessage) => void;
}

export class SimNetwork {
  readonly #deps: SimNetworkDeps;
  readonly #receivers = new Map<NodeId, PeerReceiver>();
  readonly #lastArrivalMs = new Map<string, number>();
  readonly #cloggedUntilMs = new Map<string, number>();
  #cut: (from: NodeId, to: NodeId) => boolean = () => false;
  weather = FAIR_WEATHER;

  constructor(deps: SimNetworkDeps) {
    this.#deps = deps;
  }

  cut(cut: (from: NodeId, to: NodeId) => boolean): void {
    this.#cut = cut;
  }

  /** Nothing arrives before then, and nothing is lost by it. */
  clog(from: NodeId, to: NodeId, forMs: number): void {
    this.#cloggedUntilMs.set(link(from, to), this.#deps.world.nowMs + forMs);
  }

  heal(): void {
    this.#cut = () => false;
    this.#cloggedUntilMs.clear();
    this.weather = FAIR_WEATHER;
  }

  /** The process is gone: its sockets are. */
  detach(node: NodeId): void {
    this.#receivers.delete(node);
  }

  isUp(node: NodeId): boolean {
    return this.#receivers.has(node);
  }

  /** For the present life of the node. */
  transport(node: NodeId): PeerTransport {
    return {
      start: (receiver) => {
        this.#receivers.set(node, receiver);
      },
      setPeers: () => {},
      send: (to, messages) => this.#send(node, to, messages),
      sendSnapshot: (group, message, snapshot) => this.#sendSnapshot(node, { group, message, snapshot }),
      close: async () => {},
    };
  }

  /** One message of any kind between two hosts. False: it was lost, which nobody is told. */
  deliver(from: NodeId, to: NodeId, arrive: () => void): boolean {
    const { world, prng, hosts } = this.#deps;
    if (this.#cut(from, to) || prng.chance(this.weather.loss)) return false;
    const host = hosts.get(to);
    if (!host) return false;
    const now = world.nowMs;
    const drawn = now + LEAST_DELAY_MS - Math.log(1 - prng.next()) * this.weather.delayMs;
    let at = Math.max(drawn, this.#cloggedUntilMs.get(link(from, to)) ?? 0);
    if (this.weather.order === 'kept') {
      at = Math.max(at, this.#lastArrivalMs.get(link(from, to)) ?? 0);
      this.#lastArrivalMs.set(link(from, to), at);
    }
    world.schedule(at - now, {
      host,
      life: 'any',
      source: 'wire',
      fire: () => {
        if (!this.#cut(from, to)) arrive();
      },
    });
    return true;
  }

  #send(from: NodeId, to: NodeId, messages: readonly GroupMessage[]): void {
    for (const message of messages) this.#deps.sent(from, message);
    const arrive = () => this.#receivers.get(to)?.receive(messages);
    const repeats = this.#deps.prng.chance(this.weather.repeat) ? this.#deps.prng.between(1, 2) : 0;
    for (let i = 0; i <= repeats; i++) {
      if (this.deliver(from, to, arrive) && this.isUp(to)) continue;
      // A broken connection is noticed now and then; a lost frame otherwise goes unnoticed.
      if (this.#deps.prng.chance(0.3)) this.#noticed(from, to);
    }
  }

  #noticed(from: NodeId, to: NodeId): void {
    const host = this.#deps.hosts.get(from);
    if (!host) return;
    this.#deps.world.schedule(1, { host, source: 'wire', fire: () => this.#receivers.get(from)?.unreachable(to) });
  }

  async #sendSnapshot(
    from: NodeId,
    sending: { readonly group: GroupId; readonly message: InstallSnapshot; readonly snapshot: StateSnapshot },
  ): Promise<void> {
    const { group, message, snapshot } = sending;
    this.#deps.sent(from, { group, message });
    await this.#hop(from, message.to);
    const receiver = this.#receivers.get(message.to);
    if (!receiver) throw lost();
    await this.#timed(receiver.receiveSnapshot(group, message, this.#streamed(from, message.to, snapshot)));
    await this.#hop(message.to, from);
  }

  async *#streamed(from: NodeId, to: NodeId, snapshot: StateSnapshot): AsyncGenerator<Buffer> {
    const life = this.#deps.hosts.get(from)?.life;
    for await (const chunk of snapshot.chunks()) {
      await this.#hop(from, to);
      if (this.#deps.hosts.get(from)?.life !== life) throw lost();
      yield Buffer.from(chunk);
    }
  }

  /** Rejects when it does not arrive: a stream that breaks is noticed on both sides. */
  #hop(from: NodeId, to: NodeId): Promise<void> {
    return this.#timed(
      new Promise((resolve, reject) => {
        if (!this.deliver(from, to, resolve)) {
          this.#deps.world.schedule(50, { source: 'wire', fire: () => reject(lost()) });
        }
      }),
    );
  }

  /** P2 of the transport: it gives up when nothing moves. */
  #timed(moving: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const fire = () => reject(lost());
      const timer = this.#deps.world.schedule(SNAPSHOT_TIMEOUT_MS, { source: 'wire', fire });
      moving.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

function lost(): MetaError {
  return new MetaError('UNAVAILABLE', 'The simulated connection broke.');
}

function link(from: NodeId, to: NodeId): string {
  return `${from}>${to}`;
}
