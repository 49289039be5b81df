import type { Prng } from '@robustmq/stdx/prng';
import { MetaError } from '../errors.js';
import type { CommandBody, CommandResult, RequestIdentity } from '../state/command.js';
import type { LeaseId } from '../state/record.js';
import { LocalWatch } from './local-watch.js';
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
import { RequestSequence } from './request-sequence.js';
import {
  accepted,
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
import type { StateAccess } from './state-access.js';

export interface LocalMetaClientDeps {
  readonly access: StateAccess;
  readonly limits: RequestLimits;
  /** Draws lease ids. */
  readonly prng: Prng;
  /** Numbers the writes; a fresh one by default. */
  readonly requests?: RequestSequence;
}

/** The client of a node's own state: no wire, the same answers. Closing it closes nothing below. */
export class LocalMetaClient implements MetaClient {
  readonly #deps: LocalMetaClientDeps;
  readonly #requests: RequestSequence;
  readonly #watches = new Set<LocalWatch>();
  #phase: 'open' | 'closed' = 'open';

  constructor(deps: LocalMetaClientDeps) {
    this.#deps = deps;
    this.#requests = deps.requests ?? new RequestSequence();
  }

  async get(key: string, options: RangeOptions = {}): Promise<KeyValue | undefined> {
    const { kvs } = await this.range({ key }, options);
    return kvs[0];
  }

  async range(selector: KeySelector, options: RangeOptions = {}): Promise<RangeResult> {
    this.#checkOpen();
    const query = toQuery(selector, options, this.#deps.limits);
    const { access } = this.#deps;
    if (options.consistency !== 'serializable') await settled(access.readBarrier(options), options.signal);
    const answer = access.state.range(query);
    if ('kind' in answer) throw new MetaError(answer.code, answer.message);
    return toRangeResult(answer, access.state.versions.revision);
  }

  async put(
    key: string,
    value: Uint8Array,
    options: CallOptions & { readonly lease?: LeaseId } = {},
  ): Promise<{ readonly revision: number }> {
    const { lease } = options;
    const transaction = toPut({ key, value, ...(lease === undefined ? {} : { lease }) }, this.#deps.limits);
    const result = await this.#propose({ kind: 'transact', ...transaction }, options);
    return { revision: accepted(result, 'transacted').revision };
  }

  async delete(
    selector: KeySelector,
    options: CallOptions = {},
  ): Promise<{ readonly revision: number; readonly deleted: number }> {
    const transaction = toTransaction({ when: [], then: [{ delete: selector }] }, this.#deps.limits);
    const result = accepted(await this.#propose({ kind: 'transact', ...transaction }, options), 'transacted');
    const answer = result.answers[0];
    return { revision: result.revision, deleted: answer?.op === 'delete' ? answer.deleted : 0 };
  }

  async transact(transaction: Transaction, options: CallOptions = {}): Promise<TransactionResult> {
    const wanted = toTransaction(transaction, this.#deps.limits);
    return toTransactionResult(accepted(await this.#propose({ kind: 'transact', ...wanted }, options), 'transacted'));
  }

  async grantLease(ttlMs: number, options: CallOptions = {}): Promise<Lease> {
    // 2^48 ids: two of a million leases share one with a chance below 0.2 %, and then the second grant is refused aloud.
    const id = String(this.#deps.prng.between(1, 2 ** 48));
    const body: CommandBody = { kind: 'grant-lease', id, ttlMs: toTtlMs(ttlMs) };
    const granted = accepted(await this.#propose(body, options), 'lease-granted');
    return { id: granted.id, ttlMs: granted.ttlMs };
  }

  async keepLeaseAlive(id: LeaseId, options: CallOptions = {}): Promise<{ readonly ttlMs: number }> {
    this.#checkOpen();
    return settled(this.#deps.access.keepLeaseAlive(toLeaseId(id), options), options.signal);
  }

  async revokeLease(id: LeaseId, options: CallOptions = {}): Promise<void> {
    accepted(await this.#propose({ kind: 'revoke-lease', id: toLeaseId(id) }, options), 'lease-revoked');
  }

  watch(selector: KeySelector, options: WatchOptions = {}): AsyncIterable<WatchBatch> {
    this.#checkOpen();
    const watch = new LocalWatch({
      hub: this.#deps.access.watches,
      range: toRange(selector, this.#deps.limits),
      fromRevision: toFromRevision(options.fromRevision),
      signal: options.signal,
      onClose: (closed) => this.#watches.delete(closed),
    });
    this.#watches.add(watch);
    return watch;
  }

  /** Waiting watches end with CLOSED. Calls under way settle as they would have. */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    for (const watch of [...this.#watches]) watch.fail(closedError());
  }

  async #propose(body: CommandBody, options: CallOptions): Promise<CommandResult> {
    this.#checkOpen();
    await settled(
      this.#requests.introduced((identity) => this.#introduce(identity)),
      options.signal,
    );
    const identity = this.#requests.begin();
    try {
      return await settled(this.#deps.access.propose({ body, identity }, options), options.signal);
    } finally {
      this.#requests.end(identity);
    }
  }

  async #introduce(identity: RequestIdentity): Promise<void> {
    const body: CommandBody = { kind: 'transact', when: [], then: [], otherwise: [] };
    accepted(await this.#deps.access.propose({ body, identity }), 'transacted');
  }

  #checkOpen(): void {
    if (this.#phase === 'closed') throw closedError();
  }
}

function closedError(): MetaError {
  return new MetaError('CLOSED', 'The metadata client was closed. Create a new one.');
}

/** The call's outcome, or the signal's reason when that comes first. */
export function settled<T>(call: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return call;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    call.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
