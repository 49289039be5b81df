import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { MetaError } from '../errors.js';
import type { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from '../gen/etcdserverpb/rpc.js';
import type { LeaseId } from '../state/record.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { fromRpcFailure } from './rpc-status.js';

interface Waiting {
  readonly resolve: (ttlMs: number) => void;
  readonly reject: (error: MetaError) => void;
}

interface OpenStream {
  readonly endpoint: Endpoint;
  readonly call: ClientDuplexStream<LeaseKeepAliveRequest, LeaseKeepAliveResponse>;
  /** Answers come per lease, in the order asked. */
  readonly waiting: Map<LeaseId, Waiting[]>;
}

/** The keep-alives of all leases of a client over one stream, opened when first needed. */
export class KeepAliveStream {
  readonly #endpoints: Endpoints;
  #open: OpenStream | undefined;

  constructor(endpoints: Endpoints) {
    this.#endpoints = endpoints;
  }

  /** The ttl from now on in milliseconds, 0 when there is no such lease. Rejects when the stream breaks. */
  ask(id: LeaseId, endpoint: Endpoint): Promise<number> {
    // A stream to an endpoint that was left would keep asking there.
    if (this.#open && this.#open.endpoint !== endpoint) this.close();
    const open = this.#open ?? this.#connect(endpoint);
    return new Promise((resolve, reject) => {
      const waiting = open.waiting.get(id);
      if (waiting) waiting.push({ resolve, reject });
      else open.waiting.set(id, [{ resolve, reject }]);
      open.call.write({ ID: id });
    });
  }

  close(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.call.end();
  }

  #connect(endpoint: Endpoint): OpenStream {
    const open: OpenStream = {
      endpoint,
      call: endpoint.lease.leaseKeepAlive(this.#endpoints.metadata()),
      waiting: new Map(),
    };
    open.call.on('data', (response: LeaseKeepAliveResponse) => {
      const waiting = open.waiting.get(response.ID);
      const first = waiting?.shift();
      if (waiting?.length === 0) open.waiting.delete(response.ID);
      first?.resolve(response.TTL * 1000);
    });
    open.call.on('error', (failure: ServiceError) => this.#broken(open, fromRpcFailure(failure, endpoint.address)));
    open.call.on('end', () =>
      this.#broken(
        open,
        new MetaError('UNAVAILABLE', `${endpoint.address} ended the keep-alives.`, { next: 'unknown' }),
      ),
    );
    this.#open = open;
    return open;
  }

  #broken(open: OpenStream, error: MetaError): void {
    if (this.#open === open) this.#open = undefined;
    for (const waiting of open.waiting.values()) {
      for (const { reject } of waiting) reject(error);
    }
    open.waiting.clear();
  }
}
