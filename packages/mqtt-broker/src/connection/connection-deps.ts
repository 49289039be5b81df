// What all connections of a broker share.

import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Permission } from '../auth/permission.js';
import type { FrameDecoderOptions } from '../codec/frame-decoder.js';
import type { ConnectPacket } from '../codec/packets.js';
import type { ReasonCode } from '../codec/reason-codes.js';
import type { SessionEngine } from '../session/session-port.js';
import type { DeadlineWheel } from './deadline-wheel.js';
import type { GrantLimits } from './grant.js';
import type { OutboxLimits } from './outbox.js';
import type { RefusalLog } from './refusal-log.js';
import type { PeerAddress } from './transport.js';
import type { WriteTurn } from './write-turn.js';

export interface ConnectionLimits extends GrantLimits {
  readonly decoder: Required<FrameDecoderOptions>;
  readonly outbox: OutboxLimits;
  /** From the accepted socket to a whole CONNECT, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** From CONNECT to its answer, in milliseconds. */
  readonly admissionTimeoutMs: number;
  /** How long the last bytes may take to leave, in milliseconds. */
  readonly lingerMs: number;
}

/** Plain numbers that only rise; read when somebody scrapes. */
export interface ConnectionCounters {
  bytesReceived: number;
  packetsReceived: number;
  publishReceived: number;
  connectAccepted: number;
  /** By what the client was told. */
  readonly connectRefused: Map<ReasonCode, number>;
  /** By why it ended. */
  readonly disconnected: Map<string, number>;
  publishRefused: number;
  subscribeRefused: number;
  slowConsumersClosed: number;
}

export function newConnectionCounters(): ConnectionCounters {
  return {
    bytesReceived: 0,
    packetsReceived: 0,
    publishReceived: 0,
    connectAccepted: 0,
    connectRefused: new Map(),
    disconnected: new Map(),
    publishRefused: 0,
    subscribeRefused: 0,
    slowConsumersClosed: 0,
  };
}

export function countUp<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Who a client has proved to be. */
export interface ProvedIdentity {
  /** Undefined for an anonymous one. */
  readonly username: string | undefined;
  /** When the proof ends, in milliseconds since 1970. */
  readonly expiresAtMs?: number | undefined;
}

/** A client that asks to be let in, as the control plane sees it. */
export interface ConnectingClient {
  readonly peer: PeerAddress;
  /** To be called once, when the client has proved who it is; resolves when its session is claimed. */
  attach(proved: ProvedIdentity): Promise<void>;
  /** The decision, once, in a later turn than admit(); after it the client is in the registry, or is not. */
  onAdmitted(): void;
  onRefused(reasonCode: ReasonCode, why: string): void;
  /** The control plane gives an admitted client up (a plugin closed it). */
  onExpelled(): void;
}

/** A client's place with the control plane. */
export interface Admission {
  /** The client has not shown life for one and a half keep alives; release() follows. */
  keepAliveExpired(): void;
  /** The connection is over; `error` where the client or the network is at fault. */
  release(error?: Error): void;
}

/** Who is let in, and who is told about it. */
export interface ControlPlane {
  /** The client id in `connect` is final. */
  admit(client: ConnectingClient, connect: ConnectPacket): Admission;
}

export interface ConnectionDeps {
  readonly engine: SessionEngine;
  readonly control: ControlPlane;
  readonly permission: Permission;
  readonly wheel: DeadlineWheel;
  readonly turn: WriteTurn;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly refusals: RefusalLog;
  readonly limits: ConnectionLimits;
  readonly counters: ConnectionCounters;
  /** A client id nobody can guess, for a client that sent none. [MQTT-3.1.3-6] */
  readonly newClientId: () => string;
}
