import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { type PeerAddress, scopeOf } from '../connection/transport.js';
import type { Accept, Address, Listener } from './listener.js';
import { boundPort, closed, hostOfUrl, listening } from './tcp-listener.js';
import { WebSocketTransport } from './websocket-transport.js';

export interface WebSocketListenerOptions extends Address {
  readonly backlog: number;
  /** The path of the URL; any other is answered 404. */
  readonly path: string;
  /** Values of the Origin header that are let in; undefined lets every page connect. Programs send none and always may. */
  readonly origins: readonly string[] | undefined;
  /** The largest WebSocket message, in bytes. */
  readonly messageBytesMax: number;
  /** From the accepted socket to a whole request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Sockets at one time, those included that are not WebSockets yet. */
  readonly connectionsMax: number;
}

/** The names under which browsers and programs ask for MQTT; the second is MQTT 3.1's. [MQTT-6.0.0-3] */
const PROTOCOLS = ['mqtt', 'mqttv3.1'] as const;

/** Binds and listens. Errors: ADDRESS_IN_USE, with what to do. */
export async function listenWebSocket(options: WebSocketListenerOptions, accept: Accept): Promise<Listener> {
  const { host, port, backlog, path } = options;
  const server = createServer({ headersTimeout: options.requestTimeoutMs, requestTimeout: options.requestTimeoutMs });
  server.maxConnections = options.connectionsMax;
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: options.messageBytesMax,
    perMessageDeflate: false, // a compressed message may be a bomb, and MQTT payloads rarely shrink
    handleProtocols: (offered) => PROTOCOLS.find((name) => offered.has(name)) ?? false, // [MQTT-6.0.0-4]
  });
  server.on('request', (_request, response) => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end('MQTT is spoken here over WebSocket\n');
  });
  server.on('upgrade', (request, socket, head) => {
    const refusal = refusalOf(request, options);
    if (refusal !== undefined) {
      refuse(socket, refusal);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) =>
      accept(new WebSocketTransport(webSocket, peerOf(request))),
    );
  });
  await listening(server, { host, port, backlog });
  const bound = boundPort(server, port);
  return {
    kind: 'ws',
    url: `ws://${hostOfUrl(host)}:${bound}${path}`,
    host,
    port: bound,
    close: async () => {
      const free = closed(server);
      server.closeAllConnections(); // those that have not become WebSockets
      await free;
    },
  };
}

function refusalOf(request: IncomingMessage, { path, origins }: WebSocketListenerOptions): string | undefined {
  const [asked] = (request.url ?? '').split('?', 1);
  if (asked !== path) return '404 Not Found';
  const { origin } = request.headers;
  if (origins !== undefined && origin !== undefined && !origins.includes(origin)) return '403 Forbidden';
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  if (!PROTOCOLS.some((name) => offered.includes(name))) return '400 Bad Request'; // [MQTT-6.0.0-3]
  return undefined;
}

function refuse(socket: Duplex, status: string): void {
  socket.on('error', () => {}); // the client may be gone
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function peerOf(request: IncomingMessage): PeerAddress {
  const address = request.socket.remoteAddress ?? '';
  return { address, port: request.socket.remotePort ?? 0, scope: scopeOf(address) };
}
