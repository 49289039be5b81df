// The far side of a SessionPort: a client that speaks decoded packets, over the real outbox and codec.

import type { Clock } from '@robustmq/stdx/clock';
import { ClientFrameDecoder } from '../src/codec/client-frame-decoder.js';
import type { ConnectPacket, Properties, PublishPacket, QoS, SubscriptionRequest, Will } from '../src/codec/packets.js';
import type { ReasonCode } from '../src/codec/reason-codes.js';
import { Outbox } from '../src/connection/outbox.js';
import { WriteTurn } from '../src/connection/write-turn.js';
import type { AttachedSession, DetachReason, SessionEngine, SessionPort } from '../src/session/session-port.js';

export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly properties: Properties | undefined;
}

export interface ClientOptions {
  readonly clientId: string;
  readonly version?: 3 | 4 | 5;
  readonly cleanStart?: boolean;
  readonly expirySeconds?: number;
  readonly receiveMaximum?: number;
  readonly maximumPacketSize?: number;
  readonly receiveMaximumOfServer?: number;
  readonly will?: Will;
  /** `auto` answers every PUBLISH as the protocol asks; `manual` leaves it to the test. */
  readonly acks?: 'auto' | 'manual';
  /** Hears every packet as it comes: `publish a payload`, `puback 1 0x00`. */
  readonly onPacket?: (packet: ReceivedPacket) => void;
}

export interface ReceivedPacket {
  readonly name: 'publish' | 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
  readonly packetId: number;
  readonly reason: number;
  readonly message?: Received;
}

export class ScriptedClient {
  readonly received: Received[] = [];
  /** Everything but PUBLISH, as text: `puback 1 0x00`. */
  readonly log: string[] = [];
  readonly options: ClientOptions;
  sessionPresent = false;
  closedWith: ReasonCode | undefined;
  paused = 0;
  congested = false;
  state: 'new' | 'open' | 'closed' = 'new';
  #session: AttachedSession | undefined;
  #nextId = 1;
  readonly #outbox: Outbox;
  readonly #port: SessionPort;
  /** Packet ids of QoS 2 messages that wait for PUBREL: what a client must remember across connections. */
  readonly heldIds: Set<number>;

  constructor(clock: Clock, options: ClientOptions, heldIds = new Set<number>()) {
    this.options = options;
    this.heldIds = heldIds;
    const version = options.version ?? 5;
    const decoder = new ClientFrameDecoder(this.#handler(), version);
    const client = this;
    this.#outbox = new Outbox(
      {
        kind: 'memory',
        peer: { address: 'test', port: 0, scope: 'loopback' },
        pendingBytes: 0,
        open: () => {},
        write: (bytes) => {
          if (this.state !== 'closed') decoder.push(Buffer.from(bytes));
        },
        writeAll: (chunks) => {
          if (this.state !== 'closed') decoder.push(Buffer.concat(chunks));
        },
        pause: () => {},
        resume: () => {},
        end: () => {},
        destroy: () => {},
      },
      {
        turn: new WriteTurn(clock),
        limits: { highWaterBytes: 1 << 30, bytesMax: 1 << 30 },
        owner: { onWritable: () => {}, onCongested: () => {}, onOverflow: () => {} },
      },
    );
    this.#port = {
      clientId: options.clientId,
      version,
      receiveMaximum: options.receiveMaximum ?? 65_535,
      maximumPacketSize: options.maximumPacketSize ?? 268_435_460,
      receiveMaximumOfServer: options.receiveMaximumOfServer ?? 65_535,
      topicAliasMaximum: 0,
      username: undefined,
      peer: { address: 'test', port: 0, scope: 'loopback' },
      outbox: this.#outbox,
      get congested() {
        return client.congested;
      },
      pauseReading: () => {
        this.paused++;
      },
      resumeReading: () => {
        this.paused--;
      },
      disconnect: (reason) => {
        this.#outbox.flush();
        this.closedWith = reason;
        this.state = 'closed';
      },
    };
  }

  isDetached = false;

  get session(): AttachedSession {
    if (this.#session === undefined) throw new Error('not attached');
    return this.#session;
  }

  get payloads(): string[] {
    return this.received.map(({ payload }) => payload);
  }

  async connect(engine: SessionEngine): Promise<this> {
    const { clientId, version = 5, cleanStart = true, expirySeconds = 0, will } = this.options;
    const connect: ConnectPacket = {
      protocolVersion: version,
      clientId,
      cleanStart,
      keepAlive: 0,
      will,
      username: undefined,
      password: undefined,
      properties: undefined,
      bridge: false,
    };
    const { session, sessionPresent } = await engine.attach({
      port: this.#port,
      connect,
      sessionExpirySeconds: expirySeconds,
    });
    this.#session = session;
    this.sessionPresent = sessionPresent;
    this.state = 'open';
    session.start();
    return this;
  }

  subscribe(topicFilter: string, request: Partial<SubscriptionRequest> & { readonly identifier?: number } = {}): void {
    const { identifier, ...options } = request;
    const subscription = {
      topicFilter,
      qos: 1 as QoS,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...options,
    };
    this.session.onSubscribe({
      packetId: this.#nextId++,
      subscriptions: [subscription],
      properties: identifier === undefined ? undefined : { subscriptionIdentifiers: [identifier] },
    });
  }

  unsubscribe(topicFilter: string): void {
    this.session.onUnsubscribe({ packetId: this.#nextId++, topicFilters: [topicFilter], properties: undefined });
  }

  /** Returns the packet id. */
  publish(topicName: string, payload: string, options: Partial<PublishPacket> = {}): number {
    const qos = options.qos ?? 1;
    const packetId = options.packetId ?? (qos === 0 ? 0 : this.#nextId++);
    this.session.onPublish({
      topicName,
      payload: Buffer.from(payload),
      qos,
      retain: false,
      dup: false,
      properties: undefined,
      ...options,
      packetId,
    });
    return packetId;
  }

  /** The broker has died: neither side hears the other any more. */
  breakOff(): void {
    this.state = 'closed';
    this.isDetached = true;
    this.#outbox.close();
  }

  /** DISCONNECT, discarding the will. */
  async disconnect(): Promise<void> {
    await this.#leave({ kind: 'disconnect', keepsWill: 'no', sessionExpirySeconds: undefined });
  }

  /** The socket breaks. */
  async drop(): Promise<void> {
    await this.#leave({ kind: 'lost', cause: 'test' });
  }

  async #leave(reason: DetachReason): Promise<void> {
    this.#outbox.flush();
    this.state = 'closed';
    this.#outbox.close();
    this.isDetached = true;
    await this.session.detach(reason);
  }

  #handler() {
    const hex = (reason: number) => `0x${reason.toString(16).padStart(2, '0')}`;
    const note = (name: ReceivedPacket['name']) => (packetId: number, reason: ReasonCode) => {
      this.log.push(`${name} ${packetId} ${hex(reason)}`);
      this.options.onPacket?.({ name, packetId, reason });
    };
    return {
      onConnack: () => {},
      onPublish: (packet: PublishPacket) => this.#onPublish(packet),
      onPuback: note('puback'),
      onPubrec: (packetId: number, reason: ReasonCode) => {
        note('pubrec')(packetId, reason);
        if (this.options.acks !== 'manual' && reason < 0x80) this.session.onPubrel(packetId, 0);
      },
      onPubrel: (packetId: number, reason: ReasonCode) => {
        note('pubrel')(packetId, reason);
        this.heldIds.delete(packetId);
        if (this.options.acks !== 'manual') this.session.onPubcomp(packetId, 0);
      },
      onPubcomp: note('pubcomp'),
      onSuback: ({ packetId, reasonCodes }: { packetId: number; reasonCodes: readonly ReasonCode[] }) => {
        this.log.push(`suback ${packetId} ${reasonCodes.map(hex).join(' ')}`);
      },
      onUnsuback: ({ packetId, reasonCodes }: { packetId: number; reasonCodes: readonly ReasonCode[] }) => {
        this.log.push(`unsuback ${packetId} ${reasonCodes.map(hex).join(' ')}`);
      },
      onPingresp: () => {},
      onDisconnect: () => {},
      onAuth: () => {},
    };
  }

  #onPublish(packet: PublishPacket): void {
    const { topicName, qos, retain, dup, packetId, properties } = packet;
    const known = qos === 2 && this.heldIds.has(packetId);
    if (qos === 2) this.heldIds.add(packetId);
    const message = { topic: topicName, payload: packet.payload.toString(), qos, retain, dup, packetId, properties };
    if (!known) this.received.push(message);
    this.options.onPacket?.({ name: 'publish', packetId, reason: 0, ...(known ? {} : { message }) });
    if (this.options.acks === 'manual') return;
    if (qos === 1) this.session.onPuback(packetId, 0);
    if (qos === 2) this.session.onPubrec(packetId, 0);
  }
}
