// Delivery to a client whose session outlives its connection, from the log.
//
// The session keeps positions, not messages: for every message shard the offset it goes on reading from, or
// LIVE while it has seen everything up to the shard's end. A stored message is pushed to a live session in the
// turn it becomes durable. When the window is full or the socket slow, the shard falls back to its position
// and is read from the log later; when the reading reaches the end, it is live again (D9).
//
// Invariants:
//   D1. A stored message that matches is in flight, acknowledged, or at or above the shard's position: never
//       between. The committed cursor is the lowest of what is in flight and the position.
//   D2. A position becomes LIVE only when it equals the end of what was handed out; from then on every
//       handed out record passes deliverStored().
//   D3. After a reconnect nothing new is sent before everything in flight was sent again, in the order of
//       the first time [MQTT-4.6.0-1], PUBREL before PUBLISH. [MQTT-4.4.0-1]
//   D4. At QoS 2 the packet id is in the session log before the PUBLISH leaves, and PUBREC before PUBREL leaves:
//       a restart then resends with the same id what the client may have, and never what it has released.
//   D5. Messages leave in the order of the log, also where one waits for the session log (P4 of publish-path.ts).

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { QoS } from '../codec/packets.js';
import type { PublishFrame } from '../codec/publish-frame.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { CursorOwner } from '../session/cursor-keeper.js';
import { PacketIdState } from '../session/packet-id-table.js';
import type { KeptMessage } from '../session/session-log-entry.js';
import type { DeliveryStats } from './delivery-stats.js';
import { lowerQoS } from './lower-qos.js';
import type { MessageReader } from './message-reader.js';
import { OffsetSets } from './offset-sets.js';
import type { OutgoingMessage } from './outgoing-message.js';
import { resendPublish } from './resend-publish.js';
import { SendWindow, sendPubrel, sendPubrelForUnknown } from './send-window.js';
import type { DeliveryLink, Grant, Lease, SessionDelivery, StoredAt } from './session-delivery.js';

/** What becomes of a step: one of the two is called. */
export interface StepOutcome {
  readonly then: () => void;
  readonly failed: () => void;
}

export type OutboundStep = 'sent' | 'received' | 'completed';

export interface DurableDeliveryDeps {
  /** The consumer group its cursors are kept under. */
  readonly consumer: string;
  readonly options: ResolvedEngineOptions;
  readonly stats: DeliveryStats;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly reader: MessageReader;
  /** D4. When it cannot be kept the client is disconnected. */
  readonly note: (
    step: { readonly kind: OutboundStep; readonly packetId: number; readonly at: StoredAt },
    outcome?: StepOutcome,
  ) => void;
  /** The end of what was handed out of a shard. */
  readonly endOf: (shard: number) => number;
  /** How this session's subscriptions want a message of the log; undefined when they do not. */
  readonly grantFor: (message: OutgoingMessage, at: StoredAt) => Grant | undefined;
  readonly onRoom: () => void;
  /** The cursor has moved since it was committed. */
  readonly onProgress: () => void;
}

/** A message on its way to the outbox, behind a QoS 2 message that waits for the session log (D5). */
interface Outgoing {
  readonly entry: Inflight;
  readonly frame: PublishFrame;
}

interface Inflight {
  readonly packetId: number;
  readonly qos: 1 | 2;
  /** Undefined for a message that is not in a message shard (a retained one): then `message` holds it. */
  readonly at: StoredAt | undefined;
  readonly message: OutgoingMessage | undefined;
  /** How to shape it again; undefined when it was read back after a restart: asked again then. */
  readonly grant: Grant | undefined;
  readonly lease: Lease | undefined;
  /** unsent → sent → releasing → released; `unsent` and `releasing` wait for the session log (D4). */
  stage: 'unsent' | 'sent' | 'releasing' | 'released';
  /** The session log could not take what the stage waits for: the next connection tries again. */
  step: 'fine' | 'failed';
}

/** What a restart brings back of one QoS 2 delivery. */
export interface RestoredDelivery {
  readonly packetId: number;
  readonly at: StoredAt;
  readonly stage: 'sent' | 'released';
}

const LIVE = -1;
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
  /** By packet id, in the order of sending; PUBREC moves an entry to the back. */
  readonly #inflight = new Map<number, Inflight>();
  /** Per message shard: where reading goes on, or LIVE. */
  readonly #positions: number[];
  #behind: number;
  /** QoS 2 messages at or above the committed cursor that the client has: a restart must not deliver them again. */
  readonly #done = new OffsetSets();
  /** What was in flight before a restart, and is not to be read again. */
  readonly #restored = new OffsetSets();
  #link: DeliveryLink | undefined;
  #phase: 'offline' | 'attached' | 'started' = 'offline';
  #resend: Inflight[] = [];
  /** Empty but while a QoS 2 message waits for the session log. */
  #outgoing: Outgoing[] = [];
  #pump: 'idle' | 'scheduled' | 'running' = 'idle';
  #retry: Timer | undefined;

  constructor(
    deps: DurableDeliveryDeps,
    from: {
      readonly positions: readonly number[];
      readonly deliveries?: readonly RestoredDelivery[];
      /** QoS 2 messages above the positions that the client has released. */
      readonly done?: readonly StoredAt[];
    },
  ) {
    this.#deps = deps;
    this.consumer = deps.consumer;
    this.#window = new SendWindow(deps.options.inflightMax, deps.stats);
    this.#positions = [...from.positions];
    this.#behind = this.#positions.length;
    for (const at of from.done ?? []) this.#done.add(at);
    for (const { packetId, at, stage } of from.deliveries ?? []) {
      this.#window.ids.occupy(packetId, stage === 'sent' ? PacketIdState.qos2 : PacketIdState.released);
      const restored = { message: undefined, grant: undefined, lease: undefined };
      this.#inflight.set(packetId, { packetId, qos: 2, at, ...restored, stage, step: 'fine' });
      this.#restored.add(at);
    }
  }

  get room(): number {
    if (this.#phase !== 'started' || this.#resend.length > 0 || this.#link?.port.congested) return 0;
    return this.#window.quota;
  }

  get inflight(): number {
    return this.#inflight.size;
  }

  /** By message shard, the lowest offset that is not known to be delivered (D1). */
  cursors(): number[] {
    const lowest = this.#positions.map((position, shard) => (position === LIVE ? this.#deps.endOf(shard) : position));
    for (const { at, lease, stage } of this.#inflight.values()) {
      if (at === undefined || lease !== undefined || stage === 'released') continue; // the session log has it (D4)
      lowest[at.shard] = Math.min(lowest[at.shard] ?? at.offset, at.offset);
    }
    return lowest;
  }

  /** The cursor was committed: what lies below it needs no remembering. */
  committed(cursors: readonly number[]): void {
    for (const [shard, cursor] of cursors.entries()) this.#done.dropBelow(shard, cursor);
  }

  /** QoS 2 deliveries as a snapshot of the session log keeps them. */
  *kept(): Generator<KeptMessage> {
    for (const { qos, at, stage, packetId, lease } of this.#inflight.values()) {
      if (qos !== 2 || at === undefined || lease !== undefined) continue;
      yield { kind: stage === 'released' || stage === 'releasing' ? 'released' : 'sent', packetId, at };
    }
    for (const at of this.#done.values()) yield { kind: 'done', packetId: 0, at };
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
    for (const entry of this.#inflight.values()) {
      if (entry.step === 'failed') this.#noteStage(entry);
      if (entry.stage === 'released')
        sendPubrel(link, entry.packetId); // D3
      else if (entry.stage !== 'releasing') this.#resend.push(entry);
    }
    this.#goLive();
    this.#maybePump();
  }

  detach(): void {
    this.#link = undefined;
    this.#phase = 'offline';
    this.#resend = [];
    this.#outgoing = []; // all of it is in flight: a resume sends it
    this.#retry?.cancel();
    for (let shard = 0; shard < this.#positions.length; shard++)
      if (this.#positions[shard] === LIVE) this.#fallBehind(shard, this.#deps.endOf(shard));
    this.#returnLeases();
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
    if (this.#positions[at.shard] !== LIVE) return; // it is above the position, and will be read (D1)
    const link = this.#link;
    if (link === undefined || this.room === 0) {
      this.#fallBehind(at.shard, at.offset);
      return;
    }
    if (message.qos > 0 && grant.qos > 0) this.#send(link, { message, grant, at, lease: undefined });
  }

  /** Records appeared that were never handed out: a live shard has to read them. */
  onGap(shard: number, from: number): void {
    if (this.#positions[shard] !== LIVE) return;
    this.#fallBehind(shard, from);
    this.#maybePump();
  }

  deliverLease(lease: Lease): 'taken' | 'refused' {
    const link = this.#link;
    if (link === undefined || this.room === 0) return 'refused';
    lease.message.own(); // it may go to another member later
    const sent = this.#send(link, { message: lease.message, grant: lease.grant, at: lease.at, lease });
    if (sent === 'dropped') lease.owner.settled(lease.at);
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
    else if (effect === 'settled') {
      if (entry !== undefined) this.#noteCompleted(entry);
      this.#settled(packetId);
    } else if (entry !== undefined) this.#release(entry, effect);
  }

  onPubcomp(packetId: number): void {
    if (this.#window.pubcomp(packetId) !== 'settled') return;
    const entry = this.#inflight.get(packetId);
    if (entry !== undefined) this.#noteCompleted(entry);
    this.#settled(packetId);
  }

  onWritable(): void {
    this.#maybePump();
    if (this.room > 0) this.#deps.onRoom();
  }

  #release(entry: Inflight, effect: 'released' | 'repeated'): void {
    if (effect === 'repeated') {
      if (entry.stage === 'released' && this.#link !== undefined) sendPubrel(this.#link, entry.packetId);
      return;
    }
    entry.stage = 'releasing';
    this.#inflight.delete(entry.packetId); // to the back: PUBRELs are repeated in the order of PUBRECs [MQTT-4.6.0-4]
    this.#inflight.set(entry.packetId, entry);
    this.#noteStage(entry);
    if (entry.at !== undefined && entry.lease === undefined) this.#done.add(entry.at);
  }

  /** A message of no message shard is not there after a restart, and so is what is known of it; nor is a lease. */
  #noteStage(entry: Inflight): void {
    const { packetId, at, lease, stage } = entry;
    entry.step = 'fine';
    const then = stage === 'unsent' ? () => this.#onSentNoted(entry) : () => this.#onReceivedNoted(entry);
    if (at === undefined || lease !== undefined) {
      then();
      return;
    }
    const failed = () => {
      entry.step = 'failed';
    };
    this.#deps.note({ kind: stage === 'unsent' ? 'sent' : 'received', packetId, at }, { then, failed });
  }

  #onSentNoted(entry: Inflight): void {
    entry.stage = 'sent'; // D4
    this.#sendOutgoing();
    if (this.#resend[0] === entry) this.#maybePump();
  }

  #onReceivedNoted(entry: Inflight): void {
    entry.stage = 'released'; // D4
    if (this.#phase === 'started' && this.#link !== undefined) sendPubrel(this.#link, entry.packetId);
  }

  #noteCompleted({ packetId, at, lease, qos }: Inflight): void {
    if (qos !== 2 || at === undefined || lease !== undefined) return;
    this.#deps.note({ kind: 'completed', packetId, at });
    this.#done.add(at);
  }

  #settled(packetId: number): void {
    const entry = this.#inflight.get(packetId);
    this.#inflight.delete(packetId);
    if (entry?.lease) entry.lease.owner.settled(entry.at);
    else this.#deps.onProgress();
    if (this.#behind > 0 || this.#resend.length > 0) this.#maybePump();
    this.#deps.onRoom();
  }

  #returnLeases(): void {
    for (const [packetId, { lease, stage }] of this.#inflight) {
      if (lease === undefined || stage === 'releasing' || stage === 'released') continue;
      // QoS 2 stays with its member once it may have been seen [MQTT-4.8.2-4]; QoS 1 goes to another. [MQTT-4.8.2-5]
      if (stage === 'sent' && lease.message.qos === 2 && lease.grant.qos === 2) continue;
      this.#inflight.delete(packetId);
      this.#window.forget(packetId);
      lease.owner.returned(lease);
    }
  }

  #fallBehind(shard: number, position: number): void {
    this.#positions[shard] = position;
    this.#behind++;
  }

  #goLive(): void {
    for (let shard = 0; shard < this.#positions.length; shard++) {
      if (this.#positions[shard] !== this.#deps.endOf(shard)) continue;
      this.#positions[shard] = LIVE; // D2
      this.#behind--;
    }
  }

  #send(
    link: DeliveryLink,
    what: {
      readonly message: OutgoingMessage;
      readonly grant: Grant;
      readonly at: StoredAt | undefined;
      readonly lease: Lease | undefined;
    },
  ): 'sent' | 'dropped' {
    const { message, grant, at, lease } = what;
    const { port } = link;
    const qos = lowerQoS(message.qos, grant.qos);
    const frame = message.frame(shapeFor(link, message, { grant, qos }));
    if (frame.bytes > port.maximumPacketSize) {
      this.#deps.stats.droppedTooLarge++; // [MQTT-3.1.2-25]
      return 'dropped';
    }
    if (qos === 0) {
      port.outbox.writeFrame(frame, 0);
      this.#deps.stats.delivered++;
      return 'dropped'; // nothing is in flight
    }
    const packetId = this.#window.take(qos);
    if (packetId === 0) return 'dropped'; // all ids taken: the quota is smaller, so this cannot be
    this.#window.spend();
    const kept = at === undefined || lease !== undefined ? message : undefined;
    const stage = qos === 1 ? 'sent' : 'unsent';
    const entry: Inflight = { packetId, qos, at, message: kept, grant, lease, stage, step: 'fine' };
    this.#inflight.set(packetId, entry);
    this.#deps.stats.delivered++;
    if (qos === 1 && this.#outgoing.length === 0) {
      port.outbox.writeFrame(frame, packetId);
      return 'sent';
    }
    this.#outgoing.push({ entry, frame }); // D5
    if (qos === 2) this.#noteStage(entry);
    return 'sent';
  }

  #sendOutgoing(): void {
    const link = this.#link;
    while (link !== undefined) {
      const next = this.#outgoing[0];
      if (next === undefined || next.entry.stage === 'unsent') return;
      this.#outgoing.shift();
      link.port.outbox.writeFrame(next.frame, next.entry.packetId);
    }
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
    if (this.#phase !== 'started' || (this.#behind === 0 && this.#resend.length === 0)) return false;
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
      if (next?.stage === 'unsent') break; // D4: goes on when the session log has it
      if (next !== undefined) await this.#resendOne(link, next);
      else if (this.#behind > 0) await this.#readShard(link, this.#firstBehind());
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
    const { at } = entry;
    const message = entry.message ?? (at && (await this.#deps.reader.readAt(at.shard, at.offset)));
    if (this.#link !== link || this.#resend[0] !== entry) return; // the connection ended meanwhile
    this.#resend.shift();
    if (this.#inflight.get(entry.packetId) !== entry) return; // acknowledged meanwhile
    if (message === undefined) {
      this.#giveUp(entry);
      return;
    }
    // After a restart the subscriptions are asked again; one that is gone does not end what is in flight. [MQTT-3.10.4-3]
    const grant = entry.grant ?? (at && this.#deps.grantFor(message, at)) ?? { ...PLAIN_GRANT, qos: entry.qos };
    const nowMs = this.#deps.clock.wallTime();
    message.ageTo(nowMs);
    const frame = message.frame(shapeFor(link, message, { grant, qos: entry.qos }));
    this.#window.spend();
    resendPublish(link.port.outbox, frame, entry.packetId);
  }

  /** Retention has taken it: the packet id is free again. What expired meanwhile is completed. [MQTT-4.3.3-7] */
  #giveUp(entry: Inflight): void {
    this.#inflight.delete(entry.packetId);
    this.#window.ids.release(entry.packetId);
    this.#noteCompleted(entry);
    this.#deps.stats.droppedExpired++;
    this.#deps.onProgress();
  }

  #firstBehind(): number {
    for (let shard = 0; shard < this.#positions.length; shard++) {
      if (this.#positions[shard] !== LIVE) return shard;
    }
    return 0; // the caller has seen that one is behind
  }

  async #readShard(link: DeliveryLink, shard: number): Promise<void> {
    const from = this.#positions[shard] as number; // one per shard
    if (from < this.#deps.endOf(shard)) {
      const page = await this.#deps.reader.read(shard, { from, maxRecords: PAGE_RECORDS });
      if (this.#link !== link || this.#positions[shard] !== from) return; // the connection ended meanwhile
      this.#deliverPage(link, shard, page);
    }
    if (this.#positions[shard] === this.#deps.endOf(shard)) {
      this.#positions[shard] = LIVE; // D2
      this.#behind--;
      this.#deps.onProgress();
    }
  }

  #deliverPage(
    link: DeliveryLink,
    shard: number,
    page: {
      readonly messages: readonly { readonly offset: number; readonly message: OutgoingMessage }[];
      readonly next: number;
    },
  ): void {
    const end = this.#deps.endOf(shard);
    const nowMs = this.#deps.clock.wallTime();
    for (const { offset, message } of page.messages) {
      if (offset >= end) break; // kept, but not handed out yet: it will be pushed (D2)
      const at = { shard, offset };
      const grant = this.#done.has(at) || this.#restored.has(at) ? undefined : this.#deps.grantFor(message, at);
      if (grant !== undefined && grant.qos > 0 && message.qos > 0) {
        if (message.isExpiredAt(nowMs)) this.#deps.stats.droppedExpired++;
        else {
          if (this.#window.quota === 0 || link.port.congested) {
            this.#positions[shard] = offset;
            return;
          }
          message.ageTo(nowMs);
          this.#send(link, { message, grant, at, lease: undefined });
        }
      }
      this.#positions[shard] = offset + 1;
    }
    this.#positions[shard] = Math.min(page.next, end);
  }
}

function shapeFor(
  link: DeliveryLink,
  message: OutgoingMessage,
  { grant, qos }: { readonly grant: Grant; readonly qos: QoS },
) {
  const { version } = link.port;
  return {
    version,
    qos,
    retain: message.retain && grant.retainAsPublished,
    identifiers: version === 5 ? grant.subscriptionIdentifiers : undefined,
  };
}
