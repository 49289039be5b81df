// Answers to PUBLISH packets leave in the order of the packets. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
//
// Most need no waiting and are written at once. When one must wait for storage, all behind it wait too.

import { ackFirstByte, encodeAck } from '../codec/encode.js';
import { PacketType } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { DeliveryLink } from '../deliver/session-delivery.js';

export interface PendingAck {
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** What to answer; undefined while it is not known. */
  answer: ReasonCode | undefined;
  /** The queue that answers it. */
  acks: AckQueue | undefined;
}

const PUBACK_FIRST_BYTE = ackFirstByte(PacketType.puback);
const PUBREC_FIRST_BYTE = ackFirstByte(PacketType.pubrec);

export class AckQueue {
  readonly #link: DeliveryLink;
  #waiting: PendingAck[] | undefined;
  #head = 0;
  /** Packets of QoS 1 among those that wait. */
  waitingQoS1 = 0;

  constructor(link: DeliveryLink) {
    this.#link = link;
  }

  get version(): 3 | 4 | 5 {
    return this.#link.port.version;
  }

  /** How many packets wait for their answer. */
  get length(): number {
    return this.#waiting === undefined ? 0 : this.#waiting.length - this.#head;
  }

  /** Answers now, or behind those that wait. */
  answer(packetId: number, qos: 1 | 2, reason: ReasonCode): void {
    if (this.#waiting === undefined) this.#write(packetId, qos, reason);
    else this.push({ packetId, qos, answer: reason, acks: this });
  }

  push(ack: PendingAck): void {
    if (this.#waiting === undefined) this.#waiting = [ack];
    else this.#waiting.push(ack);
    if (ack.qos === 1) this.waitingQoS1++;
  }

  /** MQTT 3 has no way to say no: the connection ends without an ack, and the client sends again. */
  disconnect(reason: ReasonCode): void {
    this.#link.port.disconnect(reason);
  }

  /** Takes over what the queue of an earlier connection would have answered. */
  adopt(ack: PendingAck): void {
    ack.acks = this;
    this.push(ack);
  }

  /** To be called when a pending answer became known. */
  release(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    while (this.#head < waiting.length) {
      const next = waiting[this.#head] as PendingAck; // head is within the list
      if (next.answer === undefined) break;
      this.#head++;
      if (next.qos === 1) this.waitingQoS1--;
      this.#write(next.packetId, next.qos, next.answer);
    }
    if (this.#head === waiting.length) {
      this.#waiting = undefined;
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#waiting = waiting.slice(this.#head);
      this.#head = 0;
    }
  }

  #write(packetId: number, qos: 1 | 2, reasonCode: ReasonCode): void {
    const { port, profile } = this.#link;
    if (reasonCode === ReasonCode.success || port.version !== 5) {
      port.outbox.writeAck(qos === 1 ? PUBACK_FIRST_BYTE : PUBREC_FIRST_BYTE, packetId);
      return;
    }
    const bytes = encodeAck(qos === 1 ? PacketType.puback : PacketType.pubrec, { packetId, reasonCode }, profile);
    if (bytes) port.outbox.write(bytes);
  }
}
