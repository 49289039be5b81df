import type { WebSocket } from 'ws';
import type { ClientTransport, PeerAddress, TransportReceiver } from '../connection/transport.js';

const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;

/** A client's WebSocket: MQTT packets in binary messages, cut anywhere. [MQTT-6.0.0-1] [MQTT-6.0.0-2] */
export class WebSocketTransport implements ClientTransport {
  readonly kind: 'ws' | 'wss';
  readonly peer: PeerAddress;
  readonly #socket: WebSocket;
  #receiver: TransportReceiver | undefined;
  #failure: string | undefined;
  readonly #sent = (): void => {
    if (this.#socket.bufferedAmount === 0) this.#receiver?.onDrain();
  };

  constructor(socket: WebSocket, kind: 'ws' | 'wss', peer: PeerAddress) {
    this.#socket = socket;
    this.kind = kind;
    this.peer = peer;
  }

  get pendingBytes(): number {
    return this.#socket.bufferedAmount;
  }

  open(receiver: TransportReceiver): void {
    this.#receiver = receiver;
    const socket = this.#socket;
    socket.on('message', (message, isBinary) => {
      // binaryType is nodebuffer: a message is one Buffer.
      if (isBinary) receiver.onBytes(message as Buffer);
      else socket.close(UNSUPPORTED_DATA, 'MQTT is binary'); // [MQTT-6.0.0-1]
    });
    socket.on('error', (error) => {
      this.#failure = error.message;
    });
    socket.on('close', (code) => {
      this.#receiver = undefined;
      receiver.onClose(this.#failure ?? `the WebSocket was closed with ${code}`);
    });
  }

  write(bytes: Buffer): void {
    this.#socket.send(bytes, BINARY, this.#sent);
  }

  writeAll(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) this.write(chunk);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.close(NORMAL_CLOSURE);
  }

  destroy(): void {
    this.#socket.terminate();
  }
}

const BINARY = { binary: true } as const;
