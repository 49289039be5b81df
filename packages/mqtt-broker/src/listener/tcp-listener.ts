import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { PeerAddress } from '../connection/transport.js';
import { type Accept, type Address, bindError, type ListenDeps, type Listener } from './listener.js';
import { peerCertificateOf } from './peer-certificate.js';
import { type ProxyDoor, peerOfSocket } from './proxy-door.js';
import { TcpTransport } from './tcp-transport.js';

/** Binds and listens, with TLS where there are credentials. Errors: ADDRESS_IN_USE, with what to do. */
export async function listenTcp(deps: ListenDeps, accept: Accept): Promise<Listener> {
  const { host, port, backlog, credentials, connectionsMax } = deps;
  let door: ProxyDoor | undefined;
  const peerOf = (socket: Socket): PeerAddress => door?.peerOf(socket) ?? peerOfSocket(socket);
  const server =
    credentials === undefined ? plainServer(deps, { accept, peerOf }) : tlsServer(deps, { accept, peerOf });
  door = deps.doorFor(server, 'no');
  const front = door?.server ?? server;
  // Sockets that have not become clients are bounded here, the others by the broker, aloud.
  if (door !== undefined || credentials !== undefined) front.maxConnections = connectionsMax;
  await listening(front, { host, port, backlog });
  const bound = boundPort(front, port);
  return {
    kind: credentials === undefined ? 'tcp' : 'tls',
    url: `${credentials === undefined ? 'mqtt' : 'mqtts'}://${hostOfUrl(host)}:${bound}`,
    host,
    port: bound,
    close: () => {
      credentials?.close();
      return closed(front);
    },
  };
}

interface Clients {
  readonly accept: Accept;
  readonly peerOf: (socket: Socket) => PeerAddress;
}

function plainServer({ tcpKeepAliveMs }: ListenDeps, { accept, peerOf }: Clients): Server {
  return createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs }, (socket) =>
    accept(new TcpTransport(socket, 'tcp', peerOf(socket))),
  );
}

function tlsServer(deps: ListenDeps, { accept, peerOf }: Clients): Server {
  const { credentials, handshakeTimeoutMs: handshakeTimeout, tcpKeepAliveMs: keepAliveInitialDelay, refusals } = deps;
  const server = createTlsServer(
    { ...credentials?.serverOptions, handshakeTimeout, noDelay: true, keepAlive: true, keepAliveInitialDelay },
    (socket) => {
      const peer = withCertificate(peerOf(socket), socket);
      if (peer !== undefined) accept(new TcpTransport(socket, 'tls', peer));
      else {
        sayUntrusted(refusals, peerOf(socket));
        socket.destroy();
      }
    },
  );
  server.on('tlsClientError', (error, socket) => sayFailed(refusals, { error, peer: peerOf(socket) }));
  credentials?.watch((standard) => server.setSecureContext(standard));
  return server;
}

/** The peer with what its certificate says; undefined for one that shows a certificate nobody vouches for. */
export function withCertificate(peer: PeerAddress, socket: TLSSocket): PeerAddress | undefined {
  const certificate = peerCertificateOf(socket);
  if (certificate === undefined) return peer;
  return certificate === 'untrusted' ? undefined : { ...peer, certificate };
}

export function sayUntrusted(refusals: ListenDeps['refusals'], { address }: PeerAddress): void {
  refusals.say({ address }, 'a client was refused: its TLS certificate is signed by no authority of ours, or is over');
}

export function sayFailed(
  refusals: ListenDeps['refusals'],
  { error, peer: { address } }: { readonly error: Error; readonly peer: PeerAddress },
): void {
  refusals.say({ address, error: error.message }, 'a TLS handshake failed');
}

export function listening(server: Server, options: Address & { readonly backlog: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(bindError(options, error)));
    server.listen({ ...options }, () => {
      server.removeAllListeners('error');
      // Errors of accept(2), such as no file descriptor left, concern one client: it tries again.
      server.on('error', () => {});
      resolve();
    });
  });
}

export function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

export function boundPort(server: Server, asked: number): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : asked;
}

export function hostOfUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
