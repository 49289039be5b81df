import { allMembers } from './core/membership.js';
import type { Membership, NodeId } from './core/types.js';

/** Where the nodes are: as the replicated membership says, and for founders who never moved as configured. */
export class AddressBook {
  readonly #configured: ReadonlyMap<NodeId, string>;
  readonly #membership: () => Membership;

  constructor(configured: ReadonlyMap<NodeId, string>, membership: () => Membership) {
    this.#configured = configured;
    this.#membership = membership;
  }

  addressOf(node: NodeId): string | undefined {
    const moved = this.#membership().addresses?.find((member) => member.node === node);
    return moved?.address ?? this.#configured.get(node);
  }

  /** All that this node sends to. Before the first membership is here, everybody configured. */
  peersOf(self: NodeId): Map<NodeId, string> {
    const membership = this.#membership();
    const nodes = membership.voters.length > 0 ? allMembers(membership) : [...this.#configured.keys()];
    const peers = new Map<NodeId, string>();
    for (const node of nodes) {
      const address = this.addressOf(node);
      if (node !== self && address !== undefined) peers.set(node, address);
    }
    return peers;
  }
}
