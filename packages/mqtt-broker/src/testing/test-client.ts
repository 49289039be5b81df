// A client that speaks packets and believes nothing: what a test wants to send it sends, also what is wrong.

import { ClientFrameDecoder } from '../codec/client-frame-decoder.js';
import {
  encodeAck,
  encodeAuth,
  encodeConnect,
  encodeDisconnect,
  encodeSubscribe,
  encodeUnsubscribe,
  PINGREQ,
  PLAIN_PROFILE,
} from '../codec/encode.js';
import type {
  AckPacket,
  AckType,
  AuthPacket,
  ClientPacketHandler,
  ConnackPacket,
  ConnectPacket,
  DisconnectPacket,
  Properties,
  ProtocolVersion,
  PublishPacket,
  SubscriptionAckPacket,
  SubscriptionRequest,
} from '../codec/packets.js';
import { PacketType } from '../codec/packets.js';
import { encodePublish } from '../codec/publish-frame.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { MemoryLink } from './memory-transport.js';

export type ReceivedPacket =
  | ({ readonly type: 'connack' } & ConnackPacket)
  | ({ readonly type: 'publish' } & PublishPacket)
  | Named<'puback' | 'pubrec' | 'pubrel' | 'pubcomp', AckPacket>
  | Named<'suback' | 'unsuback', SubscriptionAckPacket>
  | { readonly type: 'pingresp' }
  | ({ readonly type: 'disconnect' } & DisconnectPacket)
  | ({ readonly type: 'auth' } & AuthPacket);

/** One member of the union per name, so that a comparison of `type` narrows it. */
type Named<Type extends string, Packet> = Type extends string ? { readonly type: Type } & Packet : never;

export type Received<Type extends ReceivedPacket['type']> = Extract<ReceivedPacket, { type: Type }>;

export type ConnectFields = Partial<Omit<ConnectPacket, 'protocolVersion' | 'password'>> & {
  readonly password?: string | Buffer;
};

export type PublishFields = Partial<Omit<PublishPacket, 'payload' | 'topicName'>> & {
  readonly topicName: string;
  readonly payload?: string | Buffer;
};

type Outcome = { readonly kind: 'packet'; readonly packet: ReceivedPacket } | { readonly kind: 'closed' };

export class TestClient {
  readonly version: ProtocolVersion;
  readonly link: MemoryLink;
  readonly #decoder: ClientFrameDecoder;
  /** What has come and was not asked for yet, in order. */
  readonly #received: ReceivedPacket[] = [];
  #waiting: ((outcome: Outcome) => void)[] = [];
  #closed: 'no' | 'yes' = 'no';
  #packetId = 0;

  constructor(link: MemoryLink, version: ProtocolVersion) {
    this.link = link;
    this.version = version;
    this.#decoder = new ClientFrameDecoder(
      receiver((packet) => this.#take(packet)),
      version,
    );
    link.onBytes((bytes) => this.#decoder.push(bytes));
    void link.closed.then(() => {
      this.#closed = 'yes';
      for (const waiting of this.#waiting) waiting({ kind: 'closed' });
      this.#waiting = [];
    });
  }

  /** Packets that have come and were not taken by receive(). */
  get pending(): readonly ReceivedPacket[] {
    return this.#received;
  }

  /** Resolves when the broker has closed the connection. */
  get closed(): Promise<void> {
    return this.link.closed;
  }

  get isOpen(): boolean {
    return this.#closed === 'no';
  }

  /** The next packet, which must be of the type. Throws when another comes, or the connection closes. */
  async receive<Type extends ReceivedPacket['type']>(type: Type): Promise<Received<Type>> {
    const outcome = await this.#next();
    if (outcome.kind === 'closed') throw new UnexpectedPacket(`expected ${type}, but the connection was closed`);
    if (outcome.packet.type === type) return outcome.packet as Received<Type>; // its type was just compared
    throw new UnexpectedPacket(`expected ${type}, but got ${JSON.stringify(outcome.packet)}`);
  }

  send(bytes: Buffer): void {
    this.link.send(bytes);
  }

  sendConnect(fields: ConnectFields = {}): void {
    const { password } = fields;
    this.send(
      encodeConnect({
        clientId: 'test-client',
        cleanStart: true,
        keepAlive: 0,
        will: undefined,
        username: undefined,
        properties: undefined,
        bridge: false,
        ...fields,
        protocolVersion: this.version,
        password: typeof password === 'string' ? Buffer.from(password) : password,
      }),
    );
  }

  /** Sends CONNECT and returns the answer. */
  connect(fields: ConnectFields = {}): Promise<Received<'connack'>> {
    this.sendConnect(fields);
    return this.receive('connack');
  }

  /** Sends PUBLISH; at QoS 1 and 2 with the packet id given, or the next one. Returns the packet id. */
  publish(fields: PublishFields): number {
    const { payload, qos = 0 } = fields;
    const packetId = qos === 0 ? 0 : (fields.packetId ?? this.nextPacketId());
    const packet = { retain: false, dup: false, properties: undefined, ...fields, qos, packetId };
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : (payload ?? Buffer.alloc(0));
    this.send(encodePublish({ ...packet, payload: bytes }, this.version));
    return packetId;
  }

  /** Subscribes to filters, all with the same options, and returns the answer. */
  async subscribe(
    topicFilters: string | readonly string[],
    options: Partial<Omit<SubscriptionRequest, 'topicFilter'>> & { readonly properties?: Properties } = {},
  ): Promise<Received<'suback'>> {
    const { properties, ...request } = options;
    const subscriptions = [topicFilters].flat().map((topicFilter) => ({
      topicFilter,
      qos: 0 as const,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...request,
    }));
    this.send(encodeSubscribe({ packetId: this.nextPacketId(), subscriptions, properties }, this.version));
    return await this.receive('suback');
  }

  async unsubscribe(topicFilters: string | readonly string[]): Promise<Received<'unsuback'>> {
    const packet = { packetId: this.nextPacketId(), topicFilters: [topicFilters].flat(), properties: undefined };
    this.send(encodeUnsubscribe(packet, this.version));
    return await this.receive('unsuback');
  }

  ack(type: AckType, packetId: number, reasonCode: ReasonCode = ReasonCode.success): void {
    const bytes = encodeAck(type, { packetId, reasonCode }, PLAIN_PROFILE[this.version]);
    if (bytes) this.send(bytes);
  }

  puback(packetId: number): void {
    this.ack(PacketType.puback, packetId);
  }

  ping(): void {
    this.send(PINGREQ);
  }

  auth(packet: AuthPacket): void {
    const bytes = encodeAuth(packet, PLAIN_PROFILE[5]);
    if (bytes) this.send(bytes);
  }

  disconnect(packet: DisconnectPacket = { reasonCode: ReasonCode.normalDisconnection }): void {
    const bytes = encodeDisconnect(packet, PLAIN_PROFILE[this.version], 'client');
    if (bytes) this.send(bytes);
  }

  nextPacketId(): number {
    this.#packetId = (this.#packetId % 65_535) + 1;
    return this.#packetId;
  }

  #next(): Promise<Outcome> {
    const packet = this.#received.shift();
    if (packet !== undefined) return Promise.resolve({ kind: 'packet', packet });
    if (this.#closed === 'yes') return Promise.resolve({ kind: 'closed' });
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #take(packet: ReceivedPacket): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting({ kind: 'packet', packet });
    else this.#received.push(packet);
  }
}

/** What a test did not expect; its message is the failure. */
export class UnexpectedPacket extends Error {
  override readonly name = 'UnexpectedPacket';
}

function receiver(take: (packet: ReceivedPacket) => void): ClientPacketHandler {
  const ack =
    (type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp') =>
    (packetId: number, reasonCode: ReasonCode, properties: Properties | undefined): void =>
      take({ type, packetId, reasonCode, properties });
  return {
    onConnack: (packet) => take({ type: 'connack', ...packet }),
    onPublish: (packet) => take({ type: 'publish', ...packet, payload: Buffer.from(packet.payload) }),
    onPuback: ack('puback'),
    onPubrec: ack('pubrec'),
    onPubrel: ack('pubrel'),
    onPubcomp: ack('pubcomp'),
    onSuback: (packet) => take({ type: 'suback', ...packet }),
    onUnsuback: (packet) => take({ type: 'unsuback', ...packet }),
    onPingresp: () => take({ type: 'pingresp' }),
    onDisconnect: (packet) => take({ type: 'disconnect', ...packet }),
    onAuth: (packet) => take({ type: 'auth', ...packet }),
  };
}
