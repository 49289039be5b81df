// Table 2-4 of MQTT 5.0, written down a second time and from the side of the packets, and held against the
// decoder for every property at every place.

import { describe, expect, it } from '@jest/globals';
import { MqttError } from '../errors.js';
import { decodeProperties } from './decode-properties.js';
import { PacketReader } from './packet-reader.js';
import { PropertyPlace } from './property-rules.js';
import { bytesOf, type Part, rawProperties } from './testing/raw-packet.js';

const REASON_AND_USER = [31, 38];
const MESSAGE = [1, 2, 3, 8, 9, 38];

const ALLOWED: Readonly<Record<keyof typeof PropertyPlace, readonly number[]>> = {
  connect: [17, 21, 22, 23, 25, 33, 34, 38, 39],
  will: [...MESSAGE, 24],
  connack: [17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42],
  publishFromClient: [...MESSAGE, 35],
  publishFromServer: [...MESSAGE, 11, 35],
  puback: REASON_AND_USER,
  pubrec: REASON_AND_USER,
  pubrel: REASON_AND_USER,
  pubcomp: REASON_AND_USER,
  subscribe: [11, 38],
  suback: REASON_AND_USER,
  unsubscribe: [38],
  unsuback: REASON_AND_USER,
  disconnectFromClient: [17, 31, 38],
  disconnectFromServer: [28, 31, 38],
  auth: [21, 22, 31, 38],
  message: [1, 3, 8, 9, 38],
};

const BYTE: Part[] = [1];
const TWO: Part[] = [[0, 1]];
const FOUR: Part[] = [[0, 0, 0, 1]];
const TEXT: Part[] = ['text'];

const VALUES: Readonly<Record<number, readonly Part[]>> = {
  1: BYTE, 2: FOUR, 3: TEXT, 8: TEXT, 9: TEXT, 11: BYTE, 17: FOUR, 18: TEXT, 19: TWO, 21: TEXT, 22: TEXT, 23: BYTE,
  24: FOUR, 25: BYTE, 26: TEXT, 28: TEXT, 31: TEXT, 33: TWO, 34: TWO, 35: TWO, 36: BYTE, 37: BYTE, 38: ['n', 'v'],
  39: FOUR, 40: BYTE, 41: BYTE, 42: BYTE,
}; // biome-ignore format: a table

const MANY = (place: string): readonly number[] => (place === 'publishFromServer' ? [11, 38] : [38]);

function decode(place: PropertyPlace, ...parts: readonly Part[]) {
  const reader = new PacketReader();
  reader.buffer = rawProperties(...parts);
  reader.end = reader.buffer.length;
  return decodeProperties(reader, place, 100);
}

function outcome(place: PropertyPlace, ...parts: readonly Part[]): string {
  try {
    decode(place, ...parts);
    return 'accepted';
  } catch (error) {
    if (error instanceof MqttError) return error.code;
    throw error;
  }
}

const PLACES = Object.keys(ALLOWED) as (keyof typeof PropertyPlace)[]; // the keys of a record with these keys

describe.each(PLACES)('properties of %s', (name) => {
  const place = PropertyPlace[name];

  it('are those of table 2-4 and no others', () => {
    const accepted = Array.from({ length: 128 }, (_, id) => id).filter(
      (id) => outcome(place, id, ...(VALUES[id] ?? BYTE)) === 'accepted',
    );
    expect(accepted).toEqual([...ALLOWED[name]].sort((a, b) => a - b));
  });

  it('occur once, but for those that may repeat', () => {
    for (const id of ALLOWED[name]) {
      const value = VALUES[id] ?? [];
      const expected = MANY(name).includes(id) ? 'accepted' : 'PROTOCOL_ERROR';
      expect([id, outcome(place, id, ...value, id, ...value)]).toEqual([id, expected]);
    }
  });

  it('are refused when cut short anywhere', () => {
    for (const id of ALLOWED[name]) {
      const whole = bytesOf([id, ...(VALUES[id] ?? [])]);
      for (let length = 1; length < whole.length; length++) {
        expect([id, length, outcome(place, whole.subarray(0, length))]).toEqual([id, length, 'MALFORMED_PACKET']);
      }
    }
  });
});

describe('a property section', () => {
  it('is refused with an identifier that is a long variable byte integer', () => {
    expect(outcome(PropertyPlace.connect, [0x81, 0x00], 1)).toBe('MALFORMED_PACKET');
    expect(outcome(PropertyPlace.connect, [0xff, 0x7f], 1)).toBe('MALFORMED_PACKET');
  });

  it('is refused with more properties than the limit, before they are all decoded', () => {
    const many = Array.from({ length: 101 }, () => [38, 'n', 'v'] as const).flat();
    expect(outcome(PropertyPlace.connect, ...many)).toBe('PACKET_TOO_LARGE');
    expect(outcome(PropertyPlace.connect, ...many.slice(3))).toBe('accepted');
  });
});
