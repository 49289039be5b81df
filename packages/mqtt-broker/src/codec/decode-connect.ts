// CONNECT (MQTT5 §3.1, MQTT 3.1.1 §3.1, MQTT 3.1 §3.1).
//
//   protocol name   UTF-8 string: "MQTT" (levels 4 and 5) or "MQIsdp" (level 3)
//   protocol level  one byte; the high bit marks a bridge, by Mosquitto's convention
//   connect flags   user name 80, password 40, will retain 20, will QoS 18, will 04, clean start 02, reserved 01
//   keep alive      two bytes, seconds
//   properties      MQTT 5 only
//   payload         client identifier, will properties (5), will topic, will payload, user name, password

import { MqttError } from '../errors.js';
import { decodeProperties } from './decode-properties.js';
import { malformed, protocolError } from './malformed.js';
import type { PacketReader } from './packet-reader.js';
import type { ConnectPacket, Properties, ProtocolVersion, QoS, Will } from './packets.js';
import { PropertyPlace } from './property-rules.js';

const Flag = {
  reserved: 0x01,
  cleanStart: 0x02,
  will: 0x04,
  willRetain: 0x20,
  password: 0x40,
  username: 0x80,
} as const;
const BRIDGE = 0x80;

export interface ConnectLimits {
  readonly propertyCountMax: number;
  /** Told as soon as it is known, so that a refusal can be written in the client's own version. */
  readonly onVersion: (version: ProtocolVersion) => void;
}

export function decodeConnect(reader: PacketReader, limits: ConnectLimits): ConnectPacket {
  const { version, bridge } = decodeProtocol(reader, limits);
  const flags = decodeFlags(reader, version);
  const keepAlive = reader.u16('the keep alive');
  const properties =
    version === 5 ? decodeProperties(reader, PropertyPlace.connect, limits.propertyCountMax) : undefined;
  checkAuthentication(properties, 'MQTT5 §3.1.2.11.10');

  const cleanStart = (flags & Flag.cleanStart) !== 0;
  const clientId = decodeClientId(reader, version, cleanStart);
  const will = (flags & Flag.will) === 0 ? undefined : decodeWill(reader, flags, { version, ...limits });
  const username = (flags & Flag.username) === 0 ? undefined : decodeUsername(reader, version);
  const password = (flags & Flag.password) === 0 ? undefined : decodePassword(reader, version);
  reader.expectEnd('CONNECT');
  return { protocolVersion: version, clientId, cleanStart, keepAlive, will, username, password, properties, bridge };
}

/** Authentication data has a meaning only with a method (§3.1.2.11.10, §3.15.2.2.3). */
export function checkAuthentication(properties: Properties | undefined, clause: string): void {
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError('authentication data without an authentication method', clause);
  }
}

function decodeProtocol(reader: PacketReader, limits: ConnectLimits) {
  // The name is compared as bytes by its length first: a stranger's protocol is not worth a string.
  const name = reader.text('the protocol name', 'free text'); // [MQTT-3.1.2-1]
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    throw new MqttError('UNSUPPORTED_PROTOCOL_VERSION', 'the protocol name is neither MQTT nor MQIsdp', {
      clause: 'MQTT-3.1.2-1',
    });
  }
  const byte = reader.u8('the protocol level');
  const level = byte & ~BRIDGE;
  const known = name === 'MQTT' ? level === 4 || byte === 5 : level === 3;
  // The answer to an unknown version is written in the nearest one the client may understand.
  limits.onVersion(level === 3 && name === 'MQIsdp' ? 3 : byte >= 5 && byte < BRIDGE ? 5 : 4);
  if (!known) {
    throw new MqttError('UNSUPPORTED_PROTOCOL_VERSION', `${name} of level ${byte} is not spoken here`, {
      clause: 'MQTT-3.1.2-2',
    });
  }
  return { version: level as ProtocolVersion, bridge: byte !== level }; // 3, 4 or 5, as `known` says
}

function decodeFlags(reader: PacketReader, version: ProtocolVersion): number {
  const flags = reader.u8('the connect flags');
  // MQTT 3.1 names the bit reserved, and does not say that a server checks it.
  if ((flags & Flag.reserved) !== 0 && version !== 3)
    throw malformed('the reserved connect flag is set', 'MQTT-3.1.2-3');
  const willQoS = (flags >> 3) & 3;
  if ((flags & Flag.will) === 0) {
    if (willQoS !== 0) throw malformed('a will QoS without a will', 'MQTT-3.1.2-11');
    if ((flags & Flag.willRetain) !== 0) throw malformed('will retain without a will', 'MQTT-3.1.2-13');
  } else if (willQoS === 3) throw malformed('the will QoS is 3', 'MQTT-3.1.2-12');
  if (version !== 5 && (flags & Flag.password) !== 0 && (flags & Flag.username) === 0) {
    throw malformed('a password without a user name', 'MQTT311-3.1.2-22');
  }
  return flags;
}

function decodeClientId(reader: PacketReader, version: ProtocolVersion, cleanStart: boolean): string {
  const clientId = reader.text('the client identifier', 'name'); // [MQTT-3.1.3-4]
  if (clientId === '' && (version === 3 || (version === 4 && !cleanStart))) {
    throw new MqttError(
      'CLIENT_IDENTIFIER_NOT_VALID',
      'the client identifier is empty; name one, or ask for a clean session',
      {
        clause: version === 3 ? 'MQTT31 §3.1' : 'MQTT311-3.1.3-8',
      },
    );
  }
  return clientId;
}

interface WillContext extends ConnectLimits {
  readonly version: ProtocolVersion;
}

function decodeWill(reader: PacketReader, flags: number, { version, propertyCountMax }: WillContext): Will {
  const properties = version === 5 ? decodeProperties(reader, PropertyPlace.will, propertyCountMax) : undefined;
  const topicName = reader.text('the will topic', 'name'); // [MQTT-3.1.3-11]
  if (topicName === '') throw malformed('the will topic is empty', 'MQTT-4.7.3-1');
  if (topicName.includes('+') || topicName.includes('#'))
    throw malformed('the will topic holds a wildcard', 'MQTT-4.7.0-1');
  const payload = reader.binary('the will payload');
  const qos = ((flags >> 3) & 3) as QoS; // 3 was refused with the flags
  return { topicName, payload, qos, retain: (flags & Flag.willRetain) !== 0, properties };
}

/** MQTT 3.1 lets the packet end before a user name or password that its flags announce (MQTT 3.1 §3.1). */
function decodeUsername(reader: PacketReader, version: ProtocolVersion): string | undefined {
  if (version === 3 && reader.left === 0) return undefined;
  return reader.text('the user name', 'name'); // [MQTT-3.1.3-12]
}

function decodePassword(reader: PacketReader, version: ProtocolVersion): Buffer | undefined {
  if (version === 3 && reader.left === 0) return undefined;
  return reader.binary('the password');
}
