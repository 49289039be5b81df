// A broker that is just enough of one to be wrong on purpose: QoS 0, one subscriber, no wildcards, whole packets.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** What becomes of a PUBLISH: the packets that are sent on, in their order. */
export type Fault = (publish: Buffer, number: number) => readonly Buffer[];

const CONNACK = Buffer.from([0x20, 2, 0, 0]);
const CONNECT = 1;
const PUBLISH = 3;
const SUBSCRIBE = 8;

export class UnfaithfulPeer implements AsyncDisposable {
  readonly #server: Server;
  readonly #fault: Fault;
  readonly #sockets = new Set<Socket>();
  #subscriber: Socket | undefined;
  #published = 0;

  private constructor(fault: Fault) {
    this.#fault = fault;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async listen(fault: Fault): Promise<UnfaithfulPeer> {
    const peer = new UnfaithfulPeer(fault);
    await new Promise<void>((resolve) => {
      peer.#server.listen(0, '127.0.0.1', resolve);
    });
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // listening, on TCP
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let left: Buffer = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      left = Buffer.concat([left, chunk]);
      for (let length = packetLength(left); length <= left.length; length = packetLength(left)) {
        this.#answer(socket, left.subarray(0, length));
        left = left.subarray(length);
      }
    });
  }

  #answer(socket: Socket, packet: Buffer): void {
    const type = (packet[0] ?? 0) >> 4;
    if (type === CONNECT) socket.write(CONNACK);
    if (type === SUBSCRIBE) {
      this.#subscriber = socket;
      socket.write(Buffer.from([0x90, 3, packet[2] ?? 0, packet[3] ?? 0, 0]));
    }
    if (type === PUBLISH) {
      for (const forwarded of this.#fault(packet, this.#published++)) this.#subscriber?.write(forwarded);
    }
  }
}

/** Infinity while the length is not there. Packets of the test are below 128 bytes. */
function packetLength(bytes: Buffer): number {
  return bytes.length < 2 ? Number.POSITIVE_INFINITY : 2 + (bytes[1] ?? 0);
}
