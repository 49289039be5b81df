import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import type { PeerAddress } from '../connection/transport.js';
import type { Accept, ListenDeps, Listener } from './listener.js';
import { peerOfSocket } from './proxy-door.js';
import { boundPort, closed, hostOfUrl, listening, sayFailed, sayUntrusted, withCertificate } from './tcp-listener.js';
import { WebSocketTransport } from './websocket-transport.js';

export interface WebSocketListenerOptions extends ListenDeps {
  /** The path of the URL; any other is answered 404. */
  readonly path: string;
  /** Values of the Origin header that are let in; undefined lets every page connect. Programs send none and always may. */
  readonly origins: readonly string[] | undefined;
  /** The largest WebSocket message, in bytes. */
  readonly messageBytesMax: number;
}

/** The names under which browsers and programs ask for MQTT; the second is MQTT 3.1's. [MQTT-6.0.0-3] */
const PROTOCOLS = ['mqtt', 'mqttv3.1'] as const;

/** Binds and listens, with TLS where there are credentials. Errors: ADDRESS_IN_USE, with what to do. */
export async function listenWebSocket(options: WebSocketListenerOptions, accept: Accept): Promise<Listener> {
  const { host, port, backlog, path, credentials, refusals } = options;
  const kind = credentials === undefined ? 'ws' : 'wss';
  const server = httpServer(options);
  const door = options.doorFor(server, 'yes');
  const peerOf = (socket: Socket): PeerAddress => door?.peerOf(socket) ?? peerOfSocket(socket);
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: options.messageBytesMax,
    perMessageDeflate: false, // a compressed message may be a bomb, and MQTT payloads rarely shrink
    handleProtocols: (offered) => PROTOCOLS.find((name) => offered.has(name)) ?? false, // [MQTT-6.0.0-4]
  });
  server.on('tlsClientError', (error: Error, socket: Socket) => sayFailed(refusals, { error, peer: peerOf(socket) }));
  server.on('upgrade', (request, stream, head) => {
    const { socket } = request;
    const direct = peerOf(socket);
    const peer = socket instanceof TLSSocket ? withCertificate(direct, socket) : direct;
    if (peer === undefined) sayUntrusted(refusals, direct);
    const refusal = peer === undefined ? '403 Forbidden' : refusalOf(request, options);
    if (peer === undefined || refusal !== undefined) {
      refuse(stream, refusal ?? '403 Forbidden');
      return;
    }
    sockets.handleUpgrade(request, stream, head, (webSocket) => accept(new WebSocketTransport(webSocket, kind, peer)));
  });
  const front = door?.server ?? server;
  front.maxConnections = options.connectionsMax;
  await listening(front, { host, port, backlog });
  const bound = boundPort(front, port);
  return {
    kind,
    url: `${kind}://${hostOfUrl(host)}:${bound}${path}`,
    host,
    port: bound,
    close: async () => {
      credentials?.close();
      const free = closed(front);
      server.closeAllConnections(); // those that have not become WebSockets
      if (door !== undefined) server.close(); // ends its timer; it does not listen
      await free;
    },
  };
}

function httpServer({ credentials, handshakeTimeoutMs }: WebSocketListenerOptions): Server {
  const limits = { headersTimeout: handshakeTimeoutMs, requestTimeout: handshakeTimeoutMs };
  const server =
    credentials === undefined
      ? createServer(limits)
      : createTlsServer({ ...limits, ...credentials.serverOptions, handshakeTimeout: handshakeTimeoutMs });
  if ('setSecureContext' in server) credentials?.watch((standard) => server.setSecureContext(standard));
  server.on('request', (_request, response) => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end('MQTT is spoken here over WebSocket\n');
  });
  return server;
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
