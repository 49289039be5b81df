// The door before a listener that load balancers connect to: it takes the PROXY header off, and hands the socket on.
//
//   D1. A socket from a trusted address begins with a header or is closed. One from elsewhere is never asked for
//       one: a header it sends is the client's own bytes, and no packet of any protocol behind this door.
//   D2. The header has a deadline and a bound; nobody else sees the socket before it is read.
//   D3. A client is on this machine only when the proxy is, too: 127.0.0.1 behind another machine is that machine.

import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '@robustmq/stdx/clock';
import type { RefusalLog } from '../connection/refusal-log.js';
import { type PeerAddress, scopeOf } from '../connection/transport.js';
import { parseProxyHeader, type Source } from './proxy-header.js';
import type { TrustedAddresses } from './trusted-addresses.js';

export interface ProxyDoorOptions {
  readonly trusted: TrustedAddresses;
  /** From the accepted socket to a whole header, in milliseconds. */
  readonly timeoutMs: number;
  readonly tcpKeepAliveMs: number;
  readonly clock: Clock;
  readonly refusals: RefusalLog;
}

export class ProxyDoor {
  /** What to listen with. */
  readonly server: Server;
  readonly #behind: Server;
  readonly #options: ProxyDoorOptions;
  /** Whom sockets speak for, from the header until somebody asks or the socket ends. */
  readonly #peers = new Map<string, PeerAddress>();

  /** `behind` is a server that does not listen itself: of TCP, TLS or HTTP. */
  constructor(behind: Server, options: ProxyDoorOptions & { readonly allowHalfOpen: 'yes' | 'no' }) {
    this.#behind = behind;
    this.#options = options;
    const { tcpKeepAliveMs: keepAliveInitialDelay } = options;
    behind.emit('listening'); // a server of HTTP begins to time requests then
    const allowHalfOpen = options.allowHalfOpen === 'yes';
    this.server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay, allowHalfOpen }, (socket) => {
      if (options.trusted.has(socket.remoteAddress ?? '')) this.#readHeader(socket);
      else this.#behind.emit('connection', socket); // D1
    });
  }

  /** Whom a socket that came through speaks for; a TLS socket has the addresses of the one below it. */
  peerOf(socket: Socket): PeerAddress {
    return this.#peers.get(keyOf(socket)) ?? peerOfSocket(socket);
  }

  #readHeader(socket: Socket): void {
    const { clock, timeoutMs } = this.#options;
    let read: Buffer = Buffer.alloc(0);
    const timer = clock.setTimer(timeoutMs, () => this.#refuse(socket, 'it did not come in time')); // D2
    const onReadable = (): void => {
      for (let chunk = take(socket); chunk !== undefined; chunk = take(socket)) {
        read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
      }
      const header = parseProxyHeader(read);
      if (header.kind === 'incomplete') return;
      settled();
      if (header.kind === 'malformed')
        this.#refuse(socket, header.why); // D1
      else this.#pass(socket, { source: header.source, rest: read.subarray(header.length) });
    };
    const onGone = (): void => {
      settled();
      socket.destroy();
    };
    const settled = (): void => {
      timer.cancel();
      socket.off('readable', onReadable).off('close', onGone).off('end', onGone);
    };
    socket
      .on('error', () => {})
      .on('readable', onReadable)
      .on('close', onGone)
      .on('end', onGone);
  }

  #pass(
    socket: Socket,
    { source, rest }: { readonly source: Source | 'local' | 'unknown'; readonly rest: Buffer },
  ): void {
    if (socket.remoteAddress === undefined) return; // it is gone, and told from no other any more
    const peer = peerBehind(peerOfSocket(socket), source);
    const key = keyOf(socket);
    this.#peers.set(key, peer);
    socket.once('close', () => this.#peers.delete(key));
    if (rest.length > 0) socket.unshift(rest);
    this.#behind.emit('connection', socket);
  }

  #refuse(socket: Socket, why: string): void {
    const { remoteAddress: address } = socket;
    this.#options.refusals.say({ address }, `a connection from a trusted proxy has no PROXY header we accept: ${why}`);
    socket.destroy();
  }
}

/** Whom a socket speaks for when no proxy says so. */
export function peerOfSocket(socket: Socket): PeerAddress {
  const address = socket.remoteAddress ?? ''; // gone already when the client has left
  return { address, port: socket.remotePort ?? 0, scope: scopeOf(address) };
}

/** Whom a proxy speaks for (D3). */
export function peerBehind(proxy: PeerAddress, source: Source | 'local' | 'unknown'): PeerAddress {
  if (source === 'local') return proxy;
  if (source === 'unknown') return { ...proxy, scope: 'remote' };
  const scope = proxy.scope === 'loopback' ? scopeOf(source.address) : 'remote'; // D3
  return { ...source, scope };
}

function take(socket: Socket): Buffer | undefined {
  const chunk: Buffer | null = socket.read();
  return chunk ?? undefined;
}

/** A socket is told from all others of a listener by where it comes from. */
const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress}|${remotePort}`;
