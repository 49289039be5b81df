// Every setting of a broker: unit, default, and why that default. Resolved once, by resolveBrokerOptions().
//
// Names follow the configuration file of the server: `limits.packetBytesMax` here is
// `mqtt.limits.max_packet_bytes` there.

import { KiB, MiB } from '@robustmq/stdx/byte-size';
import type { AuthOptions } from './auth/auth-options.js';
import type { AnonymousPolicy } from './auth/authenticator.js';
import { resolveFrameDecoderOptions } from './codec/frame-decoder.js';
import type { ConnectionLimits } from './connection/connection-deps.js';
import { type EngineOptions, type ResolvedEngineOptions, resolveEngineOptions } from './engine-options.js';
import { MqttError } from './errors.js';
import type { TlsOptions } from './listener/tls-credentials.js';

interface AnyListener {
  readonly host: string;
  readonly port: number;
  /**
   * Addresses and networks of load balancers, such as `10.0.0.0/8`. What connects from there must begin with a
   * header of the PROXY protocol, version 1 or 2, and is taken for the client that the header names. Default: none.
   */
  readonly proxyProtocol?: readonly string[];
}

interface WebSocketListener extends AnyListener {
  /** Default `/mqtt`, where client libraries look. */
  readonly path?: string;
  /** Values of the Origin header that are let in. Default: all, because MQTT over WebSocket carries no cookies. */
  readonly origins?: readonly string[];
}

export type ListenerOptions =
  | ({ readonly kind: 'tcp' } & AnyListener)
  | ({ readonly kind: 'tls'; readonly tls: TlsOptions } & AnyListener)
  | ({ readonly kind: 'ws' } & WebSocketListener)
  | ({ readonly kind: 'wss'; readonly tls: TlsOptions } & WebSocketListener);

export interface LimitOptions {
  /**
   * Largest packet a client may send, in bytes, 1 KiB to 256 MiB. Default 1 MiB: above what sensors and
   * gateways send, and small enough that a thousand of them fit in memory.
   */
  readonly packetBytesMax?: number;
  /** The same for CONNECT. Default 64 KiB: a large token and a will fit, and a stranger cannot make us hold more. */
  readonly connectPacketBytesMax?: number;
  /** Connections open at one time. Default 100,000; the next is closed at once. */
  readonly connectionsMax?: number;
  /**
   * Keep alive for clients of MQTT 5 that ask for a longer one or for none, in seconds. Default none: the
   * kernel's keep-alive finds dead peers, and a battery device that speaks twice a day has reasons.
   */
  readonly keepAliveSecondsMax?: number;
  /** Topic aliases a client of MQTT 5 may bind, 0 to 65,535. Default 32: each one holds a topic name. */
  readonly topicAliasMaximum?: number;
  /** From the accepted socket to a whole CONNECT, in milliseconds. Default 10,000: a slow mobile network needs 3. */
  readonly connectTimeoutMs?: number;
  /** From CONNECT to its answer, in milliseconds. Default 15,000: a slow user database, or a takeover from a dying node. */
  readonly admissionTimeoutMs?: number;
  /** How long an authorizer may think about one question, in milliseconds. Default 5,000; then it is a no. */
  readonly permissionTimeoutMs?: number;
  /**
   * Bytes a client has not read, above which QoS 0 is dropped for it, it is not read from, and QoS 1 and 2
   * wait. Default 256 KiB: a burst of a thousand small messages passes.
   */
  readonly outboxHighWaterBytes?: number;
  /** The same, above which it is closed. Default 8 MiB, above one largest packet and a burst. */
  readonly outboxBytesMax?: number;
  /** How long the last bytes to a client may take, in milliseconds. Default 2,000. */
  readonly lingerMs?: number;
}

export interface BrokerOptions {
  /** Default: none; a broker without listeners serves its own process. */
  readonly listeners?: readonly ListenerOptions[];
  readonly auth?: AuthOptions;
  readonly limits?: LimitOptions;
  readonly engine?: EngineOptions;
  /** How often `$SYS` topics are published, in milliseconds; 0 never. Default 10,000, as Mosquitto does. */
  readonly sysIntervalMs?: number;
}

export interface ResolvedBrokerOptions {
  readonly listeners: readonly ListenerOptions[];
  readonly auth: AuthOptions & { readonly anonymous: AnonymousPolicy };
  readonly limits: ConnectionLimits;
  readonly connectionsMax: number;
  readonly permissionTimeoutMs: number;
  readonly engine: ResolvedEngineOptions;
  readonly sysIntervalMs: number;
}

type DefaultedLimits = Omit<Required<LimitOptions>, 'keepAliveSecondsMax'> & Pick<LimitOptions, 'keepAliveSecondsMax'>;

const DEFAULT_LIMITS: DefaultedLimits = {
  packetBytesMax: MiB,
  connectPacketBytesMax: 64 * KiB,
  connectionsMax: 100_000,
  topicAliasMaximum: 32,
  connectTimeoutMs: 10_000,
  admissionTimeoutMs: 15_000,
  permissionTimeoutMs: 5_000,
  outboxHighWaterBytes: 256 * KiB,
  outboxBytesMax: 8 * MiB,
  lingerMs: 2_000,
};

const HOUR_MS = 3_600_000;

const RANGES: { readonly [Name in keyof LimitOptions]-?: readonly [low: number, high: number] } = {
  packetBytesMax: [KiB, 256 * MiB],
  connectPacketBytesMax: [KiB, 256 * MiB],
  connectionsMax: [1, 10_000_000],
  keepAliveSecondsMax: [1, 65_535],
  topicAliasMaximum: [0, 65_535],
  connectTimeoutMs: [1, HOUR_MS],
  admissionTimeoutMs: [1, HOUR_MS],
  permissionTimeoutMs: [1, HOUR_MS],
  outboxHighWaterBytes: [KiB, Number.MAX_SAFE_INTEGER],
  outboxBytesMax: [KiB, Number.MAX_SAFE_INTEGER],
  lingerMs: [1, HOUR_MS],
};

/** Fills in the defaults and refuses what is out of range. Errors: INVALID_OPTION. */
export function resolveBrokerOptions(given: BrokerOptions): ResolvedBrokerOptions {
  const engine = resolveEngineOptions(given.engine ?? {});
  const limits = { ...DEFAULT_LIMITS, ...given.limits };
  for (const [name, [low, high]] of Object.entries(RANGES)) {
    const value = limits[name as keyof typeof limits]; // RANGES has only names of limits
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= low && value <= high)) {
      throw new MqttError(
        'INVALID_OPTION',
        `limits.${name} is ${value}: a whole number from ${low} to ${high} is legal`,
      );
    }
  }
  const sysIntervalMs = given.sysIntervalMs ?? 10_000;
  if (!(sysIntervalMs >= 0))
    throw new MqttError('INVALID_OPTION', `sysIntervalMs is ${sysIntervalMs}: 0 or more is legal`);
  return {
    listeners: given.listeners ?? [],
    auth: { ...given.auth, anonymous: given.auth?.anonymous ?? 'loopback' },
    limits: connectionLimits(limits, engine),
    connectionsMax: limits.connectionsMax,
    permissionTimeoutMs: limits.permissionTimeoutMs,
    engine,
    sysIntervalMs,
  };
}

function connectionLimits(limits: DefaultedLimits, engine: ResolvedEngineOptions): ConnectionLimits {
  return {
    sessionExpirySecondsMax: engine.sessionExpirySecondsMax,
    keepAliveSecondsMax: limits.keepAliveSecondsMax,
    receiveMaximum: engine.receiveMaximum,
    packetBytesMax: limits.packetBytesMax,
    topicAliasMaximum: limits.topicAliasMaximum,
    maximumQoS: engine.maximumQoS,
    decoder: resolveFrameDecoderOptions({
      packetBytesMax: limits.packetBytesMax,
      packetBytesMaxBeforeConnect: Math.min(limits.connectPacketBytesMax, limits.packetBytesMax),
    }),
    outbox: { highWaterBytes: limits.outboxHighWaterBytes, bytesMax: limits.outboxBytesMax },
    connectTimeoutMs: limits.connectTimeoutMs,
    admissionTimeoutMs: limits.admissionTimeoutMs,
    lingerMs: limits.lingerMs,
  };
}
