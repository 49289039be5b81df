import { describe, expect, it } from '@jest/globals';
import {
  encodeAck,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  PLAIN_PROFILE,
  type WireProfile,
  wireProfile,
} from './encode.js';
import { type ConnectPacket, PacketType, type Properties } from './packets.js';
import { ReasonCode } from './reason-codes.js';

const V5 = PLAIN_PROFILE[5];
const hex = (bytes: Buffer | undefined) => bytes?.toString('hex');
const limited = (maximumPacketBytes: number): WireProfile => ({ ...V5, maximumPacketBytes });

const REASON: Properties = { reasonString: 'because' };
const BOTH: Properties = { ...REASON, userProperties: [['name', 'value']] };

describe('CONNACK', () => {
  it('maps reason codes for MQTT 3', () => {
    const codeFor = (reasonCode: ReasonCode) =>
      encodeConnack({ sessionPresent: false, reasonCode }, PLAIN_PROFILE[4])?.[3];
    expect(codeFor(ReasonCode.success)).toBe(0);
    expect(codeFor(ReasonCode.unsupportedProtocolVersion)).toBe(1);
    expect(codeFor(ReasonCode.clientIdentifierNotValid)).toBe(2);
    expect(codeFor(ReasonCode.badUserNameOrPassword)).toBe(4);
    expect(codeFor(ReasonCode.notAuthorized)).toBe(5);
    expect(codeFor(ReasonCode.banned)).toBe(5);
    expect(codeFor(ReasonCode.quotaExceeded)).toBe(3);
    expect(codeFor(ReasonCode.serverBusy)).toBe(3);
  });

  it('[MQTT-3.2.2-6] says session present only with success', () => {
    const present = (reasonCode: ReasonCode, version: 3 | 4 | 5) =>
      encodeConnack({ sessionPresent: true, reasonCode }, PLAIN_PROFILE[version])?.[2];
    expect(present(ReasonCode.success, 5)).toBe(1);
    expect(present(ReasonCode.success, 4)).toBe(1);
    expect(present(ReasonCode.success, 3)).toBe(0); // a reserved byte in MQTT 3.1
    expect(present(ReasonCode.serverBusy, 5)).toBe(0);
    expect(present(ReasonCode.serverBusy, 4)).toBe(0);
  });

  it('[MQTT-3.2.2-19] leaves out what would exceed the maximum packet size, user properties first', () => {
    const packet = { sessionPresent: false, reasonCode: ReasonCode.serverBusy, properties: BOTH };
    const whole = encodeConnack(packet, V5)?.length ?? 0;
    const withReason = encodeConnack({ ...packet, properties: REASON }, V5)?.length ?? 0;
    expect(encodeConnack(packet, limited(whole))).toHaveLength(whole);
    expect(encodeConnack(packet, limited(whole - 1))).toHaveLength(withReason); // [MQTT-3.2.2-20]
    expect(hex(encodeConnack(packet, limited(withReason - 1)))).toBe('2003008900');
    expect(encodeConnack(packet, limited(4))).toBeUndefined(); // [MQTT-3.1.2-24]
  });

  it('keeps what is no explanation, however small the maximum packet size', () => {
    const properties = { assignedClientIdentifier: 'id', reasonString: 'r' };
    const bytes = encodeConnack({ sessionPresent: false, reasonCode: 0, properties }, limited(10));
    expect(hex(bytes)).toBe('200800000512000269' + '64');
  });
});

describe('acknowledgements', () => {
  it('are four bytes on success', () => {
    expect(hex(encodeAck(PacketType.puback, { packetId: 0x102, reasonCode: 0 }, V5))).toBe('40020102');
    expect(hex(encodeAck(PacketType.pubrel, { packetId: 1, reasonCode: 0 }, V5))).toBe('62020001'); // [MQTT-3.6.1-1]
  });

  it('carry a reason in MQTT 5, and none in MQTT 3', () => {
    const ack = { packetId: 1, reasonCode: ReasonCode.quotaExceeded };
    expect(hex(encodeAck(PacketType.puback, ack, V5))).toBe('4003000197');
    expect(hex(encodeAck(PacketType.puback, ack, PLAIN_PROFILE[4]))).toBe('40020001');
  });

  it.each([
    ['MQTT-3.4.2-2', PacketType.puback],
    ['MQTT-3.5.2-2', PacketType.pubrec],
    ['MQTT-3.6.2-2', PacketType.pubrel],
    ['MQTT-3.7.2-2', PacketType.pubcomp],
  ] as const)('[%s] leave out what would exceed the maximum packet size', (_clause, type) => {
    const ack = { packetId: 1, reasonCode: ReasonCode.success, properties: BOTH };
    const whole = encodeAck(type, ack, V5)?.length ?? 0;
    expect(encodeAck(type, ack, limited(whole - 1))).toHaveLength(
      encodeAck(type, { ...ack, properties: REASON }, V5)?.length ?? 0,
    );
    expect(encodeAck(type, ack, limited(5))).toHaveLength(5);
    expect(encodeAck(type, ack, limited(4))).toBeUndefined();
  });

  it('[MQTT-3.1.2-29] explain nothing to a client that did not ask for it', () => {
    const quiet: WireProfile = { ...V5, problemInformation: 'refused' };
    const ack = { packetId: 1, reasonCode: ReasonCode.notAuthorized, properties: BOTH };
    expect(hex(encodeAck(PacketType.puback, ack, quiet))).toBe('4003000187');
    const suback = { packetId: 1, reasonCodes: [ReasonCode.notAuthorized], properties: BOTH };
    expect(hex(encodeSuback(suback, quiet))).toBe('900400010087');
    expect(hex(encodeUnsuback(suback, quiet))).toBe('b00400010087');
    const connack = { sessionPresent: false, reasonCode: ReasonCode.banned, properties: REASON };
    expect(encodeConnack(connack, quiet)?.includes('because')).toBe(true);
    expect(encodeDisconnect(connack, quiet, 'server')?.includes('because')).toBe(true);
  });
});

describe('SUBACK and UNSUBACK', () => {
  it('[MQTT-3.9.3-1] answer in the order of the filters', () => {
    const reasonCodes = [ReasonCode.grantedQoS2, ReasonCode.notAuthorized, ReasonCode.grantedQoS0];
    expect(hex(encodeSuback({ packetId: 5, reasonCodes }, V5))).toBe('9006000500028700');
  });

  it('[MQTT311-3.9.3-2] know one failure in MQTT 3.1.1', () => {
    const reasonCodes = [ReasonCode.grantedQoS1, ReasonCode.quotaExceeded];
    expect(hex(encodeSuback({ packetId: 5, reasonCodes }, PLAIN_PROFILE[4]))).toBe('900400050180');
    expect(hex(encodeUnsuback({ packetId: 5, reasonCodes }, PLAIN_PROFILE[4]))).toBe('b0020005');
  });

  it('[MQTT-3.9.2-1] [MQTT-3.11.2-1] leave out what would exceed the maximum packet size', () => {
    const ack = { packetId: 5, reasonCodes: [ReasonCode.success], properties: BOTH };
    expect(hex(encodeSuback(ack, limited(6)))).toBe('900400050000');
    expect(hex(encodeUnsuback(ack, limited(6)))).toBe('b00400050000');
  });
});

describe('DISCONNECT', () => {
  it('from a server exists in MQTT 5 only', () => {
    const packet = { reasonCode: ReasonCode.sessionTakenOver };
    expect(hex(encodeDisconnect(packet, V5, 'server'))).toBe('e0018e');
    expect(encodeDisconnect(packet, PLAIN_PROFILE[4], 'server')).toBeUndefined();
    expect(hex(encodeDisconnect({ reasonCode: 0 }, PLAIN_PROFILE[4], 'client'))).toBe('e000');
    expect(hex(encodeDisconnect({ reasonCode: 0 }, V5, 'client'))).toBe('e000');
  });

  it('[MQTT-3.14.2-2] from a server never carries a session expiry interval', () => {
    const properties = { sessionExpiryInterval: 5, serverReference: 'b' };
    const packet = { reasonCode: ReasonCode.serverMoved, properties };
    expect(hex(encodeDisconnect(packet, V5, 'server'))).toBe('e0069d041c000162');
  });

  it('[MQTT-3.14.2-3] leaves out what would exceed the maximum packet size', () => {
    const packet = { reasonCode: ReasonCode.serverBusy, properties: BOTH };
    expect(hex(encodeDisconnect(packet, limited(3), 'server'))).toBe('e00189');
  });
});

describe('the profile of a client', () => {
  const connect = (properties: Properties | undefined): ConnectPacket => ({
    protocolVersion: 5,
    clientId: 'c',
    cleanStart: true,
    keepAlive: 0,
    will: undefined,
    username: undefined,
    password: undefined,
    properties,
    bridge: false,
  });

  it('is shared by all that asked for nothing', () => {
    expect(wireProfile(connect(undefined))).toBe(V5);
    expect(wireProfile(connect({ receiveMaximum: 3 }))).toBe(V5);
  });

  it('takes over what CONNECT says', () => {
    expect(wireProfile(connect({ maximumPacketSize: 512, requestProblemInformation: 0 }))).toEqual({
      version: 5,
      maximumPacketBytes: 512,
      problemInformation: 'refused',
    });
  });
});
