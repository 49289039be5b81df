import type { Socket } from 'node:net';
import type { ClientTransport, PeerAddress, TransportReceiver } from '../connection/transport.js';

/**
 * A client's TCP or TLS socket.
 *
 * Its listeners are shared functions that find the transport through the socket, not closures: an idle
 * connection is paid for in every object it keeps.
 */
export class TcpTransport implements ClientTransport {
  readonly kind: 'tcp' | 'tls';
  readonly peer: PeerAddress;
  readonly #socket: Socket;
  receiver: TransportReceiver | undefined;
  failure: string | undefined;

  constructor(socket: Socket, kind: 'tcp' | 'tls', peer: PeerAddress) {
    this.#socket = socket;
    this.kind = kind;
    this.peer = peer;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  open(receiver: TransportReceiver): void {
    this.receiver = receiver;
    const socket: BoundSocket = this.#socket;
    socket[transportOf] = this;
    socket.on('data', onData).on('end', onEnd).on('drain', onDrain).on('error', onError).on('close', onClose);
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  writeAll(chunks: readonly Buffer[]): void {
    const socket = this.#socket;
    socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    socket.uncork(); // one writev
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

const transportOf = Symbol('transport');

interface BoundSocket extends Socket {
  [transportOf]?: TcpTransport;
}

function onData(this: BoundSocket, chunk: Buffer): void {
  this[transportOf]?.receiver?.onBytes(chunk);
}

function onEnd(this: BoundSocket): void {
  this[transportOf]?.receiver?.onEnd();
}

function onDrain(this: BoundSocket): void {
  this[transportOf]?.receiver?.onDrain();
}

function onError(this: BoundSocket, error: Error): void {
  const transport = this[transportOf];
  if (transport) transport.failure = error.message;
}

function onClose(this: BoundSocket): void {
  const transport = this[transportOf];
  if (transport === undefined) return;
  transport.receiver?.onClose(transport.failure ?? 'the socket is closed');
  transport.receiver = undefined;
}
