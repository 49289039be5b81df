// The seam to the other nodes.
//
// What an implementation promises:
//   P1. It may lose, delay, repeat and reorder, but never alters a message or invents one: what arrives was sent
//       by the node it names, of the same cluster and with the shared secret or certificate.
//   P2. It never blocks and never retries a message. What does not fit its bounded queue is dropped and reported.
//   P3. A received payload does not share memory with a buffer that will be used again.

import type { InstallSnapshot, Message, NodeId } from '../core/types.js';
import type { GroupId } from './group-id.js';
import type { StateSnapshot } from './state-machine.js';

export interface GroupMessage {
  readonly group: GroupId;
  readonly message: Message;
}

/** What the transport tells the driver. Calls only enqueue; they return at once and never throw. */
export interface PeerReceiver {
  /** All messages of one received frame. */
  receive(messages: readonly GroupMessage[]): void;
  /**
   * A snapshot begins to arrive. Resolves when it was taken over whole (or found to be unneeded), rejects when not: the
   * sender's sendSnapshot() settles likewise.
   */
  receiveSnapshot(group: GroupId, message: InstallSnapshot, chunks: AsyncIterable<Buffer>): Promise<void>;
  /** The peer, a member, says that this node is one no more. */
  removed(by: NodeId): void;
  /** A connection that stood has broken. */
  disconnected(peer: NodeId): void;
  /** A connection cannot be made, or messages to the peer were dropped (P2). */
  unreachable(peer: NodeId): void;
}

export interface PeerTransport {
  /** Called once, before anything is sent. Messages that arrived earlier are dropped. */
  start(receiver: PeerReceiver): void;
  /** Who is there and where (host:port), this node excluded; `retired` are turned away and told so. Replaces the earlier set. */
  setPeers(peers: ReadonlyMap<NodeId, string>, retired?: readonly NodeId[]): void;
  /** All that one turn has for the peer, as one frame where it fits. */
  send(to: NodeId, messages: readonly GroupMessage[]): void;
  /**
   * Streams a state on a connection of its own. Resolves when the receiver holds it whole; rejects otherwise, at the
   * latest when nothing has moved for the transport's time limit. Does not release the snapshot.
   */
  sendSnapshot(group: GroupId, message: InstallSnapshot, snapshot: StateSnapshot): Promise<void>;
  close(): Promise<void>;
}
