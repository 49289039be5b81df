// The wires between the nodes of a simulated cluster: a fixed delay, and cuts.

import { assert } from '@robustmq/stdx/assert';
import type { Clock } from '@robustmq/stdx/clock';
import type { NodeId } from '../core/types.js';
import type { PeerReceiver, PeerTransport } from '../driver/peer-transport.js';

export class SimWires {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #receivers = new Map<NodeId, PeerReceiver>();
  readonly #cut = new Set<NodeId>();

  constructor(clock: Clock, delayMs: number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  /** Nothing passes between the node and the others, in either direction. */
  isolate(node: NodeId): void {
    this.#cut.add(node);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** The node is gone: what is on its way to it is lost. */
  detach(node: NodeId): void {
    this.#receivers.delete(node);
  }

  transport(node: NodeId): PeerTransport {
    return {
      start: (receiver) => {
        this.#receivers.set(node, receiver);
      },
      setPeers: () => {},
      send: (to, messages) => {
        if (!this.#reach(node, to)) return;
        this.#clock.setTimer(this.#delayMs, () => this.#reach(node, to)?.receive(messages));
      },
      sendSnapshot: async (group, message, snapshot) => {
        const receiver = this.#reach(node, message.to);
        assert(receiver, 'the peer can be reached');
        await receiver.receiveSnapshot(group, message, snapshot.chunks());
      },
      close: async () => {},
    };
  }

  #reach(from: NodeId, to: NodeId): PeerReceiver | undefined {
    return this.#cut.has(from) || this.#cut.has(to) ? undefined : this.#receivers.get(to);
  }
}
