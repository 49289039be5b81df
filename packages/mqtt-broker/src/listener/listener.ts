import type { Server } from 'node:net';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { RefusalLog } from '../connection/refusal-log.js';
import type { ClientTransport } from '../connection/transport.js';
import { MqttError } from '../errors.js';
import type { ProxyDoor } from './proxy-door.js';
import type { TlsCredentials } from './tls-credentials.js';

/** Something clients connect to. */
export interface Listener {
  readonly kind: 'tcp' | 'tls' | 'ws' | 'wss';
  /** As a client would name it: `mqtt://0.0.0.0:1883`, `wss://0.0.0.0:8084/mqtt`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Accepts no more; connections that are open stay. Resolves when the address is free. */
  close(): Promise<void>;
}

/** Takes over a client that has connected; or closes it, when there are too many. */
export type Accept = (transport: ClientTransport) => void;

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What listeners of every kind are made of. */
export interface ListenDeps extends Address {
  /** Connections the kernel holds for us while we are busy. */
  readonly backlog: number;
  /** After this long without traffic the kernel asks whether a peer still exists, in milliseconds. */
  readonly tcpKeepAliveMs: number;
  /** From the accepted socket to the end of a TLS handshake, and of the request of a WebSocket, in milliseconds. */
  readonly handshakeTimeoutMs: number;
  /** Sockets at one time, those included that do not speak MQTT yet. */
  readonly connectionsMax: number;
  /** Undefined without TLS. */
  readonly credentials: TlsCredentials | undefined;
  readonly refusals: RefusalLog;
  /** The door of load balancers; undefined where none is trusted. */
  doorFor(behind: Server, allowHalfOpen: 'yes' | 'no'): ProxyDoor | undefined;
}

/** The error of a listener that could not bind, with what to do about it. */
export function bindError({ host, port }: Address, error: unknown): MqttError {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  const address = `${host}:${port}`;
  const advice =
    code === 'EADDRINUSE'
      ? 'another process listens there; stop it, or choose another port'
      : code === 'EACCES'
        ? 'ports below 1024 need a privilege; choose a higher one, or grant CAP_NET_BIND_SERVICE'
        : code === 'EADDRNOTAVAIL'
          ? 'no interface of this machine has that address; use 0.0.0.0, or one that it has'
          : errorMessage(error);
  return new MqttError('ADDRESS_IN_USE', `cannot listen on ${address}: ${code ?? 'unknown'}: ${advice}`, {
    cause: error,
  });
}
