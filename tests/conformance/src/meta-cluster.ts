// Three metadata nodes of the built artefact, with real sockets and disks, and a proxy on every wire between two of them.

import { spawnSync } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, ServerProcess } from '@robustmq/e2e/server-process';
import { TcpProxy, type WireState } from './tcp-proxy.js';

export type NodeId = 1 | 2 | 3;
export const NODES: readonly NodeId[] = [1, 2, 3];

export interface MetaClusterOptions {
  readonly directory: string;
  /** This node's data lies on a file system in memory of so many MiB; needs root. */
  readonly small?: { readonly node: NodeId; readonly mebibytes: number };
  readonly set?: Readonly<Record<string, string>>;
  /** Instead of the one in the app's dist folder, which a build may replace meanwhile. */
  readonly launcher?: string;
}

interface Seat {
  readonly port: number;
  readonly dataPath: string;
  process: ServerProcess | undefined;
}

export class MetaCluster {
  readonly #options: MetaClusterOptions;
  readonly #seats = new Map<NodeId, Seat>();
  /** By `from>to`. */
  readonly #wires = new Map<string, TcpProxy>();

  /** Whatever ends this program, no node outlives it. */
  readonly #onExit = () => {
    for (const id of this.#seats.keys()) this.#seat(id).process?.signal('SIGKILL');
    this.#unmount();
  };

  private constructor(options: MetaClusterOptions) {
    this.#options = options;
    process.once('exit', this.#onExit);
  }

  static async start(options: MetaClusterOptions): Promise<MetaCluster> {
    const cluster = new MetaCluster(options);
    try {
      await cluster.#prepare();
      await Promise.all(NODES.map((id) => cluster.start(id)));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async #prepare(): Promise<void> {
    const { directory, small } = this.#options;
    for (const id of NODES) {
      const dataPath = join(directory, `node-${id}`);
      await mkdir(dataPath, { recursive: true });
      if (small?.node === id) mountSmall(dataPath, small.mebibytes);
      this.#seats.set(id, { port: await freePort(), dataPath, process: undefined });
    }
    for (const from of NODES) {
      for (const to of NODES) {
        if (from !== to) this.#wires.set(`${from}>${to}`, await TcpProxy.open(this.#seat(to).port));
      }
    }
  }

  get endpoints(): readonly string[] {
    return NODES.map((id) => this.endpoint(id));
  }

  endpoint(id: NodeId): string {
    return `127.0.0.1:${this.#seat(id).port}`;
  }

  dataPath(id: NodeId): string {
    return this.#seat(id).dataPath;
  }

  process(id: NodeId): ServerProcess | undefined {
    return this.#seat(id).process;
  }

  /** Starts the process; resolves when it has said that it is ready. */
  async start(id: NodeId): Promise<void> {
    await this.launch(id).ready();
  }

  launch(id: NodeId): ServerProcess {
    const { port, dataPath } = this.#seat(id);
    const peers = NODES.map((peer) => {
      const reached = peer === id ? port : this.#wire(id, peer).port;
      return [`meta.peers.${peer}`, `127.0.0.1:${reached}`];
    });
    const server = new ServerProcess({
      app: 'meta-only',
      ...(this.#options.launcher === undefined ? {} : { launcher: this.#options.launcher }),
      dataPath,
      set: {
        node_id: String(id),
        'grpc.bind': `127.0.0.1:${port}`,
        ...Object.fromEntries(peers),
        ...this.#options.set,
      },
    });
    this.#seat(id).process = server;
    return server;
  }

  async kill(id: NodeId): Promise<void> {
    const { process } = this.#seat(id);
    this.#seat(id).process = undefined;
    await process?.end('SIGKILL');
  }

  signal(id: NodeId, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#seat(id).process?.signal(signal);
  }

  /** The wires from the nodes of one list to those of the other. */
  wires(from: readonly NodeId[], to: readonly NodeId[], state: WireState): void {
    for (const a of from) for (const b of to) if (a !== b) this.#wire(a, b).set(state);
  }

  isolate(id: NodeId, state: WireState): void {
    this.wires([id], NODES, state);
    this.wires(NODES, [id], state);
  }

  heal(): void {
    for (const wire of this.#wires.values()) wire.set('open');
  }

  async close(): Promise<void> {
    await Promise.all([...this.#seats.keys()].map((id) => this.kill(id)));
    for (const wire of this.#wires.values()) await wire.close();
    this.#unmount();
    process.off('exit', this.#onExit);
    await rm(this.#options.directory, { recursive: true, force: true });
  }

  #unmount(): void {
    const seat = this.#options.small && this.#seats.get(this.#options.small.node);
    if (seat) spawnSync('umount', [seat.dataPath]);
  }

  #seat(id: NodeId): Seat {
    const seat = this.#seats.get(id);
    if (!seat) throw new Error(`node ${id} has no seat yet`);
    return seat;
  }

  #wire(from: NodeId, to: NodeId): TcpProxy {
    const wire = this.#wires.get(`${from}>${to}`);
    if (!wire) throw new Error(`there is no wire from ${from} to ${to}`);
    return wire;
  }
}

function mountSmall(path: string, mebibytes: number): void {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path]);
  if (status !== 0) throw new Error(`a file system in memory cannot be mounted: ${stderr}`);
}

export function canMount(directory: string): boolean {
  if (process.getuid?.() !== 0) return false;
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]).status !== 0) return false;
  return spawnSync('umount', [directory]).status === 0;
}
