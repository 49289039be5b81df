// The reading side of a connection: packets in the order of the wire, with permission, to the session.
//
//   I1. Whatever takes time (admission, permission, a full journal) stops the decoder and the transport; the
//       packets behind it wait in a buffer of bounded size, and none overtakes another.
//   I2. What is refused still reaches the session, with the reason: its ack has a place in the order of acks.
//   I3. Without a session, packets are dropped: the connection has ended and what follows means nothing.

import type { Verdict } from '../auth/authorizer.js';
import { PINGRESP } from '../codec/encode.js';
import { FrameDecoder } from '../codec/frame-decoder.js';
import type {
  AuthPacket,
  ConnectPacket,
  DisconnectPacket,
  PublishPacket,
  ServerPacketHandler,
  SubscribePacket,
  UnsubscribePacket,
} from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { AttachedSession, SessionPort } from '../session/session-port.js';
import type { ConnectionDeps } from './connection-deps.js';
import { TopicAliases } from './topic-aliases.js';
import type { ClientTransport } from './transport.js';

/** Why reading is stopped; several may hold at once, as bits. */
export const Hold = { admission: 1, permission: 2, engine: 4, congestion: 8 } as const;
export type Hold = (typeof Hold)[keyof typeof Hold];

/** The connection, as its reading side sees it. */
export interface IntakeOwner extends SessionPort {
  onConnect(packet: ConnectPacket): void;
  onDisconnect(packet: DisconnectPacket): void;
  /** The decoder or a rule of the protocol refuses what was read; nothing is read after it. */
  refuse(error: unknown): void;
}

export class Intake implements ServerPacketHandler {
  readonly #owner: IntakeOwner;
  readonly #transport: ClientTransport;
  readonly #deps: ConnectionDeps;
  readonly #decoder: FrameDecoder;
  #holds = 0;
  #aliases: TopicAliases | undefined;
  /** Set from CONNACK until the connection ends (I3). */
  session: AttachedSession | undefined;

  constructor(owner: IntakeOwner, transport: ClientTransport, deps: ConnectionDeps) {
    this.#owner = owner;
    this.#transport = transport;
    this.#deps = deps;
    this.#decoder = new FrameDecoder(this, deps.limits.decoder);
  }

  /** The version CONNECT named, as far as it was read; undefined before. */
  get version() {
    return this.#decoder.version;
  }

  push(chunk: Buffer): void {
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.#owner.refuse(error);
    }
  }

  /** CONNECT was accepted: packets may be as large as configured, and go to the session. */
  accept(session: AttachedSession): void {
    this.session = session;
    this.#decoder.acceptConnect();
  }

  isHeldBy(hold: Hold): boolean {
    return (this.#holds & hold) !== 0;
  }

  hold(hold: Hold): void {
    if (this.#holds === 0) {
      this.#decoder.pause();
      this.#transport.pause();
    }
    this.#holds |= hold;
  }

  unhold(hold: Hold): void {
    if ((this.#holds & hold) === 0) return;
    this.#holds &= ~hold;
    if (this.#holds !== 0) return;
    try {
      this.#decoder.resume(); // what waited may make somebody hold again
    } catch (error) {
      this.#owner.refuse(error);
    }
    if (this.#holds === 0) this.#transport.resume();
  }

  onConnect(packet: ConnectPacket): void {
    this.#deps.counters.packetsReceived++;
    this.#owner.onConnect(packet);
  }

  onPublish(packet: PublishPacket): void {
    const { session } = this;
    if (session === undefined) return; // I3
    const { counters, permission, limits } = this.#deps;
    counters.packetsReceived++;
    counters.publishReceived++;
    if (packet.qos > limits.maximumQoS) throw qosNotSupported(packet.qos, limits.maximumQoS);
    const publish = packet.properties === undefined ? packet : this.#resolveAlias(packet);
    const verdict = permission.mayPublish(this.#owner, publish);
    if (verdict === 'allow') session.onPublish(publish);
    else if (verdict === 'deny') this.#refusePublish(session, publish);
    else {
      this.#afterPermission(verdict, (live, settled) => {
        if (settled === 'allow') live.onPublish(publish);
        else this.#refusePublish(live, publish);
      });
    }
  }

  onPuback(packetId: number, reason: ReasonCode): void {
    this.#count()?.onPuback(packetId, reason);
  }

  onPubrec(packetId: number, reason: ReasonCode): void {
    this.#count()?.onPubrec(packetId, reason);
  }

  onPubrel(packetId: number, reason: ReasonCode): void {
    this.#count()?.onPubrel(packetId, reason);
  }

  onPubcomp(packetId: number, reason: ReasonCode): void {
    this.#count()?.onPubcomp(packetId, reason);
  }

  onSubscribe(packet: SubscribePacket): void {
    const session = this.#count();
    if (session === undefined) return;
    const verdicts = packet.subscriptions.map((request) => this.#deps.permission.maySubscribe(this.#owner, request));
    const settled = verdicts.filter((verdict) => typeof verdict === 'string');
    if (settled.length === verdicts.length) this.#subscribe(session, { packet, verdicts: settled });
    else this.#afterPermission(Promise.all(verdicts), (live, all) => this.#subscribe(live, { packet, verdicts: all }));
  }

  onUnsubscribe(packet: UnsubscribePacket): void {
    this.#count()?.onUnsubscribe(packet);
  }

  onPingreq(): void {
    if (this.#count() !== undefined) this.#owner.outbox.write(PINGRESP); // [MQTT-3.12.4-1]
  }

  onDisconnect(packet: DisconnectPacket): void {
    if (this.#count() !== undefined) this.#owner.onDisconnect(packet);
  }

  onAuth(_packet: AuthPacket): void {
    throw new MqttError('PROTOCOL_ERROR', 'AUTH, and no method of authentication is in use', {
      clause: 'MQTT-4.12.0-6',
    });
  }

  #count(): AttachedSession | undefined {
    this.#deps.counters.packetsReceived++;
    return this.session;
  }

  #resolveAlias(packet: PublishPacket): PublishPacket {
    if (packet.properties?.topicAlias === undefined) return packet;
    this.#aliases ??= new TopicAliases(this.#deps.limits.topicAliasMaximum);
    return this.#aliases.resolve(packet);
  }

  #refusePublish(session: AttachedSession, packet: PublishPacket): void {
    this.#deps.counters.publishRefused++;
    session.onPublish(packet, ReasonCode.notAuthorized); // I2
  }

  #subscribe(
    session: AttachedSession,
    { packet, verdicts }: { readonly packet: SubscribePacket; readonly verdicts: readonly Verdict[] },
  ): void {
    const refused = verdicts.filter((verdict) => verdict === 'deny').length;
    if (refused === 0) {
      session.onSubscribe(packet);
      return;
    }
    this.#deps.counters.subscribeRefused += refused;
    session.onSubscribe(
      packet,
      verdicts.map((verdict) => (verdict === 'allow' ? undefined : ReasonCode.notAuthorized)),
    );
  }

  /** Nothing behind the packet is decoded until the answer is there (I1). The answer never rejects. */
  #afterPermission<Answer>(answer: Promise<Answer>, go: (session: AttachedSession, answer: Answer) => void): void {
    this.hold(Hold.permission);
    void answer.then((settled) => {
      if (this.session !== undefined) go(this.session, settled);
      this.unhold(Hold.permission);
    });
  }
}

function qosNotSupported(qos: number, maximum: number): MqttError {
  return new MqttError('PROTOCOL_ERROR', `QoS ${qos} is above the maximum of ${maximum}`, {
    clause: 'MQTT-3.2.2-11',
    reasonCode: ReasonCode.qosNotSupported,
  });
}
