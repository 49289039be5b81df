import { type ChannelCredentials, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { MiB } from '@robustmq/stdx/byte-size';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { CHANNEL_OPTIONS } from '../client/endpoints.js';
import { fromRpcFailure, toRpcFailure } from '../client/rpc-status.js';
import type { InstallSnapshot, NodeId } from '../core/types.js';
import type { GroupId } from '../driver/group-id.js';
import type { GroupMessage, PeerReceiver, PeerTransport } from '../driver/peer-transport.js';
import type { StateSnapshot } from '../driver/state-machine.js';
import { MetaError } from '../errors.js';
import {
  type DeliverRequest,
  RaftPeerServiceClient,
  type RaftPeerServiceServer,
} from '../gen/robustmq/raft/v1/raft.js';
import { checkHandshake, handshake, type PeerIdentity, PROTOCOL, refuseRemoved } from './handshake.js';
import { PeerLink } from './peer-link.js';
import { messageFromWire, snapshotFromWire, snapshotToWire } from './peer-messages.js';
import { readSnapshot, StallTimer, writeSnapshot } from './snapshot-stream.js';

export interface GrpcPeerTransportOptions extends PeerIdentity {
  /** Sent with every call; the server that mounts `service` is the one that checks it. */
  readonly secret?: string | undefined;
  /** Plain text by default. */
  readonly credentials?: ChannelCredentials | undefined;
  /**
   * Bytes per peer handed to the connection and not yet taken by it. Default 8 MiB: twice what the core keeps in flight.
   */
  readonly queueBytesMax?: number;
  /** Milliseconds in which nothing of a snapshot moves before it is given up. Default 30,000. */
  readonly snapshotStallMs?: number;
}

export interface GrpcPeerTransportDeps {
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger?: Logger;
}

export interface PeerStatistics {
  readonly peer: NodeId;
  readonly sent: number;
  readonly dropped: number;
  readonly queuedBytes: number;
  readonly connected: boolean;
}

const QUEUE_BYTES_MAX = 8 * MiB;
const SNAPSHOT_STALL_MS = 30_000;

/** PeerTransport over gRPC: a stream to each peer, and `service`, which the node's gRPC server mounts, for theirs. */
export class GrpcPeerTransport implements PeerTransport {
  readonly service: RaftPeerServiceServer;
  readonly #options: GrpcPeerTransportOptions;
  readonly #deps: Required<GrpcPeerTransportDeps>;
  readonly #credentials: ChannelCredentials;
  readonly #links = new Map<NodeId, PeerLink>();
  #receiver: PeerReceiver | undefined;
  #received = 0;
  #retired: readonly NodeId[] = [];

  constructor(options: GrpcPeerTransportOptions, deps: GrpcPeerTransportDeps) {
    this.#options = options;
    this.#deps = { logger: nullLogger, ...deps };
    this.#credentials = options.credentials ?? credentials.createInsecure();
    this.service = {
      deliver: (call) => this.#deliver(call),
      installSnapshot: (call, answer) => this.#install(call, answer),
    };
  }

  /** Messages received since the start. */
  get received(): number {
    return this.#received;
  }

  get statistics(): PeerStatistics[] {
    return [...this.#links].map(([peer, link]) => ({ peer, ...link.statistics }));
  }

  start(receiver: PeerReceiver): void {
    this.#receiver = receiver;
  }

  setPeers(peers: ReadonlyMap<NodeId, string>, retired: readonly NodeId[] = []): void {
    this.#retired = retired;
    for (const [peer, link] of this.#links) {
      if (peers.get(peer) === link.address) continue;
      link.close();
      this.#links.delete(peer);
    }
    for (const [peer, address] of peers) {
      if (!this.#links.has(peer)) this.#links.set(peer, this.#open(peer, address));
    }
  }

  send(to: NodeId, messages: readonly GroupMessage[]): void {
    const link = this.#links.get(to);
    if (link) link.send(messages);
    else this.#receiver?.unreachable(to);
  }

  async sendSnapshot(group: GroupId, message: InstallSnapshot, snapshot: StateSnapshot): Promise<void> {
    const { to } = message;
    const address = this.#links.get(to)?.address;
    if (address === undefined) throw new MetaError('UNAVAILABLE', `Node ${to} is no peer of this node.`);
    // A connection of its own: a large state must not stand in front of heartbeats.
    const options = { ...CHANNEL_OPTIONS, 'grpc.use_local_subchannel_pool': 1 };
    const client = new RaftPeerServiceClient(address, this.#credentials, options);
    try {
      await this.#stream(client, { header: snapshotToWire(group, message), chunks: snapshot.chunks() }, to);
    } catch (error) {
      throw error instanceof MetaError ? error : fromRpcFailure(error as ServiceError, address); // grpc-js rejects with nothing else
    } finally {
      client.close();
    }
  }

  async close(): Promise<void> {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    this.#receiver = undefined;
  }

  #open(peer: NodeId, address: string): PeerLink {
    const { secret, queueBytesMax = QUEUE_BYTES_MAX } = this.#options;
    const { clock, prng, logger } = this.#deps;
    return new PeerLink({
      self: this.#options,
      peer,
      address,
      secret,
      credentials: this.#credentials,
      queueBytesMax,
      clock,
      prng: prng.fork(`peer ${peer}`),
      logger,
      unreachable: () => this.#receiver?.unreachable(peer),
      removed: () => this.#receiver?.removed(peer),
      disconnected: () => this.#receiver?.disconnected(peer),
    });
  }

  #stream(client: RaftPeerServiceClient, snapshot: Parameters<typeof writeSnapshot>[1], to: NodeId): Promise<void> {
    const { secret, snapshotStallMs = SNAPSHOT_STALL_MS } = this.#options;
    return new Promise((resolve, reject) => {
      const call = client.installSnapshot(handshake(this.#options, to, secret), (failure) => {
        stall.cancel();
        if (failure) reject(failure);
        else resolve();
      });
      const stall = new StallTimer(this.#deps.clock, snapshotStallMs, () => {
        reject(new MetaError('DEADLINE', `Nothing of the snapshot to node ${to} moved for ${snapshotStallMs} ms.`));
        call.cancel();
      });
      writeSnapshot(call, snapshot, () => stall.alive()).catch((error: unknown) => {
        // When the peer ended the call, its status says more than the failed write, and rejects first.
        call.cancel();
        stall.cancel();
        this.#deps.clock.setImmediate(() => reject(error));
      });
    });
  }

  #deliver(call: Parameters<RaftPeerServiceServer['deliver']>[0]): void {
    const peer = checkHandshake(this.#options, call.metadata);
    if ('code' in peer) {
      call.emit('error', peer);
      return;
    }
    this.#links.get(peer.from)?.awake();
    if (this.#retired.includes(peer.from)) {
      call.emit('error', refuseRemoved(peer.from));
      return;
    }
    call.on('data', (request: DeliverRequest) => {
      if (this.#retired.includes(peer.from)) {
        call.emit('error', refuseRemoved(peer.from));
        return;
      }
      try {
        this.#receive(peer.from, request);
      } catch (error) {
        call.emit('error', {
          code: status.INVALID_ARGUMENT,
          details: `A message cannot be read: ${errorMessage(error)}.`,
        });
      }
    });
    call.on('error', () => {}); // the peer went away; its link comes again
    call.on('end', () => call.end());
    call.write({ protocol: PROTOCOL });
  }

  #receive(from: NodeId, request: DeliverRequest): void {
    const messages: GroupMessage[] = [];
    for (const wire of request.messages) {
      // P1: nobody speaks for another.
      if (wire.from !== from || wire.to !== this.#options.node) throw new RangeError(`from ${wire.from} to ${wire.to}`);
      messages.push(messageFromWire(wire));
    }
    this.#received += messages.length;
    this.#receiver?.receive(messages);
  }

  #install(...[call, answer]: Parameters<RaftPeerServiceServer['installSnapshot']>): void {
    const peer = checkHandshake(this.#options, call.metadata);
    if ('code' in peer) {
      answer(peer);
      return;
    }
    const receiver = this.#receiver;
    const taken = receiver
      ? takeSnapshot(receiver, call, { from: peer.from, to: this.#options.node })
      : Promise.reject(new MetaError('UNAVAILABLE', 'This node has not started its groups yet.'));
    taken.then(
      () => answer(null, {}),
      (error: unknown) => answer(toRpcFailure(error)),
    );
  }
}

async function takeSnapshot(
  receiver: PeerReceiver,
  call: Parameters<RaftPeerServiceServer['installSnapshot']>[0],
  between: { readonly from: NodeId; readonly to: NodeId },
): Promise<void> {
  const { header, chunks } = await readSnapshot(call);
  const { group, message } = snapshotFromWire(header, between);
  await receiver.receiveSnapshot(group, message, chunks);
}
