// One connection of a session: where its packets come in and its answers go out.
//
//   K1. After retire() the link is dead: what the old connection still brings has no effect, so that a client
//       that was taken over cannot touch the session of the one that took over. [MQTT-3.1.4-3]

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { ackFirstByte, encodeAck, type WireProfile } from '../codec/encode.js';
import { PacketType, type PublishPacket, type SubscribePacket, type UnsubscribePacket } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { DeliveryLink } from '../deliver/session-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import { AckQueue } from '../publish/ack-queue.js';
import type { PublishPath } from '../publish/publish-path.js';
import type { HeldPublisher } from '../publish/publisher-brake.js';
import { checkTopicName } from '../route/topic-filter.js';
import type { Session } from './session.js';
import type { AttachedSession, DetachReason, SessionPort } from './session-port.js';
import type { SubscriptionDesk } from './subscription-desk.js';

export interface SessionLinkDeps {
  readonly logger: Logger;
  readonly options: ResolvedEngineOptions;
  readonly publishPath: PublishPath;
  readonly desk: SubscriptionDesk;
  /** PUBREL is kept (for a durable session), then `then` runs. */
  readonly releaseIncoming: (session: Session, packetId: number, then: () => void) => void;
  readonly onStart: (session: Session) => void;
  readonly onDetach: (link: SessionLink, reason: DetachReason) => Promise<void>;
}

const HOLDS = { storage: 1, requests: 2 } as const;

/** SUBSCRIBE and UNSUBSCRIBE of one connection under way. */
const REQUESTS_MAX = 64;

const PUBCOMP_FIRST_BYTE = ackFirstByte(PacketType.pubcomp);

export class SessionLink implements AttachedSession, DeliveryLink, HeldPublisher {
  readonly session: Session;
  readonly port: SessionPort;
  readonly profile: WireProfile;
  readonly acks: AckQueue;
  readonly #deps: SessionLinkDeps;
  /** A shorter topic name is within every limit: most need no look. */
  readonly #topicLengthUnchecked: number;
  #state: 'attached' | 'started' | 'retired' = 'attached';
  /** SUBSCRIBE and UNSUBSCRIBE that wait for meta. */
  #requests = 0;
  /** Why the socket is not read. */
  #holds = 0;

  constructor(
    session: Session,
    connection: { readonly port: SessionPort; readonly profile: WireProfile },
    deps: SessionLinkDeps,
  ) {
    this.session = session;
    this.port = connection.port;
    this.profile = connection.profile;
    this.#deps = deps;
    const { topicBytesMax, topicLevelsMax } = deps.options;
    this.#topicLengthUnchecked = Math.min(topicLevelsMax, Math.floor(topicBytesMax / 3)); // three bytes a character
    this.acks = new AckQueue(this);
  }

  start(): void {
    if (this.#state !== 'attached') return; // K1
    this.#state = 'started';
    this.#adoptIncoming();
    this.session.delivery.start();
    this.#deps.onStart(this.session);
  }

  onPublish(packet: PublishPacket, refusal?: ReasonCode): void {
    if (this.#state === 'retired') return; // K1
    const { topicName, qos } = packet;
    if (topicName.length >= this.#topicLengthUnchecked && !this.#isTopicAllowed(topicName)) {
      this.#refuseTopic(packet);
    } else if (qos === 0) {
      if (refusal === undefined) this.#deps.publishPath.receive(this, packet);
    } else if (qos === 1) {
      if (refusal !== undefined) this.acks.answer(packet.packetId, 1, refusal);
      else if (this.#isWithinReceiveMaximum()) this.#deps.publishPath.receive(this, packet);
    } else this.#onPublishQoS2(packet, refusal);
  }

  onPuback(packetId: number, reason: ReasonCode): void {
    if (this.#state === 'started') this.session.delivery.onPuback(packetId, reason);
  }

  onPubrec(packetId: number, reason: ReasonCode): void {
    if (this.#state === 'started') this.session.delivery.onPubrec(packetId, reason);
  }

  onPubcomp(packetId: number, _reason: ReasonCode): void {
    if (this.#state === 'started') this.session.delivery.onPubcomp(packetId);
  }

  onPubrel(packetId: number, _reason: ReasonCode): void {
    if (this.#state === 'retired') return; // K1
    const incoming = this.session.incoming.get(packetId);
    if (incoming?.kind === 'storing') {
      // PUBREL before PUBREC: the client breaks the handshake. [MQTT-4.3.3-4]
      this.port.disconnect(ReasonCode.protocolError, 'PUBREL for a packet id that PUBREC has not answered');
    } else if (incoming === undefined) this.#answerPubrel(packetId, ReasonCode.packetIdentifierNotFound);
    else {
      this.#deps.releaseIncoming(this.session, packetId, () => this.#answerPubrel(packetId, ReasonCode.success));
    }
  }

  onSubscribe(packet: SubscribePacket, refusals?: readonly (ReasonCode | undefined)[]): void {
    if (this.#state === 'retired') return; // K1
    this.#serve(this.#deps.desk.subscribe(this, packet, refusals));
  }

  onUnsubscribe(packet: UnsubscribePacket): void {
    if (this.#state === 'retired') return; // K1
    this.#serve(this.#deps.desk.unsubscribe(this, packet));
  }

  onWritable(): void {
    if (this.#state === 'started') this.session.delivery.onWritable();
  }

  async detach(reason: DetachReason): Promise<void> {
    if (this.#state === 'retired') return; // K1
    await this.#deps.onDetach(this, reason);
  }

  /** K1. */
  retire(): void {
    this.#state = 'retired';
  }

  holdReading(reason: 'storage' | 'requests'): void {
    if (this.#holds === 0) this.port.pauseReading();
    this.#holds |= HOLDS[reason];
  }

  releaseReading(reason: 'storage' | 'requests'): void {
    if ((this.#holds & HOLDS[reason]) === 0) return;
    this.#holds &= ~HOLDS[reason];
    if (this.#holds === 0) this.port.resumeReading();
  }

  /** A client that asks faster than meta keeps is read from no faster. */
  #serve(request: Promise<void>): void {
    this.#requests++;
    if (this.#requests === REQUESTS_MAX) this.holdReading('requests');
    request
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#requests--;
        if (this.#requests === REQUESTS_MAX / 2) this.releaseReading('requests');
      });
  }

  #fail(error: unknown): void {
    this.#deps.logger.error(
      { clientId: this.session.clientId, error: errorMessage(error) },
      'a packet could not be served',
    );
    this.port.disconnect(ReasonCode.unspecifiedError);
  }

  #onPublishQoS2(packet: PublishPacket, refusal: ReasonCode | undefined): void {
    const { packetId } = packet;
    const { incoming } = this.session;
    const known = incoming.get(packetId);
    if (known?.kind === 'restored' && packet.retain) this.#deps.publishPath.retainAgain(this, packet);
    else if (known?.kind === 'received' || known?.kind === 'restored')
      this.acks.answer(packetId, 2, ReasonCode.success); // sent again: answered again
    else if (known !== undefined)
      return; // its answer is due already
    else if (refusal !== undefined) this.acks.answer(packetId, 2, refusal);
    else if (incoming.size >= this.#deps.options.receiveMaximum) this.#disconnectForReceiveMaximum();
    else if (this.#isWithinReceiveMaximum()) this.#deps.publishPath.receive(this, packet);
  }

  /** False when the client had no right to send another packet, and is disconnected. [MQTT-3.3.4-7] */
  #isWithinReceiveMaximum(): boolean {
    if (this.port.version !== 5) return true; // MQTT 3 knows no such bound; the brake on publishers holds it
    if (this.acks.waitingQoS1 + this.session.incoming.size < this.port.receiveMaximumOfServer) return true;
    this.#disconnectForReceiveMaximum();
    return false;
  }

  #disconnectForReceiveMaximum(): void {
    this.port.disconnect(ReasonCode.receiveMaximumExceeded, 'more packets are unacknowledged than was allowed'); // [MQTT-3.3.4-9]
  }

  #isTopicAllowed(topicName: string): boolean {
    const { topicBytesMax: bytesMax, topicLevelsMax: levelsMax } = this.#deps.options;
    return checkTopicName(topicName, { bytesMax, levelsMax }) === undefined;
  }

  #refuseTopic({ packetId, qos }: PublishPacket): void {
    const reason = ReasonCode.topicNameInvalid;
    if (qos === 0 || this.port.version !== 5)
      this.port.disconnect(reason, 'the topic name is too long or has too many levels');
    else this.acks.answer(packetId, qos, reason);
  }

  /** Packets of the connection before that still wait for storage are answered here. */
  #adoptIncoming(): void {
    for (const [, packet] of this.session.incoming.entries())
      if (packet.kind === 'storing') this.acks.adopt(packet.ack);
  }

  #answerPubrel(packetId: number, reasonCode: ReasonCode): void {
    if (this.#state === 'retired') return; // K1
    if (reasonCode === ReasonCode.success || this.port.version !== 5) {
      this.port.outbox.writeAck(PUBCOMP_FIRST_BYTE, packetId);
      return;
    }
    const bytes = encodeAck(PacketType.pubcomp, { packetId, reasonCode }, this.profile);
    if (bytes) this.port.outbox.write(bytes);
  }
}
