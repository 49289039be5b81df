import { decodeAck, decodeAuth, decodeDisconnect, decodeSubscriptionAck } from './decode-acks.js';
import { checkAuthentication } from './decode-connect.js';
import { decodeProperties } from './decode-properties.js';
import { decodePublish, type PublishContext } from './decode-publish.js';
import type { DecodeContext } from './decode-subscribe.js';
import { FrameReader, type FrameReaderState } from './frame-reader.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import { type ClientPacketHandler, type ConnackPacket, PacketType, type ProtocolVersion } from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { ALLOWED_REASON_CODES, type ReasonCode, reasonOfReturnCode } from './reason-codes.js';

const LIMITS = { packetBytesMax: 268_435_460, pausedBytesMax: 64 * 1024 * 1024 } as const;
const PROPERTY_COUNT_MAX = 65_535;

/**
 * Decodes what a server sends: for the load generator, bridges and tests. As strict as FrameDecoder, but
 * without its limits, because a client chose its server.
 */
export class ClientFrameDecoder extends FrameReader {
  readonly #handler: ClientPacketHandler;
  readonly #context: PublishContext & DecodeContext;

  constructor(handler: ClientPacketHandler, version: ProtocolVersion) {
    super(LIMITS);
    this.#handler = handler;
    this.#context = {
      version,
      place: PropertyPlace.publishFromServer,
      propertyCountMax: PROPERTY_COUNT_MAX,
      filterCountMax: 0,
    };
  }

  push(chunk: Buffer): FrameReaderState {
    return this.pushChunk(chunk);
  }

  resume(): FrameReaderState {
    return this.resumeChunks();
  }

  protected acceptFirstByte(first: number): void {
    const type = first >> 4;
    if (type === PacketType.publish) return; // its flags mean something: see decodePublish
    const known = FLAGS[type];
    if (known === undefined || (type === PacketType.auth && this.#context.version !== 5)) {
      throw malformed(`a server does not send packets of type ${type}`, 'MQTT5 §2.1.2');
    }
    if ((first & 0x0f) !== known)
      throw malformed(`the flags of packet type ${type} are ${first & 0x0f}`, 'MQTT-2.1.3-1');
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
        this.#decodeRarePacket(first >> 4, reader);
    }
  }

  #decodeRarePacket(type: number, reader: PacketReader): void {
    const handler = this.#handler;
    switch (type) {
      case PacketType.connack:
        handler.onConnack(decodeConnack(reader, this.#context));
        break;
      case PacketType.suback:
        handler.onSuback(decodeSubscriptionAck(reader, 'suback', this.#context));
        break;
      case PacketType.unsuback:
        handler.onUnsuback(decodeSubscriptionAck(reader, 'unsuback', this.#context));
        break;
      case PacketType.pingresp:
        reader.expectEnd('PINGRESP');
        handler.onPingresp();
        break;
      case PacketType.disconnect:
        handler.onDisconnect(decodeDisconnect(reader, 'disconnectFromServer', this.#context));
        break;
      default:
        handler.onAuth(decodeAuth(reader, 'authFromServer', this.#context));
    }
  }
}

/** What the flags of each packet type a server sends must be; undefined for those it must not send. */
const FLAGS: readonly (number | undefined)[] = Array.from({ length: 16 }, (_, type) => {
  switch (type) {
    case PacketType.pubrel:
      return 2;
    case PacketType.connack:
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubcomp:
    case PacketType.suback:
    case PacketType.unsuback:
    case PacketType.pingresp:
    case PacketType.disconnect:
    case PacketType.auth:
      return 0;
    default:
      return undefined;
  }
});

/** CONNACK (§3.2): session present, a code, properties in MQTT 5. */
function decodeConnack(reader: PacketReader, context: DecodeContext): ConnackPacket {
  const flags = reader.u8('the acknowledge flags');
  if (flags > 1) throw malformed('reserved bits of the acknowledge flags are set', 'MQTT-3.2.2-1');
  const code = reader.u8('the reason code');
  if (context.version !== 5) {
    reader.expectEnd('CONNACK');
    if (code > 5) throw protocolError(`return code ${code} is reserved`, 'MQTT311 §3.2.2.3');
    return { sessionPresent: flags === 1, reasonCode: reasonOfReturnCode(code), properties: undefined };
  }
  if (!ALLOWED_REASON_CODES.connack.has(code)) {
    throw protocolError(`CONNACK does not carry reason code 0x${code.toString(16)}`, 'MQTT-3.2.2-8');
  }
  const properties = decodeProperties(reader, PropertyPlace.connack, context.propertyCountMax);
  checkAuthentication(properties, 'MQTT5 §3.2.2.3.18');
  reader.expectEnd('CONNACK');
  return { sessionPresent: flags === 1, reasonCode: code as ReasonCode, properties }; // in the list, as checked above
}
