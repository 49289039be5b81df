// Two ends of a connection without a network: what one writes the other reads, in a later turn.

import type { ClientTransport, PeerAddress, TransportReceiver } from '../connection/transport.js';

export const MEMORY_PEER: PeerAddress = { address: 'memory', port: 0, scope: 'loopback' };

/** The client's end, for tests that speak bytes. */
export interface MemoryLink {
  /** The server's end, for `Broker.accept()`. */
  readonly transport: ClientTransport;
  /** Sends bytes to the server, in one chunk. */
  send(bytes: Buffer): void;
  /** Hears bytes of the server, those included that came before. */
  onBytes(listener: (bytes: Buffer) => void): void;
  /** Stops and restarts reading: what the server writes then stays with it. */
  freeze(): void;
  thaw(): void;
  /** Closes the client's half: FIN. */
  end(): void;
  /** The connection breaks: RST. */
  cut(): void;
  /** Whether the server has closed its half, and whether all is gone. */
  readonly serverState: 'open' | 'ended' | 'closed';
  readonly closed: Promise<void>;
}

export interface MemoryLinkOptions {
  readonly peer?: PeerAddress;
  /** Runs a delivery in a later turn. Default: setImmediate of the process. */
  readonly later: (deliver: () => void) => void;
}

export function memoryLink(options: MemoryLinkOptions): MemoryLink {
  return new ClientEnd(new MemoryTransport(options.peer ?? MEMORY_PEER, options.later));
}

class MemoryTransport implements ClientTransport {
  readonly kind = 'memory';
  readonly peer: PeerAddress;
  readonly later: (deliver: () => void) => void;
  state: MemoryLink['serverState'] = 'open';
  pendingBytes = 0;
  clientReads: 'flowing' | 'frozen' = 'flowing';
  listener: (bytes: Buffer) => void = () => {};
  onClosed: () => void = () => {};
  #receiver: TransportReceiver | undefined;
  #reading: 'flowing' | 'paused' = 'flowing';
  #inbound: Buffer[] = [];
  #inboundEnd: 'open' | 'ended' | 'reported' = 'open';
  #outbound: Buffer[] = [];

  constructor(peer: PeerAddress, later: (deliver: () => void) => void) {
    this.peer = peer;
    this.later = later;
  }

  open(receiver: TransportReceiver): void {
    this.#receiver = receiver;
    this.#pump();
  }

  write(bytes: Buffer): void {
    if (this.state !== 'open') return;
    this.#outbound.push(bytes);
    this.pendingBytes += bytes.length;
    this.later(() => this.deliver());
  }

  writeAll(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) this.write(chunk);
  }

  pause(): void {
    this.#reading = 'paused';
  }

  resume(): void {
    this.#reading = 'flowing';
    this.#pump();
  }

  end(): void {
    if (this.state !== 'open') return;
    this.state = 'ended';
    this.later(() => this.deliver());
  }

  destroy(): void {
    this.close('destroyed by the server');
  }

  receive(bytes: Buffer): void {
    this.#inbound.push(bytes);
    this.#pump();
  }

  receiveEnd(): void {
    if (this.#inboundEnd === 'open') this.#inboundEnd = 'ended';
    this.#pump();
  }

  /** Hands what the server wrote to the client, in order, when the client reads. */
  deliver(): void {
    const { listener } = this;
    if (this.clientReads === 'frozen' || this.state === 'closed') return;
    const outbound = this.#outbound;
    this.#outbound = [];
    const pending = this.pendingBytes;
    this.pendingBytes = 0;
    for (const bytes of outbound) listener(bytes);
    if (pending > 0) this.#receiver?.onDrain();
    if (this.state === 'ended') this.close('ended by the server'); // the client answers with its own end
  }

  close(cause: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.later(() => {
      const receiver = this.#receiver;
      this.#receiver = undefined;
      receiver?.onClose(cause);
      this.onClosed();
    });
  }

  #pump(): void {
    this.later(() => {
      const receiver = this.#receiver;
      if (receiver === undefined) return;
      while (this.#reading === 'flowing' && this.state !== 'closed') {
        const chunk = this.#inbound.shift();
        if (chunk === undefined) break;
        receiver.onBytes(chunk);
      }
      if (this.#inbound.length > 0 || this.#reading === 'paused' || this.#inboundEnd !== 'ended') return;
      this.#inboundEnd = 'reported';
      receiver.onEnd();
      if (this.state === 'ended') this.close('ended by the client');
    });
  }
}

class ClientEnd implements MemoryLink {
  readonly transport: MemoryTransport;
  readonly closed: Promise<void>;
  /** What came before anybody listened. */
  #early: Buffer[] = [];

  constructor(transport: MemoryTransport) {
    this.transport = transport;
    this.closed = new Promise((resolve) => {
      transport.onClosed = resolve;
    });
    transport.listener = (bytes) => this.#early.push(bytes);
  }

  get serverState(): MemoryLink['serverState'] {
    return this.transport.state;
  }

  send(bytes: Buffer): void {
    this.transport.receive(bytes);
  }

  onBytes(listener: (bytes: Buffer) => void): void {
    for (const bytes of this.#early.splice(0)) listener(bytes);
    this.transport.listener = listener;
  }

  freeze(): void {
    this.transport.clientReads = 'frozen';
  }

  thaw(): void {
    this.transport.clientReads = 'flowing';
    this.transport.later(() => this.transport.deliver());
  }

  end(): void {
    this.transport.receiveEnd();
  }

  cut(): void {
    this.transport.close('cut by the client');
  }
}
