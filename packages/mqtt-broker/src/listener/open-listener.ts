import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { RefusalLog } from '../connection/refusal-log.js';
import type { ListenerOptions } from '../options.js';
import type { Accept, ListenDeps, Listener } from './listener.js';
import { ProxyDoor } from './proxy-door.js';
import { listenTcp } from './tcp-listener.js';
import { TlsCredentials } from './tls-credentials.js';
import { TrustedAddresses } from './trusted-addresses.js';
import { listenWebSocket } from './websocket-listener.js';

export interface OpenListenerDeps {
  readonly accept: Accept;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly refusals: RefusalLog;
  /** For the PROXY header, for the TLS handshake, and for the request of a WebSocket, in milliseconds each. */
  readonly connectTimeoutMs: number;
  readonly packetBytesMax: number;
  /** Sockets at one time, those included that do not speak MQTT yet. */
  readonly connectionsMax: number;
}

/** Sockets accepted at once beyond what a listener serves wait in the kernel. */
const BACKLOG = 4096;
/** After this long without traffic the kernel asks whether a peer still exists. */
const TCP_KEEP_ALIVE_MS = 60_000;

/** Binds and listens. Errors: ADDRESS_IN_USE; INVALID_OPTION for certificates that do not load and for networks that are none. */
export async function openListener(options: ListenerOptions, deps: OpenListenerDeps): Promise<Listener> {
  const { kind, host, port, proxyProtocol = [] } = options;
  const { accept, clock, logger, refusals, connectTimeoutMs } = deps;
  const trusted = proxyProtocol.length === 0 ? undefined : new TrustedAddresses(proxyProtocol);
  const isTls = kind === 'tls' || kind === 'wss';
  const credentials = isTls ? await TlsCredentials.load(options.tls, { clock, logger }) : undefined;
  const common: ListenDeps = {
    host,
    port,
    backlog: BACKLOG,
    tcpKeepAliveMs: TCP_KEEP_ALIVE_MS,
    handshakeTimeoutMs: connectTimeoutMs,
    connectionsMax: deps.connectionsMax,
    credentials,
    refusals,
    doorFor: (behind, allowHalfOpen) =>
      trusted &&
      new ProxyDoor(behind, {
        trusted,
        allowHalfOpen,
        timeoutMs: connectTimeoutMs,
        tcpKeepAliveMs: TCP_KEEP_ALIVE_MS,
        clock,
        refusals,
      }),
  };
  if (kind === 'tcp' || kind === 'tls') return await listenTcp(common, accept);
  const { path = '/mqtt', origins } = options;
  const { packetBytesMax: messageBytesMax } = deps;
  return await listenWebSocket({ ...common, path, origins, messageBytesMax }, accept);
}
