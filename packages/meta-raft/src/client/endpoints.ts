import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';
import { MiB } from '@robustmq/stdx/byte-size';
import { MetaError } from '../errors.js';
import { KVClient, LeaseClient, WatchClient } from '../gen/etcdserverpb/rpc.js';

/** One address and the stubs that speak to it. They share one HTTP/2 connection. */
export interface Endpoint {
  readonly address: string;
  readonly kv: KVClient;
  readonly lease: LeaseClient;
  readonly watch: WatchClient;
}

export interface EndpointsOptions {
  /** host:port each. */
  readonly addresses: readonly string[];
  readonly secret: string | undefined;
  readonly credentials: ChannelCredentials | undefined;
}

export const CHANNEL_OPTIONS = {
  // grpc-js waits 1 s to 120 s between attempts by default: far longer than a failover takes.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1000,
  // A dead peer is noticed within six seconds; a stalled one that answers within five is kept.
  'grpc.keepalive_time_ms': 1000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': 64 * MiB,
  'grpc.max_send_message_length': 64 * MiB,
  // Retries are ours: only we know what is safe to repeat.
  'grpc.enable_retries': 0,
};

const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):([0-9]{1,5})$/;

/** The addresses of a cluster and which of them is asked first: the one that answered last. */
export class Endpoints {
  readonly #list: readonly Endpoint[];
  readonly #secret: string | undefined;
  #preferred = 0;

  /** Throws INVALID. */
  constructor(options: EndpointsOptions) {
    if (options.addresses.length === 0)
      throw new MetaError('INVALID', 'No endpoint is given. Give at least one host:port.');
    for (const address of options.addresses) {
      const port = Number(ADDRESS.exec(address)?.[2] ?? 0);
      if (port < 1 || port > 65_535) {
        throw new MetaError('INVALID', `The endpoint ${JSON.stringify(address)} is no host:port.`);
      }
    }
    const channel = options.credentials ?? credentials.createInsecure();
    this.#secret = options.secret;
    this.#list = options.addresses.map((address) => openEndpoint(address, channel));
  }

  get current(): Endpoint {
    return this.#list[this.#preferred % this.#list.length] as Endpoint; // never empty
  }

  get size(): number {
    return this.#list.length;
  }

  /** The next one is asked from now on, unless another caller has moved on already. */
  moveOn(from: Endpoint): void {
    if (this.current === from) this.#preferred = (this.#preferred + 1) % this.#list.length;
  }

  /** What every call carries. */
  metadata(): Metadata {
    const metadata = new Metadata();
    if (this.#secret !== undefined) metadata.set('authorization', `Bearer ${this.#secret}`);
    return metadata;
  }

  close(): void {
    for (const { kv, lease, watch } of this.#list) {
      for (const stub of [kv, lease, watch]) stub.close();
    }
  }
}

function openEndpoint(address: string, channel: ChannelCredentials): Endpoint {
  const kv = new KVClient(address, channel, CHANNEL_OPTIONS);
  const shared = { channelOverride: kv.getChannel() };
  return {
    address,
    kv,
    lease: new LeaseClient(address, channel, shared),
    watch: new WatchClient(address, channel, shared),
  };
}
