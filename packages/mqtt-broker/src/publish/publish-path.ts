// The path of a message, from the packet to the receivers and back to the ack.
//
// Invariants:
//   P1. A QoS 1 or 2 message is answered with success only when it is kept as its durable receivers need it:
//       in its message shard when a durable session wants it, in the retained shard when it is retained (D8).
//   P2. When keeping it fails nothing was promised: MQTT 5 gets a reason code, MQTT 3 is closed without an
//       ack, and the client sends again.
//   P3. A QoS 2 packet is published once until PUBREL, however often it is sent. [MQTT-4.3.3-10]
//   P4. Messages of one publisher to one topic leave in the order they came: one that waits for storage is
//       followed by those that need none. Across QoS the protocol asks for no order [MQTT-4.6.0-6]; we keep it
//       all the same, because clients rely on it. A publisher of QoS 0 alone never waits for a disk.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { type Producer, StorageError } from '@robustmq/storage-adapter';
import type { PublishPacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import { encodeStoredMessage, type Message } from '../codec/stored-message.js';
import type { Dispatcher } from '../deliver/dispatcher.js';
import { OutgoingMessage } from '../deliver/outgoing-message.js';
import type { StoredAt } from '../deliver/session-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import { MqttError } from '../errors.js';
import type { RetainedStore } from '../retained/retained-store.js';
import type { MatchResult } from '../route/subscription-index.js';
import type { Session } from '../session/session.js';
import type { LocalMessage, SessionPort } from '../session/session-port.js';
import type { AckQueue, PendingAck } from './ack-queue.js';
import type { MessageLog, MessageLogHandler } from './message-log.js';
import { Publication } from './publication.js';
import type { HeldPublisher, PublisherBrake } from './publisher-brake.js';

/** A connection as far as what it publishes is concerned. */
export interface PublisherLink extends HeldPublisher {
  readonly session: Session;
  readonly port: SessionPort;
  readonly acks: AckQueue;
}

export interface PublishPathDeps {
  readonly options: ResolvedEngineOptions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dispatcher: Dispatcher;
  readonly retained: RetainedStore;
  readonly brake: PublisherBrake;
}

export class PublishPath implements Omit<MessageLogHandler<Publication>, 'onGap'> {
  readonly #deps: PublishPathDeps;
  #log: MessageLog<Publication> | undefined;
  received = 0;
  stored = 0;

  constructor(deps: PublishPathDeps) {
    this.#deps = deps;
  }

  /** The log calls back here, so it is made after. */
  writeTo(log: MessageLog<Publication>): void {
    this.#log = log;
  }

  /** A PUBLISH of a client that may publish it. */
  receive(link: PublisherLink, packet: PublishPacket): void {
    this.received++;
    const message = this.#messageOf(link, packet);
    const match = this.#deps.dispatcher.match(packet.topicName);
    if (link.acks.length === 0 && !packet.retain && this.#isFree(packet, match)) {
      this.#publishFree(link, packet, { message, match });
      return;
    }
    if (packet.qos === 0) {
      this.#publish(new Publication(message, {}), link.acks.length);
      return;
    }
    const publication = new Publication(message, { packetId: packet.packetId, session: link.session, acks: link.acks });
    if (packet.qos === 2) link.session.incoming.set(packet.packetId, { kind: 'storing', ack: publication });
    const waitingBefore = link.acks.length;
    link.acks.push(publication);
    this.#publish(publication, waitingBefore);
    this.#deps.brake.check(link);
  }

  /**
   * A retained QoS 2 packet, sent again after a restart that found it in its message shard: its append to the
   * retained shard may have been lost, so it is retained (again) before it is answered (P1). When that fails the
   * client is disconnected: a PUBREC that refuses would free the packet id of a message that is kept.
   */
  retainAgain(link: PublisherLink, packet: PublishPacket): void {
    const { retained, clock } = this.#deps;
    const message = this.#messageOf(link, packet);
    message.own();
    message.stamp(clock.wallTime());
    if (retained.admits(message) === 'full') {
      link.acks.answer(packet.packetId, 2, ReasonCode.success); // kept, and not retained: counted there
      return;
    }
    const ack: PendingAck = { packetId: packet.packetId, qos: 2, answer: undefined, acks: link.acks };
    link.acks.push(ack);
    retained.keep(message).then(
      () => {
        const known = link.session.incoming.get(packet.packetId);
        if (known?.kind === 'restored') link.session.incoming.set(packet.packetId, { ...known, kind: 'received' });
        ack.answer = ReasonCode.success;
        link.acks.release();
      },
      (error: unknown) => link.port.disconnect(reasonOf(error)),
    );
  }

  /** A message of the broker itself or of code around it. */
  publishLocal(message: LocalMessage): Promise<void> {
    this.received++;
    const nowMs = this.#deps.clock.wallTime();
    const { messageExpiryInterval, properties } = message;
    const expiresAtMs = messageExpiryInterval === undefined ? undefined : nowMs + messageExpiryInterval * 1000;
    const fields = { ...message, properties, publisherId: '', publishedAtMs: nowMs, expiresAtMs };
    return this.#publishAndWait(new OutgoingMessage(fields, nowMs, 'chunk'), undefined);
  }

  /** A will: counted once for this producer, also when a restart fires it again. */
  publishWill(message: Message, producer: Producer): Promise<void> {
    return this.#publishAndWait(new OutgoingMessage(message, message.publishedAtMs, 'own'), producer);
  }

  onStored(publication: Publication, shard: number, offset: number): void {
    const { message } = publication;
    const { dispatcher, brake } = this.#deps;
    publication.at = { shard, offset };
    this.stored++;
    dispatcher.dispatch(message, dispatcher.match(message.topicName), publication.at);
    this.#settle(publication);
    brake.release();
  }

  onRepeated(publication: Publication, shard: number, offset: number): void {
    publication.at = { shard, offset };
    this.#settle(publication);
    this.#deps.brake.release();
  }

  onFollowed(publication: Publication): void {
    const { dispatcher } = this.#deps;
    dispatcher.dispatch(publication.message, dispatcher.match(publication.message.topicName));
    this.#settle(publication);
  }

  onFailed(publication: Publication, error: unknown): void {
    publication.failure = error;
    this.#deps.logger.error(
      { error: errorMessage(error), topic: publication.message.topicName },
      'a message could not be stored; its publisher is told, and it is not delivered',
    );
    this.#settle(publication);
    this.#deps.brake.release();
  }

  /** Nobody durable wants it: it needs no storage. */
  #isFree({ qos }: PublishPacket, match: MatchResult<Session>): boolean {
    return qos === 0 || this.#deps.dispatcher.audience(match).kind === 'transient';
  }

  /** Most messages: delivered and answered in this turn, and forgotten. */
  #publishFree(
    link: PublisherLink,
    { qos, packetId }: PublishPacket,
    { message, match }: { readonly message: OutgoingMessage; readonly match: MatchResult<Session> },
  ): void {
    const { dispatcher } = this.#deps;
    let reason: ReasonCode = ReasonCode.success;
    if (!match.isEmpty || dispatcher.hasListeners()) dispatcher.dispatch(message, match);
    else reason = ReasonCode.noMatchingSubscribers;
    if (qos === 0) return;
    if (qos === 2) link.session.incoming.set(packetId, RECEIVED);
    link.acks.answer(packetId, qos, reason);
  }

  /** `waitingBefore`: answers of the same publisher that are still due. */
  #publish(publication: Publication, waitingBefore: number, producer?: Producer): void {
    const { message } = publication;
    const { dispatcher, retained } = this.#deps;
    if (message.retain && !this.#retain(publication, retained)) return;
    const match = dispatcher.match(message.topicName);
    const { shard, kind } = dispatcher.audience(match);
    if (message.qos > 0 && kind === 'durable') this.#store(publication, shard, producer);
    else if (waitingBefore > 0 && this.#openLog().isBusy(shard))
      this.#follow(shard, publication); // P4
    else {
      if (!match.isEmpty || dispatcher.hasListeners()) dispatcher.dispatch(message, match);
      else if (publication.answer === undefined && !message.retain)
        publication.answer = ReasonCode.noMatchingSubscribers;
      if (publication.pending === 0) this.#settleNow(publication);
    }
  }

  #store(publication: Publication, shard: number, producer: Producer | undefined): void {
    const { message, session, packetId } = publication;
    message.own();
    message.stamp(this.#deps.clock.wallTime());
    publication.pending++;
    // Only a durable publisher comes back with the same packet id (P3 across a restart).
    const origin =
      message.qos === 2 && session?.lifetime === 'durable' ? { packetId, sessionEpoch: session.epoch } : undefined;
    const record = { payload: encodeStoredMessage(message, origin) };
    if (producer === undefined) this.#openLog().enqueue(shard, record, publication);
    else this.#openLog().enqueueOnce(shard, record, { publication, producer });
  }

  #follow(shard: number, publication: Publication): void {
    publication.message.own();
    publication.pending++;
    this.#openLog().follow(shard, publication);
  }

  /** False when the message is refused because no more can be retained. */
  #retain(publication: Publication, retained: RetainedStore): boolean {
    const { message } = publication;
    message.own();
    message.stamp(this.#deps.clock.wallTime());
    const verdict = retained.admits(message);
    if (verdict === 'full') {
      if (message.qos === 0 || publication.acks?.version !== 5) return true; // delivered, not retained; counted there
      publication.answer = ReasonCode.quotaExceeded;
      this.#settleNow(publication);
      return false;
    }
    publication.pending++;
    retained.keep(message).then(
      () => this.#settle(publication),
      (error: unknown) => {
        publication.failure ??= error;
        this.#settle(publication);
      },
    );
    return true;
  }

  /** One of the appends has ended. */
  #settle(publication: Publication): void {
    publication.pending--;
    if (publication.pending === 0) this.#settleNow(publication);
  }

  #settleNow(publication: Publication): void {
    const { failure, waiter, acks, packetId, message } = publication;
    if (failure !== undefined) publication.answer = reasonOf(failure); // P2
    publication.answer ??= ReasonCode.success; // P1
    if (message.qos === 2) settleIncoming(publication);
    if (failure !== undefined) waiter?.reject(failure);
    else waiter?.resolve();
    if (acks === undefined || packetId === 0) return;
    if (failure !== undefined && acks.version !== 5)
      acks.disconnect(publication.answer); // P2
    else acks.release();
  }

  #publishAndWait(message: OutgoingMessage, producer: Producer | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#publish(new Publication(message, { waiter: { resolve, reject } }), 1, producer);
    });
  }

  /** The time is asked for when it matters: a message that is neither stored nor expires needs none. */
  #messageOf(link: PublisherLink, packet: PublishPacket): OutgoingMessage {
    const { topicName, payload, qos, retain, properties } = packet;
    const seconds = properties?.messageExpiryInterval;
    const nowMs = seconds === undefined ? 0 : this.#deps.clock.wallTime();
    const expiresAtMs = seconds === undefined ? undefined : nowMs + seconds * 1000;
    const { clientId: publisherId } = link.session;
    const fields = { topicName, payload, qos, retain, properties, publisherId, publishedAtMs: nowMs, expiresAtMs };
    return new OutgoingMessage(fields, nowMs, 'chunk');
  }

  #openLog(): MessageLog<Publication> {
    if (this.#log === undefined) throw new MqttError('ENGINE_CLOSED', 'the engine has not started');
    return this.#log;
  }
}

/** A QoS 2 packet whose message lies nowhere. */
const RECEIVED = { kind: 'received', at: undefined } as const;

function settleIncoming(publication: Publication): void {
  const { session, packetId, answer, at } = publication;
  if (session === undefined) return;
  const incoming = session.incoming.get(packetId);
  if (incoming?.kind !== 'storing' || incoming.ack !== publication) return;
  // A PUBREC that refuses ends the packet id (MQTT5 §4.3.3); so does a close, since nothing was kept.
  if (answer !== undefined && answer >= ReasonCode.unspecifiedError) session.incoming.take(packetId);
  else session.incoming.set(packetId, { kind: 'received', at: at as StoredAt | undefined }); // as set by onStored
}

/** What a publisher is told when its message was not kept. */
function reasonOf(failure: unknown): ReasonCode {
  if (failure instanceof MqttError) return failure.reasonCode;
  if (!(failure instanceof StorageError)) return ReasonCode.unspecifiedError;
  switch (failure.code) {
    case 'DISK_FULL':
    case 'OVERLOADED':
    case 'RECORD_TOO_LARGE':
      return ReasonCode.quotaExceeded;
    default:
      return ReasonCode.implementationSpecificError;
  }
}
