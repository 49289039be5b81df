// Delivery to a client whose session outlives its connection, from the log.
//
// The session keeps positions, not messages (log-positions.ts). A stored message is pushed to a live session in the
// turn it becomes durable. When the window is full or the socket slow, the shard falls back to its position and
// is read from the log later; when the reading reaches the end, it is live again (D9).
//
// Invariants:
//   D1. A stored message that matches is in flight, acknowledged, or at or above the shard's position: never
//       between. The committed cursor is the lowest of what is in flight and the position.
//   D2. What is kept and not handed out yet is not read: it will be pushed.
//   D3. After a reconnect nothing new is sent before everything in flight was sent again, in the order of
//       the first time [MQTT-4.6.0-1], PUBREL before PUBLISH. [MQTT-4.4.0-1]

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { QoS } from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { CursorOwner } from '../session/cursor-keeper.js';
import { PacketIdState } from '../session/packet-id-table.js';
import type { KeptMessage } from '../session/session-log-entry.js';
import type { DeliveryStats } from './delivery-stats.js';
import { DurableInflight, type DurableInflightDeps, type Inflight, type RestoredDelivery } from './durable-inflight.js';
import { LogPositions } from './log-positions.js';
import { lowerQoS } from './lower-qos.js';
import type { MessagePage, MessageReader } from './message-reader.js';
import type { FrameShape, OutgoingMessage } from './outgoing-message.js';
import { resendPublish } from './resend-publish.js';
import { SendWindow, sendPubrel, sendPubrelForUnknown } from './send-window.js';
import type { DeliveryLink, Grant, Lease, SessionDelivery, StoredAt } from './session-delivery.js';

export interface DurableDeliveryDeps {
  /** The consumer group its cursors are kept under. */
  readonly consumer: string;
  readonly options: ResolvedEngineOptions;
  readonly stats: DeliveryStats;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reader: MessageReader;
  readonly note: DurableInflightDeps['note'];
  /** The end of what was handed out of a shard. */
  readonly endOf: (shard: number) => number;
  /** How this session's subscriptions want a message of the log; undefined when they do not. */
  readonly grantFor: (message: OutgoingMessage, at: StoredAt) => Grant | undefined;
  readonly onRoom: () => void;
  /** The cursor has moved since it was committed. */
  readonly onProgress: () => void;
}

export interface DeliveryOrigin {
  /** By message shard: where reading begins. */
  readonly positions: readonly number[];
  readonly deliveries: readonly RestoredDelivery[];
  /** QoS 2 messages above the positions that the client has. */
  readonly done: readonly StoredAt[];
}

interface Sending {
  readonly message: OutgoingMessage;
  readonly grant: Grant;
  readonly at: StoredAt | undefined;
  readonly lease: Lease | undefined;
}

const PLAIN_GRANT = { retainAsPublished: false, subscriptionIdentifiers: undefined } as const;
/** For less room than this the acks of the rest of the turn are waited for. */
const ROOM_WORTH_READING = 64;
const PAGE_RECORDS = 256;
const READ_RETRY_MS = 1000;
/** Pages or resends in one turn: a page is decoded in well under a millisecond. */
const STEPS_PER_TURN = 8;

export class DurableDelivery implements SessionDelivery, CursorOwner {
  readonly consumer: string;
  cursorState: CursorOwner['cursorState'] = 'committed';
  readonly #deps: DurableDeliveryDeps;
  readonly #window: SendWindow;
  readonly #inflight: DurableInflight;
  readonly #positions: LogPositions;
  #link: DeliveryLink | undefined;
  #phase: 'offline' | 'attached' | 'started' = 'offline';
  #resend: Inflight[] = [];
  #pump: 'idle' | 'scheduled' | 'running' = 'idle';
  #retry: Timer | undefined;

  constructor(deps: DurableDeliveryDeps, from: DeliveryOrigin) {
    this.#deps = deps;
    this.consumer = deps.consumer;
    this.#window = new SendWindow(deps.options.inflightMax, deps.stats);
    for (const { packetId, stage } of from.deliveries)
      this.#window.ids.occupy(packetId, stage === 'sent' ? PacketIdState.qos2 : PacketIdState.released);
    this.#positions = new LogPositions(from.positions, deps.endOf);
    const onUnsentKept = (entry: Inflight) => this.#onUnsentKept(entry);
    const onReleased = (entry: Inflight) => this.#onReleased(entry);
    this.#inflight = new DurableInflight({ note: deps.note, onUnsentKept, onReleased }, from);
  }

  get room(): number {
    if (this.#phase !== 'started' || this.#resend.length > 0 || this.#link?.port.congested) return 0;
    return this.#window.quota;
  }

  get inflight(): number {
    return this.#inflight.size;
  }

  /** D1. */
  cursors(): number[] {
    const lowest = this.#positions.lowest();
    this.#inflight.lower(lowest);
    return lowest;
  }

  committed(cursors: readonly number[]): void {
    this.#inflight.committed(cursors);
  }

  /** QoS 2 deliveries as a snapshot of the session log keeps them. */
  kept(): Iterable<KeptMessage> {
    return this.#inflight.kept();
  }

  attach(link: DeliveryLink): void {
    this.#link = link;
    this.#phase = 'attached';
    this.#window.open(link.port.receiveMaximum);
  }

  start(): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#phase = 'started';
    this.#resend = [];
    for (const entry of [...this.#inflight.values()]) {
      if (entry.stage === 'released')
        sendPubrel(link, entry.packetId); // D3
      else if (entry.stage !== 'releasing') this.#resend.push(entry);
      if (entry.step === 'failed') this.#inflight.noteStage(entry);
    }
    this.#positions.goLiveWherePossible();
    this.#maybePump();
  }

  detach(): void {
    this.#link = undefined;
    this.#phase = 'offline';
    this.#resend = [];
    this.#inflight.clearOutgoing();
    this.#retry?.cancel();
    this.#positions.fallBehindEverywhere();
    for (const { packetId, lease } of this.#inflight.takeReturnable()) {
      this.#window.forget(packetId);
      lease.owner.returned(lease);
    }
  }

  end(): void {
    this.detach();
    // QoS 2 of a share group goes to nobody else. [MQTT-4.8.2-5]
    for (const { lease, at } of this.#inflight.values()) lease?.owner.settled(at);
    this.#inflight.clear();
  }

  deliver(message: OutgoingMessage, grant: Grant, qos: QoS): void {
    const link = this.#link;
    if (qos === 0 || link === undefined) return;
    if (this.room === 0) {
      this.#deps.stats.droppedQueueFull++;
      return;
    }
    message.own();
    this.#send(link, { message, grant, at: undefined, lease: undefined });
  }

  deliverStored(message: OutgoingMessage, grant: Grant, at: StoredAt): void {
    if (!this.#positions.isLive(at.shard)) return; // it is above the position, and will be read (D1)
    const link = this.#link;
    if (link === undefined || this.room === 0) this.#positions.fallBehind(at);
    else if (message.qos > 0 && grant.qos > 0) this.#send(link, { message, grant, at, lease: undefined });
  }

  /** Records appeared that were never handed out: a live shard has to read them. */
  onGap(shard: number, from: number): void {
    if (!this.#positions.isLive(shard)) return;
    this.#positions.fallBehind({ shard, offset: from });
    this.#maybePump();
  }

  deliverLease(lease: Lease): 'taken' | 'refused' {
    const link = this.#link;
    if (link === undefined || this.room === 0) return 'refused';
    const { message, grant, at } = lease;
    message.own(); // it may go to another member later
    if (this.#send(link, { message, grant, at, lease }) === 'dropped') lease.owner.settled(at);
    return 'taken';
  }

  onPuback(packetId: number, _reason: ReasonCode): void {
    if (this.#window.puback(packetId) === 'settled') this.#settled(packetId);
  }

  onPubrec(packetId: number, reason: ReasonCode): void {
    const link = this.#link;
    if (link === undefined) return;
    const entry = this.#inflight.get(packetId);
    const effect = this.#window.pubrec(packetId, reason);
    if (effect === 'unknown') sendPubrelForUnknown(link, packetId);
    else if (entry === undefined) return;
    else if (effect === 'settled') {
      this.#inflight.complete(entry);
      this.#settled(packetId);
    } else if (effect === 'released') this.#inflight.release(entry);
    else if (entry.stage === 'released') sendPubrel(link, packetId); // asked for again
  }

  onPubcomp(packetId: number): void {
    if (this.#window.pubcomp(packetId) !== 'settled') return;
    const entry = this.#inflight.get(packetId);
    if (entry !== undefined) this.#inflight.complete(entry);
    this.#settled(packetId);
  }

  onWritable(): void {
    this.#maybePump();
    if (this.room > 0) this.#deps.onRoom();
  }

  #onUnsentKept(entry: Inflight): void {
    const link = this.#link;
    if (link !== undefined)
      for (const next of this.#inflight.takeOutgoing()) link.port.outbox.writeFrame(next.frame, next.entry.packetId);
    if (this.#resend[0] === entry) this.#maybePump();
  }

  #onReleased({ packetId }: Inflight): void {
    if (this.#phase === 'started' && this.#link !== undefined) sendPubrel(this.#link, packetId);
  }

  #settled(packetId: number): void {
    const entry = this.#inflight.remove(packetId);
    if (entry?.lease) entry.lease.owner.settled(entry.at);
    else this.#deps.onProgress();
    if (this.#positions.behind > 0 || this.#resend.length > 0) this.#maybePump();
    this.#deps.onRoom();
  }

  #send(link: DeliveryLink, { message, grant, at, lease }: Sending): 'sent' | 'dropped' {
    const { port } = link;
    const qos = lowerQoS(message.qos, grant.qos);
    const frame = message.frame(shapeFor(link, message, { grant, qos }));
    if (frame.bytes > port.maximumPacketSize) {
      this.#deps.stats.droppedTooLarge++; // [MQTT-3.1.2-25]
      return 'dropped';
    }
    this.#deps.stats.delivered++;
    if (qos === 0) {
      port.outbox.writeFrame(frame, 0);
      return 'dropped'; // nothing is in flight
    }
    const packetId = this.#window.take(qos);
    if (packetId === 0) return 'dropped'; // all ids taken: the quota is smaller, so this cannot be
    this.#window.spend();
    const kept = at === undefined || lease !== undefined ? message : undefined;
    const stage = qos === 1 ? 'sent' : 'unsent';
    const entry: Inflight = { packetId, qos, at, message: kept, grant, lease, stage, step: 'fine' };
    this.#inflight.add(entry);
    if (this.#inflight.lineUp(entry, frame) === 'now') port.outbox.writeFrame(frame, packetId);
    return 'sent';
  }

  #maybePump(): void {
    if (this.#pump !== 'idle' || !this.#canPump()) return;
    if (this.#window.quota >= ROOM_WORTH_READING) {
      this.#startPump();
      return;
    }
    // Acks come in bunches: what this turn brings is read for together.
    this.#pump = 'scheduled';
    this.#deps.clock.setImmediate(() => {
      if (this.#canPump()) this.#startPump();
      else this.#pump = 'idle';
    });
  }

  #canPump(): boolean {
    if (this.#phase !== 'started' || (this.#positions.behind === 0 && this.#resend.length === 0)) return false;
    return this.#window.quota > 0 && !this.#link?.port.congested;
  }

  #startPump(): void {
    this.#pump = 'running';
    this.#run(this.#link as DeliveryLink).catch((error: unknown) => this.#readFailed(error)); // started: there is a link
  }

  async #run(link: DeliveryLink): Promise<void> {
    for (let steps = 1; ; steps++) {
      // A long way through a log that holds little for this client must not hold the loop.
      if (steps % STEPS_PER_TURN === 0) await new Promise<void>((resolve) => this.#deps.clock.setImmediate(resolve));
      if (this.#link !== link || this.#window.quota === 0 || link.port.congested) break;
      const next = this.#resend[0];
      if (next?.stage === 'unsent') break; // goes on when the session log has it (I1 of durable-inflight.ts)
      const behind = this.#positions.firstBehind();
      if (next !== undefined) await this.#resendOne(link, next);
      else if (behind !== undefined) await this.#readOn(link, behind);
      else break;
    }
    this.#pump = 'idle';
    if (this.#link !== link)
      this.#maybePump(); // a new connection came while this one was read for
    else if (this.room > 0) this.#deps.onRoom();
  }

  #readFailed(error: unknown): void {
    this.#pump = 'idle';
    this.#deps.logger.warn({ error: errorMessage(error) }, 'reading the log for a session failed; trying again');
    this.#retry = this.#deps.clock.setTimer(READ_RETRY_MS, () => this.#maybePump());
  }

  async #resendOne(link: DeliveryLink, entry: Inflight): Promise<void> {
    const { at, packetId, qos } = entry;
    const message = entry.message ?? (at && (await this.#deps.reader.readAt(at.shard, at.offset)));
    if (this.#link !== link || this.#resend[0] !== entry) return; // the connection ended meanwhile
    this.#resend.shift();
    if (this.#inflight.get(packetId) !== entry || entry.stage !== 'sent') return; // acknowledged meanwhile
    if (message === undefined) {
      this.#giveUp(entry); // retention has taken it
      return;
    }
    // After a restart the subscriptions are asked again; one that is gone does not end what is in flight [MQTT-3.10.4-3],
    // nor does a lifetime that has passed. [MQTT-4.3.3-7]
    const grant = entry.grant ?? (at && this.#deps.grantFor(message, at)) ?? { ...PLAIN_GRANT, qos };
    message.ageTo(this.#deps.clock.wallTime());
    const frame = message.frame(shapeFor(link, message, { grant, qos }));
    if (frame.bytes > link.port.maximumPacketSize) {
      this.#deps.stats.droppedTooLarge++; // this connection takes less than the one before [MQTT-3.1.2-25]
      this.#giveUp(entry);
      return;
    }
    this.#window.spend();
    resendPublish(link.port.outbox, frame, packetId);
  }

  #giveUp(entry: Inflight): void {
    this.#inflight.remove(entry.packetId);
    this.#window.ids.release(entry.packetId);
    this.#inflight.complete(entry);
    entry.lease?.owner.settled(entry.at);
    this.#deps.onProgress();
  }

  async #readOn(link: DeliveryLink, from: StoredAt): Promise<void> {
    const { shard, offset } = from;
    if (offset < this.#deps.endOf(shard)) {
      const page = await this.#deps.reader.read(shard, { from: offset, maxRecords: PAGE_RECORDS });
      if (this.#link !== link || !this.#positions.isAt(from)) return; // the connection ended meanwhile
      this.#deliverPage(link, shard, page);
    }
    if (this.#positions.goLive(shard)) this.#deps.onProgress();
  }

  #deliverPage(link: DeliveryLink, shard: number, page: MessagePage): void {
    const end = this.#deps.endOf(shard);
    const nowMs = this.#deps.clock.wallTime();
    for (const { offset, message } of page.messages) {
      if (offset >= end) break; // D2
      const at = { shard, offset };
      const grant = this.#inflight.isKnown(at) ? undefined : this.#deps.grantFor(message, at);
      if (grant === undefined || grant.qos === 0 || message.qos === 0) continue;
      if (message.isExpiredAt(nowMs)) {
        this.#deps.stats.droppedExpired++;
        continue;
      }
      if (this.#window.quota === 0 || link.port.congested) {
        this.#positions.moveTo(at);
        return;
      }
      message.ageTo(nowMs);
      this.#send(link, { message, grant, at, lease: undefined });
    }
    this.#positions.moveTo({ shard, offset: Math.min(page.next, end) });
  }
}

function shapeFor(
  link: DeliveryLink,
  message: OutgoingMessage,
  { grant, qos }: { readonly grant: Grant; readonly qos: QoS },
): FrameShape {
  const { version } = link.port;
  return {
    version,
    qos,
    retain: message.retain && grant.retainAsPublished,
    identifiers: version === 5 ? grant.subscriptionIdentifiers : undefined,
  };
}
