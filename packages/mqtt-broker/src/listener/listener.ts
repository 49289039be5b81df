import { errorMessage } from '@robustmq/stdx/coded-error';
import type { ClientTransport } from '../connection/transport.js';
import { MqttError } from '../errors.js';

/** Something clients connect to. */
export interface Listener {
  readonly kind: 'tcp' | 'ws';
  /** As a client would name it: `mqtt://0.0.0.0:1883`, `ws://0.0.0.0:8083/mqtt`. */
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
