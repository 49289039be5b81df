// A wire between two processes that can be cut: what one sends to the other passes through here.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** `open`: bytes pass. `refused`: connections break, and new ones too. `silent`: bytes stop, as if the cable were out. */
export type WireState = 'open' | 'refused' | 'silent';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

export class TcpProxy {
  readonly #server: Server;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #state: WireState = 'open';

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (near) => this.#accept(near));
  }

  static async open(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server, targetPort);
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** What was held back while it was silent is delivered when it opens: late, as networks do. */
  set(state: WireState): void {
    this.#state = state;
    for (const { near, far } of this.#pairs) {
      if (state === 'refused') near.destroy();
      else if (state === 'silent') for (const socket of [near, far]) socket.unpipe().pause();
      else join(near, far);
    }
  }

  async close(): Promise<void> {
    for (const { near } of this.#pairs) near.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(near: Socket): void {
    if (this.#state === 'refused') {
      near.destroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    const pair = { near, far };
    this.#pairs.add(pair);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => {}); // the close that follows ends the other side
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        this.#pairs.delete(pair);
      });
    }
    if (this.#state === 'open') join(near, far);
    else far.pause();
  }
}

function join(near: Socket, far: Socket): void {
  near.pipe(far);
  far.pipe(near);
}
