import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MqttError } from '../errors.js';
import type { MessageProperties, QoS } from './packets.js';
import { encodeStoredMessage, type Message, StoredMessage } from './stored-message.js';

const text = fc.string({ unit: 'binary', maxLength: 60 });
const bytes = fc.uint8Array({ maxLength: 100 }).map((value) => Buffer.from(value));
const time = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const properties: fc.Arbitrary<MessageProperties> = fc.record(
  {
    payloadFormatIndicator: fc.constantFrom(0 as const, 1 as const),
    contentType: fc.constantFrom('text/plain', ''),
    responseTopic: fc.constantFrom('reply/to'),
    correlationData: bytes,
    userProperties: fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2')), {
      minLength: 1,
      maxLength: 200,
    }),
  },
  { requiredKeys: ['contentType'] },
);
const messages: fc.Arbitrary<Message> = fc.record({
  topicName: text,
  payload: bytes,
  qos: fc.constantFrom<QoS>(0, 1, 2),
  retain: fc.boolean(),
  properties: fc.option(properties, { nil: undefined }),
  publisherId: text,
  publishedAtMs: time,
  expiresAtMs: fc.option(time, { nil: undefined }),
});
const origins = fc.option(fc.record({ packetId: fc.integer({ min: 1, max: 65_535 }), sessionEpoch: time }), {
  nil: undefined,
});

const fieldsOf = (stored: StoredMessage) => ({
  topicName: stored.topicName,
  payload: stored.payload,
  qos: stored.qos,
  retain: stored.retain,
  properties: stored.properties,
  publisherId: stored.publisherId,
  publishedAtMs: stored.publishedAtMs,
  expiresAtMs: stored.expiresAtMs,
});

const SAMPLE: Message = {
  topicName: 'a/b',
  payload: Buffer.from('p'),
  qos: 2,
  retain: true,
  properties: { contentType: 'x' },
  publisherId: 'me',
  publishedAtMs: 0x0102030405,
  expiresAtMs: 6,
};

describe('a stored message', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(messages, origins, (message, origin) => {
        const stored = new StoredMessage(encodeStoredMessage(message, origin));
        expect(fieldsOf(stored)).toEqual(message);
        expect(stored.origin).toEqual(origin);
      }),
    );
  });

  it('has the documented layout', () => {
    const encoded = encodeStoredMessage(SAMPLE, { packetId: 9, sessionEpoch: 8 });
    expect(encoded.toString('hex')).toBe(
      ['01', '3e', '0000000102030405'.padStart(16, '0'), '0000000000000006', '0009', '0000000000000008']
        .concat(['0003', Buffer.from('a/b').toString('hex'), '0002', Buffer.from('me').toString('hex')])
        .concat(['04', '03000178', '70'])
        .join(''),
    );
  });

  it('is read without copying the payload', () => {
    const encoded = encodeStoredMessage({ ...SAMPLE, payload: Buffer.alloc(1000, 1) });
    const { payload } = new StoredMessage(encoded);
    expect(payload.buffer).toBe(encoded.buffer);
    encoded.fill(2, encoded.length - 1000);
    expect(payload[999]).toBe(2);
  });

  it('is refused when it is of another layout, or cut short in its head', () => {
    const encoded = encodeStoredMessage(SAMPLE);
    const refused = (bytes: Buffer) => {
      try {
        return fieldsOf(new StoredMessage(bytes)).topicName;
      } catch (error) {
        if (error instanceof MqttError) return error.code;
        throw error;
      }
    };
    const changed = (at: number, byte: number) => {
      const copy = Buffer.from(encoded);
      copy[at] = byte;
      return copy;
    };
    expect(refused(changed(0, 2))).toBe('CORRUPT_STORED_MESSAGE');
    expect(refused(changed(1, 0x40))).toBe('CORRUPT_STORED_MESSAGE');
    expect(refused(changed(1, 0x03))).toBe('CORRUPT_STORED_MESSAGE');
    const headBytes = encoded.length - 1;
    for (let length = 0; length < headBytes; length++) {
      expect([length, refused(encoded.subarray(0, length))]).toEqual([length, 'CORRUPT_STORED_MESSAGE']);
    }
  });

  it('never does worse than refuse, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (random) => {
        try {
          fieldsOf(new StoredMessage(Buffer.concat([Buffer.from([1]), random])));
        } catch (error) {
          expect(error).toBeInstanceOf(MqttError);
        }
      }),
    );
  });
});
