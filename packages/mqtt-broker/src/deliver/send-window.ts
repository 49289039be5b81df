// Packet ids and send quota towards one client, and the half of the QoS 1 and 2 handshakes that needs nothing else.
//
// Invariants:
//   W1. The quota begins at the client's Receive Maximum (bounded by ours), falls with every PUBLISH sent and
//       rises with PUBACK, PUBCOMP and a PUBREC that refuses, never above where it began. (MQTT5 §4.9)
//   W2. A packet id stays taken until the handshake is over, across connections.

import { ackFirstByte, encodeAck } from '../codec/encode.js';
import { PacketType } from '../codec/packets.js';
import { isFailure, ReasonCode } from '../codec/reason-codes.js';
import { PacketIdState, PacketIdTable } from '../session/packet-id-table.js';
import type { DeliveryStats } from './delivery-stats.js';
import type { DeliveryLink } from './session-delivery.js';

const PUBREL_FIRST_BYTE = ackFirstByte(PacketType.pubrel);

/** What an ack did: ended the delivery of its packet id, moved it on, or matched nothing. */
export type AckEffect = 'settled' | 'released' | 'repeated' | 'unknown';

export class SendWindow {
  readonly ids = new PacketIdTable();
  readonly #stats: DeliveryStats;
  readonly #inflightMax: number;
  #initialQuota = 0;
  #quota = 0;

  constructor(inflightMax: number, stats: DeliveryStats) {
    this.#inflightMax = inflightMax;
    this.#stats = stats;
  }

  /** How many more may be sent. */
  get quota(): number {
    return this.#quota;
  }

  /** A new connection begins with a full quota (W1); ids stay taken (W2). */
  open(receiveMaximum: number): void {
    this.#initialQuota = Math.min(receiveMaximum, this.#inflightMax);
    this.#quota = this.#initialQuota;
  }

  /** One PUBLISH more is on its way. */
  spend(): void {
    this.#quota--;
  }

  /** For a message that is not in flight yet: 0 when all ids are taken. */
  take(qos: 1 | 2): number {
    return this.ids.allocate(qos === 1 ? PacketIdState.qos1 : PacketIdState.qos2);
  }

  puback(packetId: number): AckEffect {
    if (this.ids.stateOf(packetId) !== PacketIdState.qos1) return this.#stray();
    this.#settle(packetId);
    return 'settled';
  }

  /** The caller sends PUBREL for 'released' and 'repeated', once what it must remember is kept. */
  pubrec(packetId: number, reason: ReasonCode): AckEffect {
    const state = this.ids.stateOf(packetId);
    if (state === PacketIdState.released) return 'repeated';
    if (state !== PacketIdState.qos2) return this.#stray();
    if (isFailure(reason)) {
      this.#settle(packetId); // the client refused it: neither PUBREL nor a resend follows (MQTT5 §4.3.3)
      return 'settled';
    }
    this.ids.advance(packetId, PacketIdState.released);
    return 'released';
  }

  pubcomp(packetId: number): AckEffect {
    if (this.ids.stateOf(packetId) !== PacketIdState.released) return this.#stray();
    this.#settle(packetId);
    return 'settled';
  }

  /** Gives a packet id back that never needed its handshake. */
  forget(packetId: number): void {
    this.#settle(packetId);
  }

  #settle(packetId: number): void {
    this.ids.release(packetId);
    if (this.#quota < this.#initialQuota) this.#quota++; // W1
  }

  #stray(): AckEffect {
    this.#stats.strayAcks++;
    return 'unknown';
  }
}

export function sendPubrel(link: DeliveryLink, packetId: number): void {
  link.port.outbox.writeAck(PUBREL_FIRST_BYTE, packetId);
}

/** The answer to a PUBREC that matches nothing: MQTT 5 says so, MQTT 3 just completes. [MQTT-4.3.3-7] */
export function sendPubrelForUnknown(link: DeliveryLink, packetId: number): void {
  const packet = { packetId, reasonCode: ReasonCode.packetIdentifierNotFound };
  const bytes = encodeAck(PacketType.pubrel, packet, link.profile);
  if (bytes) link.port.outbox.write(bytes);
}
