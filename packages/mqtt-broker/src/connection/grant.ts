// What a client asks for in CONNECT and what it gets: one pure function, answered in CONNACK.

import type { ConnectPacket, Properties } from '../codec/packets.js';

export interface GrantLimits {
  /** Seconds; the longest a session may outlive its connection. */
  readonly sessionExpirySecondsMax: number;
  /** Seconds; longer intervals, and none at all, become this for clients of MQTT 5. Undefined leaves them. */
  readonly keepAliveSecondsMax: number | undefined;
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly topicAliasMaximum: number;
  readonly maximumQoS: 0 | 1 | 2;
}

export interface Grant {
  readonly sessionExpirySeconds: number;
  /** Seconds; 0 is no check. */
  readonly keepAliveSeconds: number;
  /** Towards the client. */
  readonly receiveMaximum: number;
  readonly topicAliasMaximum: number;
  /** For a CONNACK of MQTT 5, without what only the session knows. */
  readonly properties: Properties;
}

const RECEIVE_MAXIMUM_DEFAULT = 65_535; // [MQTT5 §3.1.2.11.3]

/** `clientId` is the one in force: where the client sent none, it is told. [MQTT-3.1.3-7] */
export function grant(
  connect: ConnectPacket,
  { limits, clientId }: { readonly limits: GrantLimits; readonly clientId: string },
): Grant {
  const asked = connect.properties;
  const sessionExpirySeconds = Math.min(askedExpiry(connect), limits.sessionExpirySecondsMax);
  const keepAliveSeconds = grantedKeepAlive(connect, limits);
  return {
    sessionExpirySeconds,
    keepAliveSeconds,
    receiveMaximum: asked?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
    topicAliasMaximum: asked?.topicAliasMaximum ?? 0,
    properties: {
      ...(sessionExpirySeconds === askedExpiry(connect) ? {} : { sessionExpiryInterval: sessionExpirySeconds }),
      ...(keepAliveSeconds === connect.keepAlive ? {} : { serverKeepAlive: keepAliveSeconds }), // [MQTT-3.2.2-21]
      ...(limits.receiveMaximum === RECEIVE_MAXIMUM_DEFAULT ? {} : { receiveMaximum: limits.receiveMaximum }),
      ...(limits.maximumQoS === 2 ? {} : { maximumQoS: limits.maximumQoS }), // [MQTT-3.2.2-9]
      ...(connect.clientId === clientId ? {} : { assignedClientIdentifier: clientId }),
      maximumPacketSize: limits.packetBytesMax,
      ...(limits.topicAliasMaximum === 0 ? {} : { topicAliasMaximum: limits.topicAliasMaximum }),
    },
  };
}

/** MQTT 3 has no interval: a session without clean start stays as long as it may. */
function askedExpiry(connect: ConnectPacket): number {
  if (connect.protocolVersion === 5) return connect.properties?.sessionExpiryInterval ?? 0;
  return connect.cleanStart ? 0 : Number.POSITIVE_INFINITY;
}

/** Only MQTT 5 can be told another interval; a client of MQTT 3 keeps to its own. */
function grantedKeepAlive(connect: ConnectPacket, limits: GrantLimits): number {
  const longest = limits.keepAliveSecondsMax;
  if (longest === undefined || connect.protocolVersion !== 5) return connect.keepAlive;
  return connect.keepAlive === 0 ? longest : Math.min(connect.keepAlive, longest);
}
