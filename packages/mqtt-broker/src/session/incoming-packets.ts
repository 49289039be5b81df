// QoS 2 packets of one client between PUBLISH and PUBREL: each is published once, however often it is sent.
// [MQTT-4.3.3-10]

import type { StoredAt } from '../deliver/session-delivery.js';
import type { PendingAck } from '../publish/ack-queue.js';

/**
 * `storing` until the message is kept; then `received` until PUBREL, and answered again when repeated. A
 * `restored` one was found in its message shard after a restart: whether it was retained too is not known.
 */
export type IncomingPacket =
  | { readonly kind: 'storing'; readonly ack: PendingAck }
  | { readonly kind: 'received'; readonly at: StoredAt | undefined }
  | { readonly kind: 'restored'; readonly at: StoredAt };

export class IncomingPackets {
  #packets: Map<number, IncomingPacket> | undefined;

  get size(): number {
    return this.#packets === undefined ? 0 : this.#packets.size;
  }

  get(packetId: number): IncomingPacket | undefined {
    return this.#packets?.get(packetId);
  }

  set(packetId: number, packet: IncomingPacket): void {
    this.#packets ??= new Map();
    this.#packets.set(packetId, packet);
  }

  /** Returns what was there. */
  take(packetId: number): IncomingPacket | undefined {
    const packet = this.#packets?.get(packetId);
    if (packet !== undefined) this.#packets?.delete(packetId);
    return packet;
  }

  entries(): Iterable<readonly [packetId: number, packet: IncomingPacket]> {
    return this.#packets ?? [];
  }
}
