import type { MessageProperties, ProtocolVersion, QoS } from '../codec/packets.js';
import { encodePublishFrame, type PublishFrame } from '../codec/publish-frame.js';
import type { Message } from '../codec/stored-message.js';

/** How one subscriber wants it: what a frame depends on besides the message. */
export interface FrameShape {
  readonly version: ProtocolVersion;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly identifiers: readonly number[] | undefined;
}

/**
 * A message on its way out, encoded at most once for all who get it alike (D10).
 *
 * The remaining lifetime is fixed when the first frame is made: an OutgoingMessage lives for a turn, or is
 * told the time again with ageTo().
 */
export class OutgoingMessage implements Message {
  readonly topicName: string;
  payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  properties: MessageProperties | undefined;
  readonly publisherId: string;
  publishedAtMs: number;
  readonly expiresAtMs: number | undefined;
  #memory: 'chunk' | 'own';
  #expirySeconds: number | undefined;
  /** Nearly every message has one shape; the second and later ones go into the map. */
  #firstShape = -1;
  #firstFrame: PublishFrame | undefined;
  #otherFrames: Map<number, PublishFrame> | undefined;

  /** `chunk`: the payload is a view of what was read from a socket, and holds all of it. */
  constructor(fields: Message, nowMs: number, memory: 'chunk' | 'own') {
    this.#memory = memory;
    this.topicName = fields.topicName;
    this.payload = fields.payload;
    this.qos = fields.qos;
    this.retain = fields.retain;
    this.properties = fields.properties;
    this.publisherId = fields.publisherId;
    this.publishedAtMs = fields.publishedAtMs;
    this.expiresAtMs = fields.expiresAtMs;
    this.#expirySeconds = fields.expiresAtMs === undefined ? undefined : remainingSeconds(fields.expiresAtMs, nowMs);
  }

  isExpiredAt(nowMs: number): boolean {
    return this.expiresAtMs !== undefined && nowMs >= this.expiresAtMs;
  }

  /** When it was published, for a message that is kept. */
  stamp(nowMs: number): void {
    this.publishedAtMs = nowMs;
  }

  /** Rewrites what is left of the lifetime [MQTT-3.3.2-6]; to be called before frames are made in a later turn. */
  ageTo(nowMs: number): void {
    if (this.expiresAtMs === undefined) return;
    const left = remainingSeconds(this.expiresAtMs, nowMs);
    if (left === this.#expirySeconds) return;
    this.#expirySeconds = left;
    this.#firstShape = -1;
    this.#firstFrame = undefined;
    this.#otherFrames = undefined;
  }

  /** Makes it independent of the chunk it was read from: to be called before it outlives the turn. */
  own(): void {
    if (this.#memory === 'own') return;
    this.payload = Buffer.from(this.payload);
    const correlationData = this.properties?.correlationData;
    if (correlationData) this.properties = { ...this.properties, correlationData: Buffer.from(correlationData) };
    this.#memory = 'own';
  }

  frame(shape: FrameShape): PublishFrame {
    if (shape.identifiers !== undefined) return this.#encode(shape);
    const key = (shape.version === 5 ? 8 : 0) | (shape.qos << 1) | (shape.retain ? 1 : 0);
    if (key === this.#firstShape) return this.#firstFrame as PublishFrame; // set together with the shape
    if (this.#firstShape === -1) {
      this.#firstShape = key;
      this.#firstFrame = this.#encode(shape);
      return this.#firstFrame;
    }
    this.#otherFrames ??= new Map();
    const known = this.#otherFrames.get(key);
    if (known) return known;
    const frame = this.#encode(shape);
    this.#otherFrames.set(key, frame);
    return frame;
  }

  #encode({ version, qos, retain, identifiers }: FrameShape): PublishFrame {
    return encodePublishFrame(this, {
      version,
      qos,
      retain,
      subscriptionIdentifiers: identifiers,
      messageExpiryInterval: this.#expirySeconds,
    });
  }
}

/** Rounded up: a message that is not expired has at least a second left on the wire. */
function remainingSeconds(expiresAtMs: number, nowMs: number): number {
  return Math.max(0, Math.ceil((expiresAtMs - nowMs) / 1000));
}
