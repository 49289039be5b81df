import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MqttError } from '../errors.js';
import { ClientFrameDecoder } from './client-frame-decoder.js';
import {
  encodeAck,
  encodeAuth,
  encodeConnack,
  encodeConnect,
  encodeDisconnect,
  encodeSuback,
  encodeSubscribe,
  encodeUnsuback,
  encodeUnsubscribe,
  PLAIN_PROFILE,
} from './encode.js';
import { FrameDecoder, resolveFrameDecoderOptions } from './frame-decoder.js';
import { PacketType, type ProtocolVersion } from './packets.js';
import { PropertyPlace } from './property-rules.js';
import { encodePublish } from './publish-frame.js';
import * as arbitrary from './testing/arbitrary-packets.js';
import { PacketRecorder, type Recorded } from './testing/packet-recorder.js';

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const OPTIONS = resolveFrameDecoderOptions();

function connectBytes(version: ProtocolVersion): Buffer {
  return encodeConnect({
    protocolVersion: version,
    clientId: 'c',
    cleanStart: true,
    keepAlive: 0,
    will: undefined,
    username: undefined,
    password: undefined,
    properties: undefined,
    bridge: false,
  });
}

/** Cuts `bytes` at the given places and feeds the pieces; an error ends it and is part of the result. */
function decodeCut(version: ProtocolVersion, bytes: Buffer, cuts: readonly number[]) {
  const recorder = new PacketRecorder();
  const decoder = new FrameDecoder(recorder, OPTIONS);
  decoder.push(connectBytes(version));
  decoder.acceptConnect();
  recorder.packets.length = 0;
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  try {
    for (let i = 1; i < places.length; i++) decoder.push(bytes.subarray(places[i - 1], places[i]));
    return { packets: recorder.packets, error: undefined, held: decoder.heldBytes };
  } catch (error) {
    if (!(error instanceof MqttError)) throw error; // the one thing that must never happen
    return { packets: recorder.packets, error: `${error.code} ${error.clause}`, held: 0 };
  }
}

const cuts = fc.array(fc.nat(5000), { maxLength: 12 });
const version = fc.constantFrom(...VERSIONS);

/** Bytes that look like packets: a plausible first byte and remaining length, anything in them. */
const packetLike = fc
  .tuple(
    fc.constantFrom(0x30, 0x32, 0x34, 0x3b, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0, 0xf0),
    fc.uint8Array({ maxLength: 60 }),
  )
  .map(([first, body]) => Buffer.concat([Buffer.from([first, body.length]), body]));

/** A valid packet with a few bytes changed. */
const damaged = fc
  .tuple(
    fc.oneof(
      arbitrary.publishPackets(5, PropertyPlace.publishFromClient).map((packet) => encodePublish(packet, 5)),
      arbitrary.subscribePackets(5).map((packet) => encodeSubscribe(packet, 5)),
    ),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
  )
  .map(([packet, changes]) => {
    const bytes = Buffer.from(packet);
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
    return bytes;
  });

describe('the server’s decoder, fed with anything', () => {
  it('decodes or refuses, and does so alike however the bytes are cut', () => {
    const streams = fc.array(
      fc.oneof(
        packetLike,
        damaged,
        fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
      ),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(version, streams, cuts, (version, stream, cuts) => {
        const bytes = Buffer.concat(stream);
        const whole = decodeCut(version, bytes, []);
        const pieces = decodeCut(version, bytes, cuts);
        expect(pieces).toEqual(whole);
        expect(whole.held).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 1500 },
    );
  });

  it('decodes or refuses any CONNECT', () => {
    const damagedConnect = fc
      .tuple(
        fc.oneof(...VERSIONS.map((version) => arbitrary.connectPackets(version).map(encodeConnect))),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      )
      .map(([packet, changes]) => {
        const bytes = Buffer.from(packet);
        for (const [at, byte] of changes) bytes[2 + (at % (bytes.length - 2))] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(damagedConnect, (bytes) => {
        const recorder = new PacketRecorder();
        try {
          new FrameDecoder(recorder, OPTIONS).push(bytes);
        } catch (error) {
          if (!(error instanceof MqttError)) throw error;
        }
      }),
      { numRuns: 1500 },
    );
  });
});

/** What a packet looks like after a round trip: without keys that are undefined, as the encoder has no sign for them. */
const toServer = (version: ProtocolVersion, bytes: Buffer): Recorded | undefined =>
  decodeCut(version, bytes, []).packets[0];

function toClient(version: ProtocolVersion, bytes: Buffer | undefined): Recorded | undefined {
  const recorder = new PacketRecorder();
  if (bytes !== undefined) new ClientFrameDecoder(recorder, version).push(bytes);
  return recorder.packets[0];
}

describe('round trips', () => {
  it.each(VERSIONS)('CONNECT of version %i', (version) => {
    fc.assert(
      fc.property(arbitrary.connectPackets(version), (packet) => {
        const recorder = new PacketRecorder();
        new FrameDecoder(recorder, OPTIONS).push(encodeConnect(packet));
        expect(recorder.packets).toEqual([['connect', packet]]);
      }),
    );
  });

  it.each(VERSIONS)('PUBLISH of version %i, both ways', (version) => {
    fc.assert(
      fc.property(arbitrary.publishPackets(version, PropertyPlace.publishFromClient), cuts, (packet, cuts) => {
        expect(decodeCut(version, encodePublish(packet, version), cuts).packets).toEqual([['publish', packet]]);
      }),
    );
    fc.assert(
      fc.property(arbitrary.publishPackets(version, PropertyPlace.publishFromServer), (packet) => {
        expect(toClient(version, encodePublish(packet, version))).toEqual(['publish', packet]);
      }),
    );
  });

  it.each(VERSIONS)('SUBSCRIBE and UNSUBSCRIBE of version %i', (version) => {
    fc.assert(
      fc.property(arbitrary.subscribePackets(version), (packet) => {
        expect(toServer(version, encodeSubscribe(packet, version))).toEqual(['subscribe', packet]);
      }),
    );
    fc.assert(
      fc.property(arbitrary.unsubscribePackets(version), (packet) => {
        expect(toServer(version, encodeUnsubscribe(packet, version))).toEqual(['unsubscribe', packet]);
      }),
    );
  });

  it('CONNACK, SUBACK, UNSUBACK, DISCONNECT, AUTH of version 5', () => {
    const profile = PLAIN_PROFILE[5];
    const trip = <T>(packets: fc.Arbitrary<T>, name: string, trip: (packet: T) => Recorded | undefined) =>
      fc.assert(fc.property(packets, (packet) => expect(trip(packet)).toEqual([name, packet])));
    trip(arbitrary.connackPackets, 'connack', (packet) => toClient(5, encodeConnack(packet, profile)));
    trip(arbitrary.subscriptionAcks('suback'), 'suback', (packet) => toClient(5, encodeSuback(packet, profile)));
    trip(arbitrary.subscriptionAcks('unsuback'), 'unsuback', (packet) => toClient(5, encodeUnsuback(packet, profile)));
    trip(arbitrary.disconnectPackets('Server'), 'disconnect', (packet) =>
      toClient(5, encodeDisconnect(packet, profile, 'server')),
    );
    trip(arbitrary.disconnectPackets('Client'), 'disconnect', (packet) =>
      toServer(5, encodeDisconnect(packet, profile, 'client') ?? Buffer.alloc(0)),
    );
    trip(arbitrary.authPackets, 'auth', (packet) => toServer(5, encodeAuth(packet, profile) ?? Buffer.alloc(0)));
  });

  it('PUBACK, PUBREC, PUBREL and PUBCOMP of version 5', () => {
    const properties = arbitrary.properties(PropertyPlace.puback);
    for (const [type, name, code] of [
      [PacketType.puback, 'puback', 0x10],
      [PacketType.pubrec, 'pubrec', 0x97],
      [PacketType.pubrel, 'pubrel', 0x92],
      [PacketType.pubcomp, 'pubcomp', 0],
    ] as const) {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 65_535 }), properties, (packetId, properties) => {
          const bytes = encodeAck(type, { packetId, reasonCode: code, properties }, PLAIN_PROFILE[5]);
          expect(toServer(5, bytes ?? Buffer.alloc(0))).toEqual([name, packetId, code, properties]);
        }),
      );
    }
  });
});
