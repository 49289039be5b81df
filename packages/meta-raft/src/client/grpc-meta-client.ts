import type { ClientUnaryCall, Metadata, CallOptions as RpcCallOptions, ServiceError } from '@grpc/grpc-js';
import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { MetaError } from '../errors.js';
import type { RequestIdentity, StateTransaction } from '../state/command.js';
import type { LeaseId } from '../state/record.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { rangeAnswerFromWire, transactionResultFromWire } from './etcd-answers.js';
import { queryToWire, transactionToWire } from './etcd-requests.js';
import { GrpcWatch } from './grpc-watch.js';
import { KeepAliveStream } from './keep-alive-stream.js';
import type {
  CallOptions,
  KeySelector,
  KeyValue,
  Lease,
  MetaClient,
  RangeOptions,
  RangeResult,
  Transaction,
  TransactionResult,
  WatchBatch,
  WatchOptions,
} from './meta-client.js';
import { IDENTITY_KEYS } from './request-identity.js';
import { RequestSequence } from './request-sequence.js';
import {
  type RequestLimits,
  toFromRevision,
  toLeaseId,
  toPut,
  toQuery,
  toRange,
  toRangeResult,
  toTransaction,
  toTransactionResult,
  toTtlMs,
} from './requests.js';
import { type Attempt, retrying } from './retry.js';
import { fromRpcFailure } from './rpc-status.js';

export interface GrpcMetaClientInit {
  readonly endpoints: Endpoints;
  readonly limits: RequestLimits;
  readonly requestTimeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** `deduplicated`: the service applies a repeated write once. `never`: it cannot tell, so only what was surely not applied is repeated. */
  readonly writeRetries: 'deduplicated' | 'never';
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
}

/** The generated form of a unary stub: request, metadata, options, callback. */
type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<RpcCallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** MetaClient over the etcd API. Tries every endpoint, rides over elections, and repeats only what is safe to repeat. */
export class GrpcMetaClient implements MetaClient {
  readonly #init: GrpcMetaClientInit;
  readonly #requests = new RequestSequence();
  readonly #keepAlives: KeepAliveStream;
  readonly #watches = new Set<GrpcWatch>();
  /** Ends every call that waits for an answer. */
  readonly #inFlight = new Set<(error: MetaError) => void>();
  #phase: 'open' | 'closed' = 'open';

  constructor(init: GrpcMetaClientInit) {
    this.#init = init;
    this.#keepAlives = new KeepAliveStream(init.endpoints);
  }

  async get(key: string, options: RangeOptions = {}): Promise<KeyValue | undefined> {
    const { kvs } = await this.range({ key }, options);
    return kvs[0];
  }

  async range(selector: KeySelector, options: RangeOptions = {}): Promise<RangeResult> {
    const query = queryToWire(toQuery(selector, options, this.#init.limits));
    const request = { ...query, serializable: options.consistency === 'serializable' };
    const response = await this.#read(({ kv }) => kv.range.bind(kv), request, options);
    return toRangeResult(rangeAnswerFromWire(response), response.header?.revision ?? 0);
  }

  async put(
    key: string,
    value: Uint8Array,
    options: CallOptions & { readonly lease?: LeaseId } = {},
  ): Promise<{ readonly revision: number }> {
    const { lease } = options;
    const transaction = toPut({ key, value, ...(lease === undefined ? {} : { lease }) }, this.#init.limits);
    const { revision } = await this.#transact(transaction, options);
    return { revision };
  }

  async delete(
    selector: KeySelector,
    options: CallOptions = {},
  ): Promise<{ readonly revision: number; readonly deleted: number }> {
    const transaction = toTransaction({ when: [], then: [{ delete: selector }] }, this.#init.limits);
    const { revision, answers } = await this.#transact(transaction, options);
    const [answer] = answers;
    return { revision, deleted: answer?.op === 'delete' ? answer.deleted : 0 };
  }

  async transact(transaction: Transaction, options: CallOptions = {}): Promise<TransactionResult> {
    return toTransactionResult(await this.#transact(toTransaction(transaction, this.#init.limits), options));
  }

  async grantLease(ttlMs: number, options: CallOptions = {}): Promise<Lease> {
    const request = { TTL: toTtlMs(ttlMs) / 1000, ID: '0' };
    const granted = await this.#write(({ lease }) => lease.leaseGrant.bind(lease), request, options);
    return { id: granted.ID, ttlMs: granted.TTL * 1000 };
  }

  async keepLeaseAlive(id: LeaseId, options: CallOptions = {}): Promise<{ readonly ttlMs: number }> {
    toLeaseId(id);
    const ttlMs = await this.#attempts(
      options,
      () => true,
      async (attempt) => {
        const { current } = this.#init.endpoints;
        return this.#within(attempt, current, this.#keepAlives.ask(id, current));
      },
    );
    if (ttlMs > 0) return { ttlMs };
    throw new MetaError('LEASE_NOT_FOUND', `There is no lease ${id}: it expired or was revoked. Grant a new one.`);
  }

  async revokeLease(id: LeaseId, options: CallOptions = {}): Promise<void> {
    await this.#write(({ lease }) => lease.leaseRevoke.bind(lease), { ID: toLeaseId(id) }, options);
  }

  watch(selector: KeySelector, options: WatchOptions = {}): AsyncIterable<WatchBatch> {
    this.#checkOpen();
    const { endpoints, limits, clock, prng, logger } = this.#init;
    const watch = new GrpcWatch({
      endpoints,
      range: toRange(selector, limits),
      fromRevision: toFromRevision(options.fromRevision),
      signal: options.signal,
      clock,
      prng,
      logger,
      onClose: (closed) => this.#watches.delete(closed),
    });
    this.#watches.add(watch);
    return watch;
  }

  /** Calls under way reject with CLOSED, and so do watches when what they received is taken. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    for (const end of [...this.#inFlight]) end(closedError());
    for (const watch of [...this.#watches]) watch.fail(closedError());
    this.#keepAlives.close();
    this.#init.endpoints.close();
  }

  async #transact(transaction: StateTransaction, options: CallOptions) {
    const request = transactionToWire(transaction);
    return transactionResultFromWire(await this.#write(({ kv }) => kv.txn.bind(kv), request, options));
  }

  #read<Request, Response>(
    stub: (endpoint: Endpoint) => Unary<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    return this.#attempts(
      options,
      () => true,
      (attempt) => this.#call(stub, { request, attempt, options }),
    );
  }

  async #write<Request, Response>(
    stub: (endpoint: Endpoint) => Unary<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const repeats = this.#init.writeRetries === 'deduplicated';
    if (repeats) await this.#requests.introduced((identity) => this.#introduce(identity));
    const identity = this.#requests.begin();
    try {
      return await this.#attempts(
        options,
        (error) => repeats || error.next !== 'unknown',
        (attempt) =>
          this.#call(stub, { request, attempt, options, identity: { ...identity, attempt: 1 + attempt.ambiguous } }),
      );
    } finally {
      this.#requests.end(identity);
    }
  }

  async #introduce(identity: RequestIdentity): Promise<void> {
    const request = { compare: [], success: [], failure: [] };
    await this.#attempts(
      {},
      () => true,
      (attempt) => this.#call(({ kv }) => kv.txn.bind(kv), { request, attempt, options: {}, identity }),
    );
  }

  #attempts<T>(
    options: CallOptions,
    isSafe: (error: MetaError) => boolean,
    call: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    this.#checkOpen();
    const { clock, prng, requestTimeoutMs, endpoints } = this.#init;
    const isRetryable = (error: MetaError) => isTransient(error) && isSafe(error);
    return retrying(
      { clock, prng, timeoutMs: requestTimeoutMs, signal: options.signal, isRetryable },
      async (attempt) => {
        this.#checkOpen();
        const endpoint = endpoints.current;
        try {
          return await call(attempt);
        } catch (error) {
          if (error instanceof MetaError && isTransient(error)) endpoints.moveOn(endpoint);
          throw error;
        }
      },
    );
  }

  #call<Request, Response>(
    stub: (endpoint: Endpoint) => Unary<Request, Response>,
    {
      request,
      attempt,
      options,
      identity,
    }: {
      readonly request: Request;
      readonly attempt: Attempt;
      readonly options: CallOptions;
      readonly identity?: RequestIdentity;
    },
  ): Promise<Response> {
    const { endpoints, clock } = this.#init;
    const endpoint = endpoints.current;
    const metadata = endpoints.metadata();
    if (identity) writeIdentity(metadata, identity);
    const deadline = clock.wallTime() + this.#attemptMs(attempt);
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const settle = () => {
        signal?.removeEventListener('abort', onAbort);
        this.#inFlight.delete(end);
      };
      const end = (reason: unknown) => {
        settle();
        call.cancel();
        reject(reason);
      };
      const onAbort = () => end(signal?.reason);
      const call = stub(endpoint)(request, metadata, { deadline }, (failure, response) => {
        settle();
        if (failure) reject(fromRpcFailure(failure, endpoint.address));
        else resolve(response);
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#inFlight.add(end);
    });
  }

  /** Rejects when the answer of a stream takes longer than an attempt may. */
  #within<T>(attempt: Attempt, endpoint: Endpoint, answer: Promise<T>): Promise<T> {
    const limitMs = this.#attemptMs(attempt);
    return new Promise((resolve, reject) => {
      const timer = this.#init.clock.setTimer(limitMs, () => {
        reject(new MetaError('DEADLINE', `No answer from ${endpoint.address} within ${Math.round(limitMs)} ms.`));
      });
      this.#inFlight.add(reject);
      answer.then(resolve, reject).finally(() => {
        timer.cancel();
        this.#inFlight.delete(reject);
      });
    });
  }

  /** One attempt must not use up the time of the others: a member that hangs is left for the next. */
  #attemptMs({ remainingMs }: Attempt): number {
    return Math.min(remainingMs, this.#init.attemptTimeoutMs);
  }

  #checkOpen(): void {
    if (this.#phase === 'closed') throw closedError();
  }
}

/** Another attempt, perhaps at another member, may fare better. */
function isTransient(error: MetaError): boolean {
  return error.next !== 'never' && error.code !== 'FORGOTTEN';
}

function writeIdentity(metadata: Metadata, identity: RequestIdentity): void {
  metadata.set(IDENTITY_KEYS.client, identity.client);
  metadata.set(IDENTITY_KEYS.sequence, String(identity.sequence));
  metadata.set(IDENTITY_KEYS.settledBelow, String(identity.settledBelow));
  metadata.set(IDENTITY_KEYS.attempt, String(identity.attempt));
}

function closedError(): MetaError {
  return new MetaError('CLOSED', 'The metadata client was closed. Create a new one.');
}
