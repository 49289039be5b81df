import { Duplex } from 'node:stream';

/** What the control plane hears on a link. */
export interface LinkListener {
  /** aedes has answered CONNECT with this return code. */
  onConnack(returnCode: number): void;
  /** aedes, or a plugin through it, has closed the link. */
  onDestroyed(error: Error | null): void;
}

const CONNACK_FIRST_BYTE = 0x20;
const CONNACK_BYTES = 4;

/**
 * The stream through which aedes knows one client: it reads a CONNECT from it and writes CONNACK to it.
 * No other packet passes, and none of its bytes reaches the client.
 */
export class ControlLink extends Duplex {
  listener: LinkListener | undefined;
  #connack: number[] | undefined = [];

  constructor(listener: LinkListener) {
    super({ allowHalfOpen: false });
    this.listener = listener;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.#hear(chunk);
    written();
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], written: () => void): void {
    for (const { chunk } of chunks) this.#hear(chunk);
    written();
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    const { listener } = this;
    this.listener = undefined;
    destroyed(error);
    listener?.onDestroyed(error);
  }

  /** aedes writes a packet in several pieces: the first four bytes are CONNACK, and all that matters. */
  #hear(chunk: Buffer): void {
    const connack = this.#connack;
    if (connack === undefined) return;
    for (let i = 0; i < chunk.length && connack.length < CONNACK_BYTES; i++) connack.push(chunk[i] as number); // i is within it
    if (connack.length < CONNACK_BYTES) return;
    this.#connack = undefined;
    this.listener?.onConnack(connack[0] === CONNACK_FIRST_BYTE ? (connack[3] as number) : Number.NaN); // four were read
  }
}
