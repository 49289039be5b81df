// One publishing client.
//
// Its messages differ only in packet id, sequence and time. `#batch` holds as many copies of the PUBLISH as fit in one
// write; to send k messages means to write those fields into the first k copies and hand over that part.
//
//   P1. `#batch` is not written while a stream holds a part of it.
//   P2. Packet ids under way are at most `inflight`, and at most what the broker allows.

import { encodePublishFrame, type PacketReader } from '@robustmq/mqtt-broker/client';
import { BATCH_BYTES, deliveriesPerMessage, type LoadPlan, type Target, topicNameOf } from './load-plan.js';
import { type LinkDeps, type LinkReceiver, MqttLink } from './mqtt-link.js';
import { blankPayload, markOf, stampPayload } from './payload.js';
import type { Tally } from './tally.js';

export interface PublisherOwner {
  onReady(): void;
  /** It may be able to send again. */
  onRoom(): void;
  onClosed(reason: string): void;
}

/** When a message may leave: at once, or when it is due. */
export interface Moment {
  readonly nowMs: number;
  /** Due time of message n of publisher p: startMs + (n × publishers + p) × spacingMs. Spacing 0 is at once. */
  readonly startMs: number;
  readonly spacingMs: number;
  /** Added to nowMs to give the machine's monotonic clock. */
  readonly originMs: number;
}

export class Publisher implements LinkReceiver {
  readonly #plan: LoadPlan;
  readonly #tally: Tally;
  readonly #owner: PublisherOwner;
  readonly #number: number;
  readonly #deliveries: number;
  readonly #batch: Buffer;
  readonly #copies: number;
  readonly #frameBytes: number;
  readonly #packetIdAt: number;
  readonly #payloadAt: number;
  readonly #freeIds: Uint16Array;
  #freeCount: number;
  /** P2 */
  #allowed: number;
  /** When the PUBLISH with this packet id left; NaN when none is under way. */
  readonly #sentAtMs: Float64Array;
  #stream: 'free' | 'holding' = 'free';
  readonly link: MqttLink;
  readonly clientId: string;
  sequence = 0;
  /** Deliveries of its messages, credited by subscribers. */
  delivered = 0;

  constructor(number: number, deps: LinkDeps & { plan: LoadPlan; tally: Tally; owner: PublisherOwner }) {
    const { plan } = deps;
    this.#plan = plan;
    this.#tally = deps.tally;
    this.#owner = deps.owner;
    this.#number = number;
    this.#deliveries = deliveriesPerMessage(plan);

    const frame = encodeMessage(plan, number, deps.target);
    this.#frameBytes = frame.bytes.length;
    this.#packetIdAt = frame.packetIdAt;
    this.#payloadAt = frame.payloadAt;
    this.#copies = Math.max(1, Math.min(plan.batch, Math.floor(BATCH_BYTES / this.#frameBytes)));
    this.#batch = Buffer.alloc(this.#copies * this.#frameBytes, frame.bytes);

    this.#freeIds = Uint16Array.from({ length: plan.inflight }, (_, i) => plan.inflight - i);
    this.#freeCount = plan.inflight;
    this.#allowed = plan.inflight;
    this.#sentAtMs = new Float64Array(plan.inflight + 1).fill(Number.NaN);
    this.clientId = `${plan.prefix}-${plan.run}-p${number}`;
    this.link = new MqttLink({ clientId: this.clientId, session: 'clean', subscription: undefined }, this, deps);
  }

  /** PUBLISHes that are not acknowledged yet; 0 at QoS 0. */
  get underWay(): number {
    return this.#allowed - this.#freeCount;
  }

  /** In clock.now() milliseconds. */
  nextDueMs(moment: Moment): number {
    return moment.startMs + (this.sequence * this.#plan.publishers + this.#number) * moment.spacingMs;
  }

  get blocked(): boolean {
    return this.#stream === 'holding' || !this.link.ready || this.#hasNoRoom();
  }

  /** Sends what may leave now, in one write. */
  send(moment: Moment): 'more' | 'blocked' | 'not due' {
    if (this.blocked) return 'blocked'; // P1
    const { nowMs, spacingMs, originMs } = moment;
    const batch = this.#batch;
    let count = 0;
    let due = nowMs;
    while (count < this.#copies && !this.#hasNoRoom()) {
      if (spacingMs > 0) {
        due = this.nextDueMs(moment);
        if (due > nowMs) break;
      }
      const at = count * this.#frameBytes;
      if (this.#packetIdAt !== 0) this.#takePacketId(at + this.#packetIdAt, nowMs);
      stampPayload(batch, at + this.#payloadAt, { sequence: this.sequence, dueMs: due + originMs });
      this.sequence++;
      count++;
    }
    if (count === 0) return 'not due';
    this.#tally.sent += count;
    if (this.link.write(batch.subarray(0, count * this.#frameBytes)) === 'held') this.#stream = 'holding';
    return this.blocked ? 'blocked' : spacingMs > 0 ? 'not due' : 'more';
  }

  /** What is under way counts as delivered: the closed loop opens again after a loss. */
  forgive(): void {
    this.delivered = this.sequence * this.#deliveries;
  }

  onReady(): void {
    this.#allowed = Math.min(this.#plan.inflight, this.link.receiveMaximum); // P2
    this.#freeIds.copyWithin(0, this.#freeCount - this.#allowed, this.#freeCount);
    this.#freeCount = this.#allowed;
    this.#owner.onReady();
  }

  onAcked(packetId: number, outcome: 'taken' | 'refused'): void {
    const sentAt = this.#sentAtMs[packetId] ?? Number.NaN;
    if (Number.isNaN(sentAt)) {
      this.#tally.errors++;
      return;
    }
    this.#sentAtMs[packetId] = Number.NaN;
    this.#freeIds[this.#freeCount++] = packetId;
    if (outcome === 'refused') {
      this.#tally.refused++;
      this.delivered += this.#deliveries; // nobody will get it
      return;
    }
    this.#tally.acked++;
    if (this.#tally.measuring) this.#tally.ackLatency.record((this.link.nowMs - sentAt) * 1000);
  }

  onMessage(_reader: PacketReader): void {
    this.#tally.foreign++; // it has subscribed to nothing
  }

  onChunkEnd(): void {
    this.#owner.onRoom();
  }

  onDrain(): void {
    this.#stream = 'free';
    this.#owner.onRoom();
  }

  onClosed(reason: string): void {
    this.#owner.onClosed(reason);
  }

  #hasNoRoom(): boolean {
    if (this.#packetIdAt !== 0 && this.#freeCount === 0) return true;
    const { window } = this.#plan;
    return window !== 0 && this.sequence * this.#deliveries >= this.delivered + window * this.#deliveries;
  }

  #takePacketId(at: number, nowMs: number): void {
    const packetId = this.#freeIds[--this.#freeCount] as number; // hasNoRoom() was asked before
    this.#sentAtMs[packetId] = nowMs;
    this.#batch[at] = packetId >> 8;
    this.#batch[at + 1] = packetId & 0xff;
  }
}

function encodeMessage(plan: LoadPlan, publisher: number, target: Target) {
  const payload = blankPayload(plan.payloadBytes, { mark: markOf(plan.run), publisher });
  const frame = encodePublishFrame(
    { topicName: topicNameOf(plan, publisher), payload },
    { version: target.version, qos: plan.qos, retain: false },
  );
  const bytes = frame.payload === undefined ? frame.head : Buffer.concat([frame.head, frame.payload]);
  return { bytes, packetIdAt: frame.packetIdAt, payloadAt: bytes.length - payload.length };
}
