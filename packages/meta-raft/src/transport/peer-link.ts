import { type ChannelCredentials, type ClientDuplexStream, type ServiceError, status } from '@grpc/grpc-js';
import { Backoff } from '@robustmq/stdx/backoff';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { CHANNEL_OPTIONS } from '../client/endpoints.js';
import type { NodeId } from '../core/types.js';
import type { GroupMessage } from '../driver/peer-transport.js';
import { type DeliverRequest, type DeliverResponse, RaftPeerServiceClient } from '../gen/robustmq/raft/v1/raft.js';
import { handshake, type PeerIdentity, saysRemoved } from './handshake.js';
import { messageBytes, messageToWire } from './peer-messages.js';

export interface PeerLinkInit {
  readonly self: PeerIdentity;
  readonly peer: NodeId;
  /** host:port. */
  readonly address: string;
  readonly secret: string | undefined;
  readonly credentials: ChannelCredentials;
  /** Bytes handed to the connection and not yet taken by it; more is dropped. */
  readonly queueBytesMax: number;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly unreachable: () => void;
  readonly removed: () => void;
  readonly disconnected: () => void;
}

type Call = ClientDuplexStream<DeliverRequest, DeliverResponse>;

type LinkPhase =
  /** Sent for, not yet welcomed: messages are queued as if it were. */
  | { readonly phase: 'connecting'; readonly call: Call }
  | { readonly phase: 'connected'; readonly call: Call }
  | { readonly phase: 'waiting'; readonly timer: Timer }
  | { readonly phase: 'closed' };

const RECONNECT_BACKOFF = { firstMs: 50, longestMs: 1000 };

/**
 * The stream of messages to one peer.
 *
 * Invariants:
 *   L1. Nothing is sent twice: what was handed to a stream that broke is lost, and Raft sends what matters again.
 *   L2. Queued bytes are bounded; a message that does not fit is dropped and reported, and so is one sent while
 *       there is no stream.
 */
export class PeerLink {
  readonly address: string;
  readonly #init: PeerLinkInit;
  #client: RaftPeerServiceClient;
  readonly #backoff: Backoff;
  #phase: LinkPhase;
  #queuedBytes = 0;
  #sent = 0;
  #dropped = 0;
  #lastFailure = '';

  constructor(init: PeerLinkInit) {
    this.#init = init;
    this.address = init.address;
    this.#client = this.#openClient();
    this.#backoff = new Backoff(RECONNECT_BACKOFF, init.prng);
    this.#phase = this.#connect();
  }

  get statistics(): {
    readonly sent: number;
    readonly dropped: number;
    readonly queuedBytes: number;
    readonly connected: boolean;
  } {
    const connected = this.#phase.phase === 'connected';
    return { sent: this.#sent, dropped: this.#dropped, queuedBytes: this.#queuedBytes, connected };
  }

  send(messages: readonly GroupMessage[]): void {
    const phase = this.#phase;
    if (phase.phase !== 'connecting' && phase.phase !== 'connected') {
      this.#drop(messages.length);
      return;
    }
    let bytes = 0;
    for (const { message } of messages) bytes += messageBytes(message);
    // An empty queue takes anything: a frame larger than the bound must not be refused for ever.
    if (this.#queuedBytes > 0 && this.#queuedBytes + bytes > this.#init.queueBytesMax) {
      this.#drop(messages.length);
      return;
    }
    this.#queuedBytes += bytes;
    this.#sent += messages.length;
    phase.call.write({ messages: messages.map(messageToWire) }, () => {
      if (this.#callOf(this.#phase) === phase.call) this.#queuedBytes -= bytes;
    });
  }

  /** The peer has just connected to this node, so that it can be reached again: no reason to wait any longer. */
  awake(): void {
    if (this.#phase.phase !== 'waiting') return;
    this.#phase.timer.cancel();
    this.#backoff.reset();
    // The channel waits too, by itself, after a failed attempt; a new one does not.
    this.#client.close();
    this.#client = this.#openClient();
    this.#phase = this.#connect();
  }

  close(): void {
    const before = this.#phase;
    this.#phase = { phase: 'closed' };
    if (before.phase === 'waiting') before.timer.cancel();
    else if (before.phase !== 'closed') before.call.cancel();
    this.#client.close();
  }

  #openClient(): RaftPeerServiceClient {
    // A connection that no other channel has tried and given up for now.
    const options = { ...CHANNEL_OPTIONS, 'grpc.use_local_subchannel_pool': 1 };
    return new RaftPeerServiceClient(this.#init.address, this.#init.credentials, options);
  }

  #connect(): LinkPhase {
    const { self, peer, secret } = this.#init;
    const call = this.#client.deliver(handshake(self, peer, secret));
    this.#queuedBytes = 0;
    call.on('data', () => this.#welcomed(call));
    call.on('error', (failure: ServiceError) => this.#lost(call, failure));
    call.on('end', () => this.#lost(call, undefined));
    return { phase: 'connecting', call };
  }

  #welcomed(call: Call): void {
    if (this.#callOf(this.#phase) !== call) return;
    this.#phase = { phase: 'connected', call };
    this.#backoff.reset();
    this.#lastFailure = '';
    this.#init.logger.debug({ peer: this.#init.peer, address: this.address }, 'connected to a peer');
  }

  #lost(call: Call, failure: ServiceError | undefined): void {
    if (this.#callOf(this.#phase) !== call) return;
    const { clock, unreachable, removed, disconnected } = this.#init;
    const stood = this.#phase.phase === 'connected';
    const timer = clock.setTimer(this.#backoff.nextDelayMs(), () => {
      this.#phase = this.#connect();
    });
    this.#phase = { phase: 'waiting', timer };
    this.#report(failure);
    if (stood) disconnected();
    else unreachable();
    if (saysRemoved(failure?.metadata)) removed();
  }

  /** Aloud once per reason: a peer that is down is asked every second. */
  #report(failure: ServiceError | undefined): void {
    const reason = failure?.details ?? 'the peer ended the stream';
    if (reason === this.#lastFailure) return;
    this.#lastFailure = reason;
    const { peer, logger } = this.#init;
    const refused = failure?.code === status.FAILED_PRECONDITION || failure?.code === status.UNAUTHENTICATED;
    const fields = { peer, address: this.address, reason };
    if (refused) logger.error(fields, 'a peer refuses this node');
    else logger.info(fields, 'a peer cannot be reached');
  }

  #drop(messages: number): void {
    this.#dropped += messages;
    this.#init.unreachable();
  }

  #callOf(phase: LinkPhase): Call | undefined {
    return phase.phase === 'connecting' || phase.phase === 'connected' ? phase.call : undefined;
  }
}
