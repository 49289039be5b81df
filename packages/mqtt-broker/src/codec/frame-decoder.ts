import { decodeAck, decodeAuth, decodeDisconnect } from './decode-acks.js';
import { decodeConnect } from './decode-connect.js';
import { decodePublish, type PublishContext } from './decode-publish.js';
import { type DecodeContext, decodeSubscribe, decodeUnsubscribe } from './decode-subscribe.js';
import { FrameReader, type FrameReaderState } from './frame-reader.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import { PacketType, type ProtocolVersion, type ServerPacketHandler } from './packets.js';
import { PropertyPlace } from './property-rules.js';

export interface FrameDecoderOptions {
  /**
   * The largest packet accepted, fixed header included, in bytes. Default 1 MiB, above what sensors and
   * gateways send, and small enough that a thousand connections at it fit in memory.
   */
  readonly packetBytesMax?: number;
  /**
   * The same until acceptConnect(). Default 64 KiB: a CONNECT with a large token and a will fits, and a
   * stranger cannot make the broker hold more.
   */
  readonly packetBytesMaxBeforeConnect?: number;
  /** Properties per packet. Default 128; each one costs an object and its delivery to every subscriber. */
  readonly propertyCountMax?: number;
  /** Topic filters per SUBSCRIBE or UNSUBSCRIBE. Default 8,192: far above what clients send, and under a megabyte of objects. */
  readonly filterCountMax?: number;
  /**
   * Bytes that may arrive while paused. Default 2 MiB: more than a socket delivers after it was paused. Until
   * acceptConnect() at most four packets of the smaller size.
   */
  readonly pausedBytesMax?: number;
}

interface ResolvedFrameDecoderOptions extends Required<FrameDecoderOptions> {}

const DEFAULTS: ResolvedFrameDecoderOptions = {
  packetBytesMax: 1024 * 1024,
  packetBytesMaxBeforeConnect: 64 * 1024,
  propertyCountMax: 128,
  filterCountMax: 8192,
  pausedBytesMax: 2 * 1024 * 1024,
};

/** Resolved once per listener; every connection shares the result. */
export function resolveFrameDecoderOptions(options: FrameDecoderOptions = {}): ResolvedFrameDecoderOptions {
  return { ...DEFAULTS, ...options };
}

/**
 * Decodes what one client sends. Strict: what the specifications call malformed or a protocol error is
 * thrown as MqttError, once, and then the decoder is finished.
 *
 *   decoder.push(chunk)    every packet in it goes to the handler, in order
 *   decoder.pause()        from a handler method: stop after this packet
 *   decoder.resume()       go on
 */
export class FrameDecoder extends FrameReader {
  readonly #handler: ServerPacketHandler;
  readonly #options: ResolvedFrameDecoderOptions;
  #phase: 'awaiting CONNECT' | 'connected' = 'awaiting CONNECT';
  #version: ProtocolVersion | undefined;
  #context: PublishContext & DecodeContext = UNCONNECTED;

  constructor(handler: ServerPacketHandler, options: ResolvedFrameDecoderOptions) {
    const packetBytesMax = options.packetBytesMaxBeforeConnect;
    super({ packetBytesMax, pausedBytesMax: Math.min(options.pausedBytesMax, 4 * packetBytesMax) });
    this.#handler = handler;
    this.#options = options;
  }

  /** The version to answer in: known once CONNECT has named one, also when it is refused. */
  get version(): ProtocolVersion | undefined {
    return this.#version;
  }

  /** CONNECT was accepted: from here on the full packet size counts. */
  acceptConnect(): void {
    this.limits = { packetBytesMax: this.#options.packetBytesMax, pausedBytesMax: this.#options.pausedBytesMax };
  }

  push(chunk: Buffer): FrameReaderState {
    return this.pushChunk(chunk);
  }

  resume(): FrameReaderState {
    return this.resumeChunks();
  }

  protected acceptFirstByte(first: number): void {
    const type = first >> 4;
    if (this.#phase === 'awaiting CONNECT') {
      if (type !== PacketType.connect) throw protocolError('the first packet is not CONNECT', 'MQTT-3.1.0-1');
      return; // its flags are judged with its version: see #connect
    } else if (type === PacketType.connect) {
      throw protocolError('a second CONNECT on one connection', 'MQTT-3.1.0-2');
    }
    if (type === PacketType.publish) return; // its flags mean something: see decodePublish
    const flags = first & 0x0f;
    if (flags === FLAGS[type]) {
      if (type === PacketType.auth && this.#version !== 5)
        throw malformed('packet type 15 is reserved', 'MQTT311 §2.2.1');
      return;
    }
    if (FLAGS[type] === undefined) throw malformed(`a client does not send packets of type ${type}`, 'MQTT5 §2.1.2');
    // MQTT 3.1 marks a repeated PUBREL, SUBSCRIBE or UNSUBSCRIBE with DUP, and does not use the flags of others (§2.1).
    if (this.#version === 3 && (FLAGS[type] === 0 || flags === 10)) return;
    throw wrongFlags(type, flags);
  }

  protected decodePacket(first: number, reader: PacketReader): void {
    const handler = this.#handler;
    switch (first >> 4) {
      case PacketType.publish:
        handler.onPublish(decodePublish(first, reader, this.#context));
        break;
      case PacketType.puback: {
        const ack = decodeAck(reader, 'puback', this.#context);
        handler.onPuback(ack.packetId, ack.reasonCode, ack.properties);
        break;
      }
      case PacketType.pubrec: {
        const ack = decodeAck(reader, 'pubrec', this.#context);
        handler.onPubrec(ack.packetId, ack.reasonCode, ack.properties);
        break;
      }
      case PacketType.pubrel: {
        const ack = decodeAck(reader, 'pubrel', this.#context);
        handler.onPubrel(ack.packetId, ack.reasonCode, ack.properties);
        break;
      }
      case PacketType.pubcomp: {
        const ack = decodeAck(reader, 'pubcomp', this.#context);
        handler.onPubcomp(ack.packetId, ack.reasonCode, ack.properties);
        break;
      }
      default:
        this.#decodeRarePacket(first, reader);
    }
  }

  #decodeRarePacket(first: number, reader: PacketReader): void {
    const handler = this.#handler;
    switch (first >> 4) {
      case PacketType.connect:
        this.#connect(first & 0x0f, reader);
        break;
      case PacketType.subscribe:
        handler.onSubscribe(decodeSubscribe(reader, this.#context));
        break;
      case PacketType.unsubscribe:
        handler.onUnsubscribe(decodeUnsubscribe(reader, this.#context));
        break;
      case PacketType.pingreq:
        reader.expectEnd('PINGREQ');
        handler.onPingreq();
        break;
      case PacketType.disconnect:
        handler.onDisconnect(decodeDisconnect(reader, 'disconnectFromClient', this.#context));
        break;
      default:
        handler.onAuth(decodeAuth(reader, 'authFromClient', this.#context));
    }
  }

  #connect(flags: number, reader: PacketReader): void {
    const { propertyCountMax, filterCountMax } = this.#options;
    const onVersion = (version: ProtocolVersion) => {
      this.#version = version;
    };
    const packet = decodeConnect(reader, { propertyCountMax, onVersion });
    if (flags !== 0 && packet.protocolVersion !== 3) throw wrongFlags(PacketType.connect, flags);
    this.#phase = 'connected';
    this.#context = {
      version: packet.protocolVersion,
      place: PropertyPlace.publishFromClient,
      propertyCountMax,
      filterCountMax,
    };
    this.#handler.onConnect(packet);
  }
}

function wrongFlags(type: number, flags: number) {
  return malformed(`the flags of packet type ${type} are ${flags}`, 'MQTT-2.1.3-1');
}

/** What the flags of each packet type a client sends must be; undefined for those it must not send. */
const FLAGS: readonly (number | undefined)[] = [
  undefined, // 0 reserved
  0, // CONNECT
  undefined, // CONNACK
  undefined, // PUBLISH: judged by itself
  0, // PUBACK
  0, // PUBREC
  2, // PUBREL [MQTT-3.6.1-1]
  0, // PUBCOMP
  2, // SUBSCRIBE [MQTT-3.8.1-1]
  undefined, // SUBACK
  2, // UNSUBSCRIBE [MQTT-3.10.1-1]
  undefined, // UNSUBACK
  0, // PINGREQ
  undefined, // PINGRESP
  0, // DISCONNECT [MQTT-3.14.1-1]
  0, // AUTH [MQTT-3.15.1-1]
];

const UNCONNECTED: PublishContext & DecodeContext = {
  version: 4,
  place: PropertyPlace.publishFromClient,
  propertyCountMax: 0,
  filterCountMax: 0,
};
