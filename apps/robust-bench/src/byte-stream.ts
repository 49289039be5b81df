// One connection as bytes, over TCP or WebSocket.

import { connect, type Socket } from 'node:net';
import WebSocket from 'ws';
import type { Target } from './load-plan.js';

export interface ByteStreamReceiver {
  onOpen(): void;
  /** The chunk is only valid during the call. */
  onBytes(chunk: Buffer): void;
  /** What was held back has left. */
  onDrain(): void;
  /** Once, whoever closed it. */
  onClosed(reason: string): void;
}

export interface ByteStream {
  /** 'held' when the bytes are still needed after the call: they must not change until onDrain. */
  write(bytes: Buffer): 'taken' | 'held';
  readonly pendingBytes: number;
  /** Closes after everything written has left. */
  end(): void;
  destroy(): void;
}

export function openByteStream(target: Target, receiver: ByteStreamReceiver): ByteStream {
  return target.transport === 'tcp' ? new TcpByteStream(target, receiver) : new WebSocketByteStream(target, receiver);
}

/**
 * All sockets read into this: Node calls back at once with what it has read, and nobody keeps a chunk. A buffer per
 * read would be most of what this program allocates.
 */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

class TcpByteStream implements ByteStream {
  readonly #socket: Socket;

  constructor(target: Target, receiver: ByteStreamReceiver) {
    let reason = 'closed by the broker';
    const onread = {
      buffer: readBuffer,
      callback: (length: number) => {
        receiver.onBytes(readBuffer.subarray(0, length));
        return true;
      },
    };
    this.#socket = connect({ host: target.host, port: target.port, noDelay: true, onread });
    this.#socket
      .on('connect', () => receiver.onOpen())
      .on('drain', () => receiver.onDrain())
      .on('error', (error) => {
        reason = error.message;
      })
      .on('close', () => receiver.onClosed(reason));
  }

  write(bytes: Buffer): 'taken' | 'held' {
    this.#socket.write(bytes);
    return this.#socket.writableLength === 0 ? 'taken' : 'held'; // Node tries the kernel at once
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** `ws` copies what it masks, so nothing is held. It has no drain event: the callback of the write stands for it. */
class WebSocketByteStream implements ByteStream {
  readonly #socket: WebSocket;
  readonly #receiver: ByteStreamReceiver;

  constructor(target: Target, receiver: ByteStreamReceiver) {
    this.#receiver = receiver;
    let reason = 'closed by the broker';
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    this.#socket = new WebSocket(`ws://${host}:${target.port}${target.path}`, ['mqtt'], { perMessageDeflate: false });
    this.#socket
      .on('open', () => receiver.onOpen())
      .on('message', (bytes: Buffer) => receiver.onBytes(bytes))
      .on('error', (error) => {
        reason = error.message;
      })
      .on('close', () => receiver.onClosed(reason));
  }

  write(bytes: Buffer): 'taken' | 'held' {
    this.#socket.send(bytes, this.#onSent);
    return this.#socket.bufferedAmount === 0 ? 'taken' : 'held';
  }

  readonly #onSent = (): void => {
    if (this.#socket.bufferedAmount === 0) this.#receiver.onDrain();
  };

  get pendingBytes(): number {
    return this.#socket.bufferedAmount;
  }

  end(): void {
    this.#socket.close();
  }

  destroy(): void {
    this.#socket.terminate();
  }
}
