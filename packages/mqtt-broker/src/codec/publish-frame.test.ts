import { describe, expect, it } from '@jest/globals';
import { ClientFrameDecoder } from './client-frame-decoder.js';
import type { ProtocolVersion, PublishPacket } from './packets.js';
import {
  DUP,
  encodePublishFrame,
  INLINE_PAYLOAD_BYTES_MAX,
  type PublishedMessage,
  type PublishShape,
} from './publish-frame.js';
import { PacketRecorder } from './testing/packet-recorder.js';

const MESSAGE: PublishedMessage = { topicName: 'sensor/1', payload: Buffer.from('21.5'), properties: undefined };
const SHAPE: PublishShape = { version: 5, qos: 1, retain: false };

/** The packet a receiver with this id makes of the frame. */
function received(message: PublishedMessage, shape: PublishShape, send = { packetId: 7, dup: false }): PublishPacket {
  const frame = encodePublishFrame(message, shape);
  const bytes = Buffer.alloc(frame.bytes + 3);
  const end = frame.copyHead(bytes, 3, send.packetId);
  if (send.dup) bytes[3] = (bytes[3] ?? 0) | DUP;
  if (frame.payload !== undefined) bytes.set(frame.payload, end);
  const recorder = new PacketRecorder();
  new ClientFrameDecoder(recorder, shape.version).push(bytes.subarray(3));
  return recorder.packets[0]?.[1] as PublishPacket; // exactly one packet was pushed
}

describe('PublishFrame', () => {
  it.each([3, 4, 5] as ProtocolVersion[])(
    'gives each receiver its packet id from the same bytes, version %i',
    (version) => {
      const frame = encodePublishFrame(MESSAGE, { ...SHAPE, version });
      const before = frame.head.toString('hex');
      for (const packetId of [1, 0x0102, 65_535]) {
        expect(received(MESSAGE, { ...SHAPE, version }, { packetId, dup: false })).toMatchObject({
          packetId,
          ...MESSAGE,
        });
      }
      expect(frame.head.toString('hex')).toBe(before);
    },
  );

  it('has no packet id at QoS 0 [MQTT-2.2.1-2]', () => {
    const frame = encodePublishFrame(MESSAGE, { version: 4, qos: 0, retain: true });
    expect(frame.packetIdAt).toBe(0);
    expect(frame.head.toString('latin1')).toBe('\x31\x0e\x00\x08sensor/121.5');
  });

  it('marks a resend with DUP [MQTT-3.3.1-1]', () => {
    expect(received(MESSAGE, SHAPE, { packetId: 1, dup: true }).dup).toBe(true);
    expect(received(MESSAGE, SHAPE).dup).toBe(false);
  });

  it('keeps a large payload outside, uncopied', () => {
    const payload = Buffer.alloc(INLINE_PAYLOAD_BYTES_MAX + 1, 5);
    const frame = encodePublishFrame({ ...MESSAGE, payload }, SHAPE);
    expect(frame.payload).toBe(payload);
    expect(frame.bytes).toBe(frame.head.length + payload.length);
    expect(received({ ...MESSAGE, payload }, SHAPE).payload.equals(payload)).toBe(true);
    expect(encodePublishFrame({ ...MESSAGE, payload: payload.subarray(1) }, SHAPE).payload).toBeUndefined();
  });

  it('carries identifiers, remaining expiry and alias of the receiver beside the properties of the message', () => {
    const properties = {
      payloadFormatIndicator: 1 as const,
      contentType: 'text/plain',
      responseTopic: 'reply/here',
      correlationData: Buffer.from('42'),
      userProperties: [['a', '1'], ['b', '2'], ['a', '3']] as const, // biome-ignore format: one line reads better
    };
    const shape: PublishShape = {
      ...SHAPE,
      subscriptionIdentifiers: [1, 200_000],
      messageExpiryInterval: 30,
      topicAlias: { alias: 4, mode: 'bind' },
    };
    expect(received({ ...MESSAGE, properties }, shape)).toMatchObject({
      topicName: 'sensor/1',
      properties: { ...properties, subscriptionIdentifiers: [1, 200_000], messageExpiryInterval: 30, topicAlias: 4 },
    });
    const bySize = received(MESSAGE, { ...SHAPE, topicAlias: { alias: 4, mode: 'use' } });
    expect(bySize).toMatchObject({ topicName: '', properties: { topicAlias: 4 } });
  });

  it('lets nothing else of the publisher through', () => {
    // As a hook might hand it on: properties that are not the message's.
    const smuggled = {
      contentType: 'x',
      willDelayInterval: 9,
      topicAlias: 3,
      subscriptionIdentifiers: [6],
      sessionExpiryInterval: 1,
    };
    expect(received({ ...MESSAGE, properties: smuggled }, SHAPE).properties).toEqual({ contentType: 'x' });
  });

  it('leaves properties out for MQTT 3.1.1', () => {
    const message = { ...MESSAGE, properties: { contentType: 'x' } };
    expect(received(message, { ...SHAPE, version: 4, subscriptionIdentifiers: [1] })).toMatchObject({
      properties: undefined,
    });
  });

  it.each(['ünïcode/中/🙂', 'x'.repeat(200), 'x'.repeat(64), 'é'.repeat(64)])(
    'writes the topic name %s',
    (topicName) => {
      expect(received({ ...MESSAGE, topicName }, SHAPE).topicName).toBe(topicName);
    },
  );
});
