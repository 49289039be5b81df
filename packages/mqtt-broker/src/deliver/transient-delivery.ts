// Delivery to a client whose session ends with its connection.
//
// Nothing outlives the connection, so nothing in flight is remembered but its packet id. What does not fit
// the window waits in a bounded queue of this session alone; beyond its bounds the message is dropped and
// counted, because waiting would make one slow client slow its publishers (D9).

import { assert } from '@robustmq/stdx/assert';
import { BoundedQueue } from '@robustmq/stdx/bounded-queue';
import type { Clock } from '@robustmq/stdx/clock';
import type { QoS } from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { Session } from '../session/session.js';
import type { DeliveryStats } from './delivery-stats.js';
import { lowerQoS } from './lower-qos.js';
import type { OutgoingMessage } from './outgoing-message.js';
import { SendWindow, sendPubrel, sendPubrelForUnknown } from './send-window.js';
import type { DeliveryLink, Grant, Lease, SessionDelivery, StoredAt } from './session-delivery.js';

export interface TransientDeliveryDeps {
  readonly options: ResolvedEngineOptions;
  readonly stats: DeliveryStats;
  readonly clock: Clock;
  /** Room has appeared: whoever waits for it (retained messages, share groups) goes on. */
  readonly onRoom: (session: Session) => void;
}

interface Waiting {
  readonly message: OutgoingMessage;
  readonly grant: Grant;
  readonly qos: 1 | 2;
}

export class TransientDelivery implements SessionDelivery {
  readonly #session: Session;
  readonly #deps: TransientDeliveryDeps;
  readonly #window: SendWindow;
  #link: DeliveryLink | undefined;
  #queue: BoundedQueue<Waiting> | undefined;
  #queuedBytes = 0;
  /** By packet id; only members of share groups have any. */
  #leases: Map<number, Lease> | undefined;

  /** `deps` are shared by all: an idle connection is to cost little. */
  constructor(session: Session, deps: TransientDeliveryDeps) {
    this.#session = session;
    this.#deps = deps;
    this.#window = new SendWindow(deps.options.inflightMax, deps.stats);
  }

  get room(): number {
    if (this.#link === undefined || this.#link.port.congested || this.#waiting > 0) return 0;
    return this.#window.quota;
  }

  get inflight(): number {
    return this.#window.ids.inUse;
  }

  get #waiting(): number {
    return this.#queue === undefined ? 0 : this.#queue.length;
  }

  attach(link: DeliveryLink): void {
    this.#link = link;
    this.#window.open(link.port.receiveMaximum);
  }

  start(): void {
    // There is nothing from before.
  }

  detach(): void {
    this.#link = undefined;
  }

  end(): void {
    this.#link = undefined;
    this.#queue = undefined;
    this.#queuedBytes = 0;
    const leases = this.#leases;
    this.#leases = undefined;
    for (const lease of leases?.values() ?? []) {
      // What may have arrived at QoS 2 goes to nobody else. [MQTT-4.8.2-5]
      if (lowerQoS(lease.message.qos, lease.grant.qos) === 2) lease.owner.settled(lease.at);
      else lease.owner.returned(lease);
    }
  }

  deliver(message: OutgoingMessage, grant: Grant, qos: QoS): void {
    if (qos === 0) return;
    const link = this.#link;
    if (link === undefined) return;
    if (this.#window.quota === 0 || this.#waiting > 0 || link.port.congested) this.#wait({ message, grant, qos });
    else this.#send(link, { message, grant, qos });
  }

  deliverStored(message: OutgoingMessage, grant: Grant, _at: StoredAt): void {
    this.deliver(message, grant, lowerQoS(message.qos, grant.qos));
  }

  deliverLease(lease: Lease): 'taken' | 'refused' {
    const link = this.#link;
    if (link === undefined || this.room === 0) return 'refused';
    const { message, grant } = lease;
    const qos = lowerQoS(message.qos, grant.qos);
    assert(qos !== 0, 'a lease is of QoS 1 or 2');
    lease.message.own(); // it may go to another member later
    const packetId = this.#send(link, { message, grant, qos });
    if (packetId === 0)
      lease.owner.settled(lease.at); // too large for this client, and so for its group: dropped
    else {
      this.#leases ??= new Map();
      this.#leases.set(packetId, lease);
    }
    return 'taken';
  }

  onPuback(packetId: number, _reason: ReasonCode): void {
    if (this.#window.puback(packetId) === 'settled') this.#settled(packetId);
  }

  onPubrec(packetId: number, reason: ReasonCode): void {
    const link = this.#link;
    if (link === undefined) return;
    const effect = this.#window.pubrec(packetId, reason);
    if (effect === 'unknown') sendPubrelForUnknown(link, packetId);
    else if (effect === 'settled') this.#settled(packetId);
    else sendPubrel(link, packetId);
  }

  onPubcomp(packetId: number): void {
    if (this.#window.pubcomp(packetId) === 'settled') this.#settled(packetId);
  }

  onWritable(): void {
    this.#drain();
    if (this.room > 0) this.#deps.onRoom(this.#session);
  }

  #settled(packetId: number): void {
    if (this.#leases !== undefined) {
      const lease = this.#leases.get(packetId);
      this.#leases.delete(packetId);
      lease?.owner.settled(lease.at);
    }
    if (this.#waiting > 0) this.#drain();
    this.#deps.onRoom(this.#session);
  }

  #drain(): void {
    const link = this.#link;
    const queue = this.#queue;
    if (link === undefined || queue === undefined) return;
    const nowMs = this.#deps.clock.wallTime();
    while (this.#window.quota > 0 && !link.port.congested) {
      const waiting = queue.shift();
      if (waiting === undefined) {
        this.#queue = undefined; // a client that keeps up holds no queue
        return;
      }
      this.#queuedBytes -= waiting.message.payload.length;
      if (waiting.message.isExpiredAt(nowMs)) this.#deps.stats.droppedExpired++;
      else {
        waiting.message.ageTo(nowMs);
        this.#send(link, waiting);
      }
    }
  }

  #wait(waiting: Waiting): void {
    const { queuedMessagesMax, queuedBytesMax } = this.#deps.options;
    const bytes = waiting.message.payload.length;
    if (queuedMessagesMax > 0) this.#queue ??= new BoundedQueue(queuedMessagesMax);
    if (this.#queue === undefined || this.#queue.isFull || this.#queuedBytes + bytes > queuedBytesMax) {
      this.#deps.stats.droppedQueueFull++;
      return;
    }
    waiting.message.own();
    this.#queue.push(waiting);
    this.#queuedBytes += bytes;
  }

  /** The packet id, or 0 when the message is not for this client. */
  #send(link: DeliveryLink, { message, grant, qos }: Waiting): number {
    const { port } = link;
    const frame = message.frame({
      version: port.version,
      qos,
      retain: message.retain && grant.retainAsPublished,
      identifiers: port.version === 5 ? grant.subscriptionIdentifiers : undefined,
    });
    if (frame.bytes > port.maximumPacketSize) {
      this.#deps.stats.droppedTooLarge++; // [MQTT-3.1.2-25]
      return 0;
    }
    const packetId = this.#window.take(qos);
    if (packetId === 0) return 0; // all ids taken: the quota is smaller, so this cannot be
    this.#window.spend();
    port.outbox.writeFrame(frame, packetId);
    this.#deps.stats.delivered++;
    return packetId;
  }
}
