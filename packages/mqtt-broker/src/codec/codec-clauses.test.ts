// Every rule of the two specifications that a decoder must enforce, by clause. docs/reference/mqtt-conformance.md
// names these tests; conformance.test.ts checks that it names them all.
//
// `MQTT-…` are clauses of MQTT 5.0, `MQTT311-…` of MQTT 3.1.1, `MQTT5 §…` rules that 5.0 states without a number.

import { describe, expect, it } from '@jest/globals';
import { MqttError } from '../errors.js';
import { ClientFrameDecoder } from './client-frame-decoder.js';
import { FrameDecoder, resolveFrameDecoderOptions } from './frame-decoder.js';
import { PacketRecorder } from './testing/packet-recorder.js';
import { type Part, rawPacket, rawProperties } from './testing/raw-packet.js';

type Version = 3 | 4 | 5;
type Refusal =
  | 'MALFORMED_PACKET'
  | 'PROTOCOL_ERROR'
  | 'TOPIC_ALIAS_INVALID'
  | 'UNSUPPORTED_PROTOCOL_VERSION'
  | 'CLIENT_IDENTIFIER_NOT_VALID';

const MALFORMED = 'MALFORMED_PACKET';
const PROTOCOL = 'PROTOCOL_ERROR';

const header = (version: Version): Part[] => (version === 3 ? ['MQIsdp', 3] : ['MQTT', version]);
const noProperties = (version: Version): number[] => (version === 5 ? [0] : []);

interface ConnectParts {
  readonly flags?: number;
  readonly properties?: Buffer;
  readonly payload?: readonly Part[];
}

function connect(version: Version, { flags = 2, properties, payload = ['c'] }: ConnectParts = {}): Buffer {
  return rawPacket(0x10, ...header(version), flags, [0, 60], properties ?? noProperties(version), ...payload);
}

/** Throws what the server's decoder throws; otherwise tells the packets after CONNECT. */
function serve(version: Version, ...packets: readonly Buffer[]) {
  const recorder = new PacketRecorder();
  const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions());
  decoder.push(connect(version));
  decoder.acceptConnect();
  for (const packet of packets) decoder.push(packet);
  return recorder.packets.slice(1);
}

function first(packet: Buffer) {
  const recorder = new PacketRecorder();
  const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions());
  decoder.push(packet);
  return recorder.packets;
}

function receive(version: Version, packet: Buffer) {
  const recorder = new PacketRecorder();
  new ClientFrameDecoder(recorder, version).push(packet);
  return recorder.packets;
}

function refusal(decode: () => unknown): MqttError {
  try {
    decode();
  } catch (error) {
    if (error instanceof MqttError) return error;
    throw error;
  }
  throw new Error('the packet was accepted');
}

/** [what is refused, how, and under which clause the error cites it]. */
type Row = readonly [what: string, code: Refusal, clause: string, decode: () => unknown];

const publish = (flags: number, ...parts: readonly Part[]) => rawPacket(0x30 | flags, ...parts);
const T = 't';
const SURROGATE = [0, 3, 0xed, 0xa0, 0x80];
const ILL_FORMED = [0, 2, 0xc3, 0x28];
const OVERLONG = [0, 2, 0xc0, 0xaf];
const NUL = [0, 1, 0];

const ENCODING: readonly Row[] = [
  ['a surrogate in a topic name', MALFORMED, 'MQTT-1.5.4-1', () => serve(5, publish(0, SURROGATE, 0))],
  ['ill-formed UTF-8 in a topic name', MALFORMED, 'MQTT-1.5.4-1', () => serve(4, publish(0, ILL_FORMED))],
  ['an overlong encoding', MALFORMED, 'MQTT-1.5.4-1', () => serve(4, publish(0, OVERLONG))],
  ['U+0000 in a topic name', MALFORMED, 'MQTT-1.5.4-2', () => serve(4, publish(0, NUL))],
  ['U+0000 in a topic filter', MALFORMED, 'MQTT-1.5.4-2', () => serve(4, rawPacket(0x82, [0, 1], NUL, 0))],
  ['U+0000 in a user property', MALFORMED, 'MQTT-1.5.4-2', () => serve(5, publish(0, T, rawProperties(38, NUL, 'v')))],
  ['a control character in a topic name', MALFORMED, 'MQTT5 §1.5.4', () => serve(4, publish(0, 'a\u0007b'))],
  ['DEL in a topic name', MALFORMED, 'MQTT5 §1.5.4', () => serve(4, publish(0, 'a\u007f'))],
  ['a C1 control in a topic name', MALFORMED, 'MQTT5 §1.5.4', () => serve(4, publish(0, 'a\u0085'))],
  ['a non-character in a topic name', MALFORMED, 'MQTT5 §1.5.4', () => serve(4, publish(0, 'a\ufffe'))],
  ['a line feed in a client identifier', MALFORMED, 'MQTT5 §1.5.4', () => first(connect(4, { payload: ['a\nb'] }))],
  ['a remaining length of five bytes', MALFORMED, 'MQTT5 §1.5.5', () => serve(4, Buffer.from('30ffffffff7f', 'hex'))],
  ['a remaining length with a spare byte', MALFORMED, 'MQTT-1.5.5-1', () => serve(4, Buffer.from('c08000', 'hex'))],
  ['a property length with a spare byte', MALFORMED, 'MQTT-1.5.5-1', () => serve(5, publish(0, T, [0x80, 0]))],
  [
    'a user property whose value is ill-formed',
    MALFORMED,
    'MQTT-1.5.4-1',
    () => serve(5, publish(0, T, rawProperties(38, 'n', ILL_FORMED))),
  ],
  ['a string longer than its packet', MALFORMED, 'MQTT-3.3.2-1', () => serve(4, publish(0, [0, 9, 0x61]))],
  [
    'a property that reaches beyond its properties',
    MALFORMED,
    'MQTT5 §1.2 Malformed Packet',
    () => serve(5, publish(0, T, [3, 3, 0, 9], Buffer.from('payload'))),
  ],
  ['properties that reach beyond the packet', MALFORMED, 'MQTT5 §2.2.2.1', () => serve(5, publish(0, T, [9, 1, 1]))],
];

const FIXED_HEADER: readonly Row[] = [
  ['a first packet that is not CONNECT', PROTOCOL, 'MQTT-3.1.0-1', () => first(rawPacket(0xc0))],
  [
    'a first byte that cannot be CONNECT, before its length',
    PROTOCOL,
    'MQTT-3.1.0-1',
    () => first(Buffer.from([0x30])),
  ],
  ['a second CONNECT', PROTOCOL, 'MQTT-3.1.0-2', () => serve(4, connect(4))],
  ['flags on CONNECT', MALFORMED, 'MQTT-2.1.3-1', () => first(rawPacket(0x11, 'MQTT', 4, 2, [0, 0], 'c'))],
  ['flags on PUBACK', MALFORMED, 'MQTT-2.1.3-1', () => serve(4, rawPacket(0x41, [0, 1]))],
  ['PUBREL without the flags 0010', MALFORMED, 'MQTT-2.1.3-1', () => serve(4, rawPacket(0x60, [0, 1]))],
  ['SUBSCRIBE without the flags 0010', MALFORMED, 'MQTT-2.1.3-1', () => serve(5, rawPacket(0x80, [0, 1], 0, T, 0))],
  ['UNSUBSCRIBE without the flags 0010', MALFORMED, 'MQTT-2.1.3-1', () => serve(5, rawPacket(0xa0, [0, 1], 0, T))],
  ['flags on PINGREQ', MALFORMED, 'MQTT-2.1.3-1', () => serve(4, rawPacket(0xc1))],
  ['flags on DISCONNECT', MALFORMED, 'MQTT-2.1.3-1', () => serve(4, rawPacket(0xe1))],
  ['flags on AUTH', MALFORMED, 'MQTT-2.1.3-1', () => serve(5, rawPacket(0xf1))],
  ['DUP on SUBSCRIBE in MQTT 3.1.1', MALFORMED, 'MQTT-2.1.3-1', () => serve(4, rawPacket(0x8a, [0, 1], T, 0))],
  ['packet type 0', MALFORMED, 'MQTT5 §2.1.2', () => serve(4, rawPacket(0x00))],
  ['AUTH in MQTT 3.1.1', MALFORMED, 'MQTT311 §2.2.1', () => serve(4, rawPacket(0xf0))],
  ['CONNACK from a client', MALFORMED, 'MQTT5 §2.1.2', () => serve(4, rawPacket(0x20, 0, 0))],
  ['SUBACK from a client', MALFORMED, 'MQTT5 §2.1.2', () => serve(4, rawPacket(0x90, [0, 1], 0))],
  ['UNSUBACK from a client', MALFORMED, 'MQTT5 §2.1.2', () => serve(4, rawPacket(0xb0, [0, 1]))],
  ['PINGRESP from a client', MALFORMED, 'MQTT5 §2.1.2', () => serve(4, rawPacket(0xd0))],
  ['bytes after PINGREQ', MALFORMED, 'MQTT5 §2.1.4', () => serve(4, rawPacket(0xc0, 0))],
  ['bytes after PUBACK', MALFORMED, 'MQTT5 §2.1.4', () => serve(4, rawPacket(0x40, [0, 1], 0))],
  [
    'bytes after the payload of CONNECT',
    MALFORMED,
    'MQTT5 §2.1.4',
    () => first(connect(4, { payload: ['c', 'left over'] })),
  ],
  ['bytes after DISCONNECT in MQTT 3.1.1', MALFORMED, 'MQTT5 §2.1.4', () => serve(4, rawPacket(0xe0, 0))],
];

const WILL = 0x04;
const withWill = (topic: Part, more: Partial<ConnectParts> = {}) => ({
  flags: 2 | WILL,
  payload: ['c', [0], topic, 'bye'] as const,
  ...more,
});

const CONNECT: readonly Row[] = [
  [
    'a protocol name that is not MQTT',
    'UNSUPPORTED_PROTOCOL_VERSION',
    'MQTT-3.1.2-1',
    () => first(rawPacket(0x10, 'mqtt', 4, 2, [0, 0], 'c')),
  ],
  [
    'a protocol level that is unknown',
    'UNSUPPORTED_PROTOCOL_VERSION',
    'MQTT-3.1.2-2',
    () => first(rawPacket(0x10, 'MQTT', 6, 2, [0, 0], 'c')),
  ],
  [
    'level 3 under the name MQTT',
    'UNSUPPORTED_PROTOCOL_VERSION',
    'MQTT-3.1.2-2',
    () => first(rawPacket(0x10, 'MQTT', 3, 2, [0, 0], 'c')),
  ],
  [
    'level 4 under the name MQIsdp',
    'UNSUPPORTED_PROTOCOL_VERSION',
    'MQTT-3.1.2-2',
    () => first(rawPacket(0x10, 'MQIsdp', 4, 2, [0, 0], 'c')),
  ],
  ['the reserved connect flag', MALFORMED, 'MQTT-3.1.2-3', () => first(connect(4, { flags: 3 }))],
  ['a will QoS without a will', MALFORMED, 'MQTT-3.1.2-11', () => first(connect(5, { flags: 0x0a }))],
  ['a will QoS of 3', MALFORMED, 'MQTT-3.1.2-12', () => first(connect(5, { flags: 0x1e }))],
  ['will retain without a will', MALFORMED, 'MQTT-3.1.2-13', () => first(connect(5, { flags: 0x22 }))],
  ['a will flag without a will', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => first(connect(4, { flags: 6 }))],
  [
    'a user name that the flags do not announce',
    MALFORMED,
    'MQTT5 §2.1.4',
    () => first(connect(5, { payload: ['c', 'user'] })),
  ],
  [
    'a user name flag without a user name',
    MALFORMED,
    'MQTT5 §1.2 Malformed Packet',
    () => first(connect(4, { flags: 0x82 })),
  ],
  [
    'a password flag without a password',
    MALFORMED,
    'MQTT5 §1.2 Malformed Packet',
    () => first(connect(5, { flags: 0x42 })),
  ],
  [
    'a password without a user name in MQTT 3.1.1',
    MALFORMED,
    'MQTT311-3.1.2-22',
    () => first(connect(4, { flags: 0x42, payload: ['c', 'secret'] })),
  ],
  ['no client identifier at all', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => first(connect(5, { payload: [] }))],
  [
    'a client identifier that is ill-formed',
    MALFORMED,
    'MQTT-1.5.4-1',
    () => first(connect(5, { payload: [ILL_FORMED] })),
  ],
  [
    'an empty client identifier with clean session 0',
    'CLIENT_IDENTIFIER_NOT_VALID',
    'MQTT311-3.1.3-8',
    () => first(connect(4, { flags: 0, payload: [''] })),
  ],
  [
    'an empty client identifier in MQTT 3.1',
    'CLIENT_IDENTIFIER_NOT_VALID',
    'MQTT31 §3.1',
    () => first(connect(3, { payload: [''] })),
  ],
  ['a will topic that is ill-formed', MALFORMED, 'MQTT-1.5.4-1', () => first(connect(5, withWill(ILL_FORMED)))],
  ['a will topic with a wildcard', MALFORMED, 'MQTT-4.7.0-1', () => first(connect(5, withWill('a/#')))],
  ['an empty will topic', MALFORMED, 'MQTT-4.7.3-1', () => first(connect(5, withWill('')))],
  [
    'a user name that is ill-formed',
    MALFORMED,
    'MQTT-1.5.4-1',
    () => first(connect(5, { flags: 0x82, payload: ['c', SURROGATE] })),
  ],
  [
    'authentication data without a method',
    PROTOCOL,
    'MQTT5 §3.1.2.11.10',
    () => first(connect(5, { properties: rawProperties(22, 'data') })),
  ],
  [
    'a receive maximum of 0',
    PROTOCOL,
    'MQTT5 §3.1.2.11.3',
    () => first(connect(5, { properties: rawProperties(33, [0, 0]) })),
  ],
  [
    'a maximum packet size of 0',
    PROTOCOL,
    'MQTT5 §3.1.2.11.4',
    () => first(connect(5, { properties: rawProperties(39, [0, 0, 0, 0]) })),
  ],
  [
    'request response information of 2',
    PROTOCOL,
    'MQTT5 §3.1.2.11.6',
    () => first(connect(5, { properties: rawProperties(25, 2) })),
  ],
  [
    'request problem information of 2',
    PROTOCOL,
    'MQTT5 §3.1.2.11.7',
    () => first(connect(5, { properties: rawProperties(23, 2) })),
  ],
];

const PUBLISH: readonly Row[] = [
  ['DUP at QoS 0', MALFORMED, 'MQTT-3.3.1-2', () => serve(4, publish(8, T))],
  ['both QoS bits', MALFORMED, 'MQTT-3.3.1-4', () => serve(5, publish(6, T, [0, 1], 0))],
  ['no topic name', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => serve(4, publish(0))],
  ['+ in the topic name', MALFORMED, 'MQTT-3.3.2-2', () => serve(4, publish(0, 'a/+'))],
  ['# in the topic name', MALFORMED, 'MQTT-3.3.2-2', () => serve(5, publish(0, '#', 0))],
  ['an empty topic name in MQTT 3.1.1', MALFORMED, 'MQTT311-4.7.3-1', () => serve(4, publish(0, ''))],
  ['an empty topic name without an alias', PROTOCOL, 'MQTT5 §3.3.2.1', () => serve(5, publish(0, '', 0))],
  ['packet identifier 0', PROTOCOL, 'MQTT-2.2.1-3', () => serve(4, publish(2, T, [0, 0]))],
  ['no packet identifier above QoS 0', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => serve(4, publish(2, T))],
  ['topic alias 0', 'TOPIC_ALIAS_INVALID', 'MQTT-3.3.2-8', () => serve(5, publish(0, T, rawProperties(35, [0, 0])))],
  [
    'a response topic that is ill-formed',
    MALFORMED,
    'MQTT-1.5.4-1',
    () => serve(5, publish(0, T, rawProperties(8, ILL_FORMED))),
  ],
  [
    'a response topic with a wildcard',
    PROTOCOL,
    'MQTT-3.3.2-14',
    () => serve(5, publish(0, T, rawProperties(8, 'a/+'))),
  ],
  ['an empty response topic', PROTOCOL, 'MQTT-4.7.3-1', () => serve(5, publish(0, T, rawProperties(8, '')))],
  [
    'a content type that is ill-formed',
    MALFORMED,
    'MQTT-1.5.4-1',
    () => serve(5, publish(0, T, rawProperties(3, ILL_FORMED))),
  ],
  [
    'a truncated content type',
    MALFORMED,
    'MQTT5 §1.2 Malformed Packet',
    () => serve(5, publish(0, T, rawProperties(3, [0, 5, 0x61]))),
  ],
  ['a payload format indicator of 2', PROTOCOL, 'MQTT5 §3.3.2.3.2', () => serve(5, publish(0, T, rawProperties(1, 2)))],
  [
    'a subscription identifier from a client',
    PROTOCOL,
    'MQTT-3.3.4-6',
    () => serve(5, publish(0, T, rawProperties(11, 7))),
  ],
  ['no property length', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => serve(5, publish(0, T))],
];

const subscribe = (...parts: readonly Part[]) => rawPacket(0x82, [0, 7], ...parts);
const unsubscribe = (...parts: readonly Part[]) => rawPacket(0xa2, [0, 7], ...parts);

const SUBSCRIBE: readonly Row[] = [
  ['SUBSCRIBE with packet identifier 0', PROTOCOL, 'MQTT-2.2.1-3', () => serve(4, rawPacket(0x82, [0, 0], T, 0))],
  ['SUBSCRIBE with an ill-formed filter', MALFORMED, 'MQTT-1.5.4-1', () => serve(5, subscribe(0, ILL_FORMED, 0))],
  ['SUBSCRIBE without a filter', PROTOCOL, 'MQTT-3.8.3-2', () => serve(5, subscribe(0))],
  ['SUBSCRIBE with an empty filter', MALFORMED, 'MQTT-4.7.3-1', () => serve(5, subscribe(0, '', 0))],
  ['SUBSCRIBE with a filter and no options', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => serve(5, subscribe(0, T))],
  ['no local on a shared subscription', PROTOCOL, 'MQTT-3.8.3-4', () => serve(5, subscribe(0, '$share/g/t', 4))],
  ['reserved bits of the subscription options', MALFORMED, 'MQTT-3.8.3-5', () => serve(5, subscribe(0, T, 0x40))],
  ['a requested QoS of 3', PROTOCOL, 'MQTT5 §3.8.3.1', () => serve(5, subscribe(0, T, 3))],
  ['a requested QoS of 3 in MQTT 3.1.1', PROTOCOL, 'MQTT311-3.8.3-4', () => serve(4, subscribe(T, 3))],
  ['reserved bits of the requested QoS in MQTT 3.1.1', MALFORMED, 'MQTT311-3.8.3-4', () => serve(4, subscribe(T, 4))],
  ['a retain handling of 3', PROTOCOL, 'MQTT5 §3.8.3.1', () => serve(5, subscribe(0, T, 0x30))],
  [
    'a subscription identifier of 0',
    PROTOCOL,
    'MQTT5 §3.8.2.1.2',
    () => serve(5, subscribe(rawProperties(11, 0), T, 0)),
  ],
  [
    'two subscription identifiers',
    PROTOCOL,
    'MQTT5 §3.8.2.1.2',
    () => serve(5, subscribe(rawProperties(11, 1, 11, 2), T, 0)),
  ],
  ['UNSUBSCRIBE with packet identifier 0', PROTOCOL, 'MQTT-2.2.1-3', () => serve(4, rawPacket(0xa2, [0, 0], T))],
  ['UNSUBSCRIBE with an ill-formed filter', MALFORMED, 'MQTT-1.5.4-1', () => serve(5, unsubscribe(0, ILL_FORMED))],
  ['UNSUBSCRIBE without a filter', PROTOCOL, 'MQTT-3.10.3-2', () => serve(4, unsubscribe())],
];

const ACKS: readonly Row[] = [
  ['PUBACK with packet identifier 0', PROTOCOL, 'MQTT-2.2.1-3', () => serve(4, rawPacket(0x40, [0, 0]))],
  ['PUBACK without a packet identifier', MALFORMED, 'MQTT5 §1.2 Malformed Packet', () => serve(4, rawPacket(0x40))],
  ['a reason code that PUBACK does not have', PROTOCOL, 'MQTT-3.4.2-1', () => serve(5, rawPacket(0x40, [0, 1], 0x92))],
  ['a reason code that PUBREC does not have', PROTOCOL, 'MQTT-3.5.2-1', () => serve(5, rawPacket(0x50, [0, 1], 0x92))],
  ['a reason code that PUBREL does not have', PROTOCOL, 'MQTT-3.6.2-1', () => serve(5, rawPacket(0x62, [0, 1], 0x80))],
  ['a reason code that PUBCOMP does not have', PROTOCOL, 'MQTT-3.7.2-1', () => serve(5, rawPacket(0x70, [0, 1], 0x10))],
  [
    'a reason code that a client may not put in DISCONNECT',
    PROTOCOL,
    'MQTT-3.14.2-1',
    () => serve(5, rawPacket(0xe0, 0x8e)),
  ],
  ['a reason code that AUTH does not have', PROTOCOL, 'MQTT-3.15.2-1', () => serve(5, rawPacket(0xf0, 0x80, 0))],
  ['AUTH without an authentication method', PROTOCOL, 'MQTT5 §3.15.2.2.2', () => serve(5, rawPacket(0xf0, 0x18, 0))],
  ['AUTH without anything', PROTOCOL, 'MQTT5 §3.15.2.2.2', () => serve(5, rawPacket(0xf0))],
  [
    'a server reference from a client',
    MALFORMED,
    'MQTT5 §2.2.2.2',
    () => serve(5, rawPacket(0xe0, 0, rawProperties(28, 'other'))),
  ],
];

const FROM_SERVER: readonly Row[] = [
  ['reserved bits of the acknowledge flags', MALFORMED, 'MQTT-3.2.2-1', () => receive(5, rawPacket(0x20, 2, 0, 0))],
  ['a reason code that CONNACK does not have', PROTOCOL, 'MQTT-3.2.2-8', () => receive(5, rawPacket(0x20, 0, 0x10, 0))],
  [
    'a return code that CONNACK does not have in MQTT 3.1.1',
    PROTOCOL,
    'MQTT311 §3.2.2.3',
    () => receive(4, rawPacket(0x20, 0, 6)),
  ],
  [
    'a reason code that SUBACK does not have',
    PROTOCOL,
    'MQTT-3.9.3-2',
    () => receive(5, rawPacket(0x90, [0, 1], 0, 3)),
  ],
  [
    'a reason code that UNSUBACK does not have',
    PROTOCOL,
    'MQTT-3.11.3-2',
    () => receive(5, rawPacket(0xb0, [0, 1], 0, 1)),
  ],
  [
    'a session expiry interval in the server’s DISCONNECT',
    MALFORMED,
    'MQTT5 §2.2.2.2',
    () => receive(5, rawPacket(0xe0, 0, rawProperties(17, [0, 0, 0, 1]))),
  ],
  ['SUBSCRIBE from a server', MALFORMED, 'MQTT5 §2.1.2', () => receive(5, rawPacket(0x82, [0, 1], 0, T, 0))],
  [
    'authentication data without a method in CONNACK',
    PROTOCOL,
    'MQTT5 §3.2.2.3.18',
    () => receive(5, rawPacket(0x20, 0, 0, rawProperties(22, 'd'))),
  ],
  ['a maximum QoS of 2', PROTOCOL, 'MQTT5 §3.2.2.3.4', () => receive(5, rawPacket(0x20, 0, 0, rawProperties(36, 2)))],
];

const GROUPS: Readonly<Record<string, readonly Row[]>> = {
  'data representation': ENCODING,
  'fixed header': FIXED_HEADER,
  CONNECT,
  PUBLISH,
  'SUBSCRIBE and UNSUBSCRIBE': SUBSCRIBE,
  'acknowledgements, DISCONNECT, AUTH': ACKS,
  'packets from a server': FROM_SERVER,
};

for (const [group, rows] of Object.entries(GROUPS)) {
  describe(`${group}: refuses`, () => {
    it.each(rows)('%s', (_what, code, clause, decode) => {
      const error = refusal(decode);
      expect({ code: error.code, clause: error.clause }).toEqual({ code, clause });
    });
  });
}

describe('accepts', () => {
  it('[MQTT-1.5.4-3] keeps U+FEFF in a string', () => {
    const [, packet] = serve(4, publish(0, '\ufefft'))[0] ?? [];
    expect(packet).toMatchObject({ topicName: '\ufefft' });
  });

  it('[MQTT-3.1.3-5] client identifiers of 23 letters and digits, and longer ones', () => {
    for (const clientId of ['0123456789abcdefghijKLM', 'x'.repeat(60_000)]) {
      expect(first(connect(4, { payload: [clientId] }))[0]?.[1]).toMatchObject({ clientId });
    }
  });

  it('[MQTT-3.1.3-6] an empty client identifier', () => {
    expect(first(connect(5, { flags: 0, payload: [''] }))[0]?.[1]).toMatchObject({ clientId: '', cleanStart: false });
    expect(first(connect(4, { payload: [''] }))[0]?.[1]).toMatchObject({ clientId: '', cleanStart: true });
  });

  it('[MQTT-3.1.3-1] the fields of CONNECT in their order', () => {
    const will = [rawProperties(24, [0, 0, 0, 9], 38, 'a', '1', 38, 'a', '2'), 'w/t', 'bye'];
    const properties = rawProperties(17, [0, 0, 1, 0], 21, 'SCRAM-SHA-256', 22, 'data');
    const packet = connect(5, { flags: 0xf6, properties, payload: ['id', ...will, 'user', 'secret'] });
    expect(first(packet)[0]?.[1]).toEqual({
      protocolVersion: 5,
      bridge: false,
      clientId: 'id',
      cleanStart: true,
      keepAlive: 60,
      will: {
        topicName: 'w/t',
        payload: Buffer.from('bye'),
        qos: 2,
        retain: true,
        // [MQTT-3.1.3-10]: in their order
        properties: { willDelayInterval: 9, userProperties: [['a', '1'], ['a', '2']] }, // biome-ignore format: one line reads better
      },
      username: 'user',
      password: Buffer.from('secret'),
      properties: {
        sessionExpiryInterval: 256,
        authenticationMethod: 'SCRAM-SHA-256',
        authenticationData: Buffer.from('data'),
      },
    });
  });

  it('[MQTT-3.1.2-17] a password without a user name in MQTT 5', () => {
    const packet = first(connect(5, { flags: 0x42, payload: ['c', 'token'] }))[0]?.[1];
    expect(packet).toMatchObject({ username: undefined, password: Buffer.from('token') });
  });

  it('a user name flag without a user name, DUP on SUBSCRIBE and PUBREL, in MQTT 3.1', () => {
    expect(first(connect(3, { flags: 0xc2 }))[0]?.[1]).toMatchObject({ username: undefined, password: undefined });
    expect(serve(3, rawPacket(0x8a, [0, 1], T, 1), rawPacket(0x6a, [0, 1]))).toHaveLength(2);
  });

  it('flags that MQTT 3.1 does not use', () => {
    expect(first(rawPacket(0x14, 'MQIsdp', 3, 3, [0, 0], 'c'))[0]?.[1]).toMatchObject({ clientId: 'c' });
    expect(serve(3, rawPacket(0xc2), rawPacket(0x48, [0, 1]))).toHaveLength(2);
    expect(refusal(() => serve(3, rawPacket(0x84, [0, 1], T, 0))).clause).toBe('MQTT-2.1.3-1');
  });

  it('the bridge bit of the protocol level', () => {
    const packet = first(rawPacket(0x10, 'MQTT', 0x84, 2, [0, 0], 'b'))[0]?.[1];
    expect(packet).toMatchObject({ protocolVersion: 4, bridge: true });
  });

  it('[MQTT-3.3.2-18] user properties in their order, with names that repeat', () => {
    const properties = rawProperties(38, 'b', '1', 38, '__proto__', '2', 38, 'b', '3');
    expect(serve(5, publish(0, T, properties))[0]?.[1]).toMatchObject({
      properties: { userProperties: [['b', '1'], ['__proto__', '2'], ['b', '3']] }, // biome-ignore format: one line reads better
    });
  });

  it('acknowledgements of two, three and more bytes', () => {
    const packets = serve(
      5,
      rawPacket(0x40, [0, 1]),
      rawPacket(0x40, [0, 2], 0x10),
      rawPacket(0x50, [0, 3], 0x97, rawProperties(31, 'full')),
      rawPacket(0x70, [0, 4], 0x92, 0),
    );
    expect(packets).toEqual([
      ['puback', 1, 0, undefined],
      ['puback', 2, 0x10, undefined],
      ['pubrec', 3, 0x97, { reasonString: 'full' }],
      ['pubcomp', 4, 0x92, undefined],
    ]);
  });

  it('DISCONNECT without a reason code, and with a session expiry interval', () => {
    expect(serve(5, rawPacket(0xe0))[0]?.[1]).toEqual({ reasonCode: 0, properties: undefined });
    const packet = rawPacket(0xe0, 4, rawProperties(17, [0, 0, 0, 5]));
    expect(serve(5, packet)[0]?.[1]).toEqual({ reasonCode: 4, properties: { sessionExpiryInterval: 5 } });
  });

  it('a topic alias in the place of the topic name', () => {
    expect(serve(5, publish(0, '', rawProperties(35, [0, 3])))[0]?.[1]).toMatchObject({
      topicName: '',
      properties: { topicAlias: 3 },
    });
  });

  it('subscription options', () => {
    const packet = serve(5, subscribe(rawProperties(11, 0xff, 0x7f), 'a/#', 0x2e, 'b', 0x11))[0]?.[1];
    expect(packet).toEqual({
      packetId: 7,
      properties: { subscriptionIdentifiers: [16383] },
      subscriptions: [
        { topicFilter: 'a/#', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { topicFilter: 'b', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 1 },
      ],
    });
  });
});
