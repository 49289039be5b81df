import { createServer, type Server } from 'node:net';
import { type Accept, type Address, bindError, type Listener } from './listener.js';
import { TcpTransport } from './tcp-transport.js';

export interface TcpListenerOptions extends Address {
  /** Connections the kernel holds for us while we are busy. */
  readonly backlog: number;
  /** After this long without traffic the kernel asks whether a peer still exists, in milliseconds. */
  readonly tcpKeepAliveMs: number;
}

/** Binds and listens. Errors: ADDRESS_IN_USE, with what to do. */
export async function listenTcp(options: TcpListenerOptions, accept: Accept): Promise<Listener> {
  const { host, port, backlog, tcpKeepAliveMs } = options;
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs }, (socket) =>
    accept(new TcpTransport(socket, 'tcp')),
  );
  await listening(server, { host, port, backlog });
  const bound = boundPort(server, port);
  return {
    kind: 'tcp',
    url: `mqtt://${hostOfUrl(host)}:${bound}`,
    host,
    port: bound,
    close: () => closed(server),
  };
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
