// One MQTT connection of the load: handshake, acknowledgements, and what arrives.
//
//   L1. Nothing is kept from a chunk after the call that brought it: the read buffer is shared (byte-stream.ts).
//   L2. Acknowledgements are gathered while a chunk is read and written once at its end. The memory for them is shared
//       by all links too, as only one reads at a time; it is replaced when the kernel has not taken it.
//   L3. What the broker does not read is bounded: above PENDING_BYTES_MAX the link is given up.

import {
  ACK_BYTES,
  type AckType,
  ClientFrameDecoder,
  type ClientPacketHandler,
  type ConnackPacket,
  type DisconnectPacket,
  encodeConnect,
  encodeDisconnect,
  encodeSubscribe,
  isFailure,
  MqttError,
  type PacketReader,
  PacketType,
  PINGREQ,
  PLAIN_PROFILE,
  type QoS,
  type ReasonCode,
  type SubscriptionAckPacket,
  writeAck,
} from '@robustmq/mqtt-broker/client';
import type { Clock } from '@robustmq/stdx/clock';
import { type ByteStream, openByteStream } from './byte-stream.js';
import type { Target } from './load-plan.js';

/** How this client introduces itself. */
export interface Introduction {
  readonly clientId: string;
  readonly session: 'clean' | 'persistent';
  /** What to subscribe to before it is ready. */
  readonly subscription: { readonly topicFilter: string; readonly qos: QoS } | undefined;
}

export interface LinkReceiver {
  /** Connected, and subscribed where that was asked for. */
  onReady(): void;
  /** A message, whose payload is [reader.at, reader.end) of reader.buffer (L1). */
  onMessage(reader: PacketReader): void;
  /** PUBACK or PUBCOMP of a PUBLISH of ours; or the refusal of it. */
  onAcked(packetId: number, outcome: 'taken' | 'refused'): void;
  /** The end of a chunk: everything that came together has been handed on. */
  onChunkEnd(): void;
  onDrain(): void;
  /** Once. After `leave` or before. */
  onClosed(reason: string): void;
}

/** What all links of a run share. */
export interface LinkDeps {
  readonly target: Target;
  readonly clock: Clock;
}

const SESSION_EXPIRY_SECONDS = 3600;
const SUBSCRIBE_PACKET_ID = 1;
const ACKS_BYTES = 128 * 1024;
const PENDING_BYTES_MAX = 64 * 1024 * 1024; // L3

let acks: Buffer = Buffer.allocUnsafeSlow(ACKS_BYTES); // L2

/** Reads a PUBLISH where it lies and makes no object of it; everything else is decoded as usual. */
class LinkDecoder extends ClientFrameDecoder {
  readonly #link: MqttLink;
  readonly #version: 4 | 5;

  constructor(link: MqttLink, version: 4 | 5) {
    super(link, version);
    this.#link = link;
    this.#version = version;
  }

  protected override decodePacket(first: number, reader: PacketReader): void {
    if (first >> 4 !== PacketType.publish) {
      super.decodePacket(first, reader);
      return;
    }
    const topicBytes = reader.u16('the topic name');
    reader.at += topicBytes;
    const qos = (first >> 1) & 3;
    const packetId = qos === 0 ? 0 : reader.u16('the packet identifier');
    if (this.#version === 5) {
      const propertyBytes = reader.variableByteInteger('the length of the properties');
      reader.at += propertyBytes;
    }
    this.#link.receive(qos, packetId, reader);
  }
}

export class MqttLink implements ClientPacketHandler {
  readonly #introduction: Introduction;
  readonly #receiver: LinkReceiver;
  readonly #deps: LinkDeps;
  readonly #decoder: LinkDecoder;
  readonly #stream: ByteStream;
  #state: 'opening' | 'introduced' | 'subscribing' | 'ready' | 'leaving' | 'closed' = 'opening';
  #reason: string | undefined;
  #acksAt = 0;
  #leaving: 'no' | 'when ready' = 'no';
  /** PUBLISHes the broker lets us have under way. */
  receiveMaximum = 65_535;
  /** Milliseconds of clock.now() at which the chunk being read arrived. */
  nowMs = 0;
  /** Seconds; 0 when the broker does not insist on a sign of life. */
  keepAlive = 0;

  constructor(introduction: Introduction, receiver: LinkReceiver, deps: LinkDeps) {
    this.#introduction = introduction;
    this.#receiver = receiver;
    this.#deps = deps;
    this.#decoder = new LinkDecoder(this, deps.target.version);
    this.#stream = openByteStream(deps.target, this);
  }

  get ready(): boolean {
    return this.#state === 'ready';
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  get pendingBytes(): number {
    return this.#stream.pendingBytes;
  }

  /** 'held' bytes must not change until onDrain. */
  write(bytes: Buffer): 'taken' | 'held' {
    const outcome = this.#stream.write(bytes);
    if (outcome === 'held' && this.#stream.pendingBytes > PENDING_BYTES_MAX) {
      this.#giveUp(`the broker does not read: ${this.#stream.pendingBytes} bytes wait`); // L3
    }
    return outcome;
  }

  ping(): void {
    if (this.ready) this.write(PINGREQ);
  }

  /** Says goodbye once the handshake is through; onClosed follows. */
  leave(): void {
    if (this.#state === 'closed' || this.#state === 'leaving') return;
    if (this.#state !== 'ready') {
      this.#leaving = 'when ready';
      return;
    }
    this.#state = 'leaving';
    const goodbye = encodeDisconnect({ reasonCode: 0x00 }, PLAIN_PROFILE[this.#deps.target.version], 'client');
    if (goodbye) this.#stream.write(goodbye);
    this.#stream.end();
  }

  /** Without a goodbye, for a broker that does not close its end. */
  destroy(): void {
    this.#stream.destroy();
  }

  /** A PUBLISH, from the decoder; acknowledged at the end of the chunk (L2). */
  receive(qos: number, packetId: number, reader: PacketReader): void {
    if (qos === 1) this.#ack(PacketType.puback, packetId);
    else if (qos === 2) this.#ack(PacketType.pubrec, packetId);
    this.#receiver.onMessage(reader);
  }

  onOpen(): void {
    const { target } = this.#deps;
    const persistent = this.#introduction.session === 'persistent';
    this.#state = 'introduced';
    this.write(
      encodeConnect({
        protocolVersion: target.version,
        clientId: this.#introduction.clientId,
        cleanStart: !persistent,
        keepAlive: 0,
        will: undefined,
        username: target.username,
        password: target.password === undefined ? undefined : Buffer.from(target.password),
        properties: persistent && target.version === 5 ? { sessionExpiryInterval: SESSION_EXPIRY_SECONDS } : undefined,
        bridge: false,
      }),
    );
  }

  onBytes(chunk: Buffer): void {
    this.nowMs = this.#deps.clock.now();
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      this.#giveUp(`the broker broke the protocol: ${error.message}`);
      return;
    }
    this.#flushAcks();
    this.#receiver.onChunkEnd();
  }

  onDrain(): void {
    this.#receiver.onDrain();
  }

  onClosed(reason: string): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#receiver.onClosed(this.#reason ?? reason);
  }

  onConnack({ reasonCode, properties }: ConnackPacket): void {
    if (isFailure(reasonCode)) {
      this.#giveUp(`the broker refused the connection with ${named(reasonCode)}`);
      return;
    }
    this.receiveMaximum = properties?.receiveMaximum ?? this.receiveMaximum;
    this.keepAlive = properties?.serverKeepAlive ?? 0;
    const { subscription } = this.#introduction;
    if (subscription === undefined) {
      this.#becomeReady();
      return;
    }
    this.#state = 'subscribing';
    const request = { ...subscription, noLocal: false, retainAsPublished: false, retainHandling: 2 } as const;
    const packet = { packetId: SUBSCRIBE_PACKET_ID, subscriptions: [request], properties: undefined };
    this.write(encodeSubscribe(packet, this.#deps.target.version));
  }

  onSuback({ reasonCodes }: SubscriptionAckPacket): void {
    const [code] = reasonCodes;
    if (code === undefined || isFailure(code)) {
      this.#giveUp(`the broker refused the subscription with ${named(code ?? 0x80)}`);
    } else {
      this.#becomeReady();
    }
  }

  onPuback(packetId: number, reasonCode: ReasonCode): void {
    this.#receiver.onAcked(packetId, isFailure(reasonCode) ? 'refused' : 'taken');
  }

  onPubrec(packetId: number, reasonCode: ReasonCode): void {
    if (isFailure(reasonCode)) this.#receiver.onAcked(packetId, 'refused');
    else this.#ack(PacketType.pubrel, packetId);
  }

  onPubrel(packetId: number): void {
    this.#ack(PacketType.pubcomp, packetId);
  }

  onPubcomp(packetId: number, reasonCode: ReasonCode): void {
    this.#receiver.onAcked(packetId, isFailure(reasonCode) ? 'refused' : 'taken');
  }

  onDisconnect({ reasonCode }: DisconnectPacket): void {
    this.#reason = `the broker sent DISCONNECT with ${named(reasonCode)}`;
  }

  onAuth(): void {
    this.#giveUp('the broker asks for an authentication exchange, which robust-bench does not speak');
  }

  onPublish(): void {
    // LinkDecoder hands PUBLISH to receive()
  }

  onUnsuback(): void {
    // never asked for
  }

  onPingresp(): void {
    // that it came is enough
  }

  #becomeReady(): void {
    this.#state = 'ready';
    this.#receiver.onReady();
    if (this.#leaving === 'when ready') this.leave();
  }

  #giveUp(reason: string): void {
    this.#reason ??= reason;
    this.#stream.destroy();
  }

  #ack(type: AckType, packetId: number): void {
    if (this.#acksAt + ACK_BYTES > acks.length) this.#flushAcks();
    this.#acksAt = writeAck(acks, this.#acksAt, { type, packetId });
  }

  #flushAcks(): void {
    if (this.#acksAt === 0) return;
    const outcome = this.write(acks.subarray(0, this.#acksAt));
    if (outcome === 'held') acks = Buffer.allocUnsafeSlow(ACKS_BYTES); // L2
    this.#acksAt = 0;
  }
}

function named(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}
