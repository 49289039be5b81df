import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import { LocalMetaClient } from '../client/local-meta-client.js';
import type { MetaClient } from '../client/meta-client.js';
import { RequestSequence } from '../client/request-sequence.js';
import { DEFAULT_REQUEST_LIMITS } from '../options.js';
import type { Digest } from '../state/record-ledger.js';
import { SoloStateAccess } from './solo-state-access.js';

export interface MemoryMetaOptions {
  /** Runs the leases and stamps the commands; the system's clock by default. */
  readonly clock?: Clock;
  /** Of the lease ids; fixed by default, so that a test runs the same every time. */
  readonly seed?: number | string;
}

export interface MemoryMeta extends MetaClient {
  /** One more client of the same state: another node, as far as a test can tell. */
  connect(): MetaClient;
  /** From `unreachable` on every call of every client rejects with UNAVAILABLE, until `reachable`. Leases run out all the same. */
  setReachability(reachability: 'reachable' | 'unreachable'): void;
  /** Forgets history before a revision (the newest by default), as the service does from time to time. */
  compact(revision?: number): Promise<void>;
  readonly revision: number;
  readonly compactedRevision: number;
  /** Equal for states that went through the same changes. */
  readonly digest: Digest;
}

/**
 * The metadata service without Raft, disk and network: the real state, in memory, for tests of what stands on it.
 * close() closes this client and stops the leases; clients made by connect() are their makers' to close.
 */
export function createMemoryMeta(options: MemoryMetaOptions = {}): MemoryMeta {
  const access = new SoloStateAccess(options.clock ?? systemClock);
  const prng = createPrng(options.seed ?? 'memory-meta');
  let clients = 0;
  const connect = () => {
    const name = `client-${clients++}`;
    return new LocalMetaClient({
      access,
      limits: DEFAULT_REQUEST_LIMITS,
      prng: prng.fork(name),
      requests: new RequestSequence(name),
    });
  };
  return new MemoryMetaClient(access, connect);
}

class MemoryMetaClient implements MemoryMeta {
  readonly #access: SoloStateAccess;
  readonly #client: MetaClient;
  readonly connect: () => MetaClient;

  constructor(access: SoloStateAccess, connect: () => MetaClient) {
    this.#access = access;
    this.#client = connect();
    this.connect = connect;
  }

  get revision(): number {
    return this.#access.state.versions.revision;
  }

  get compactedRevision(): number {
    return this.#access.state.versions.compactedRevision;
  }

  get digest(): Digest {
    return this.#access.state.digest;
  }

  setReachability(reachability: 'reachable' | 'unreachable'): void {
    this.#access.setReachability(reachability);
  }

  async compact(revision = this.revision): Promise<void> {
    await this.#access.propose({ body: { kind: 'compact', revision } });
  }

  get: MetaClient['get'] = (key, options) => this.#client.get(key, options);
  range: MetaClient['range'] = (selector, options) => this.#client.range(selector, options);
  put: MetaClient['put'] = (key, value, options) => this.#client.put(key, value, options);
  delete: MetaClient['delete'] = (selector, options) => this.#client.delete(selector, options);
  transact: MetaClient['transact'] = (transaction, options) => this.#client.transact(transaction, options);
  grantLease: MetaClient['grantLease'] = (ttlMs, options) => this.#client.grantLease(ttlMs, options);
  keepLeaseAlive: MetaClient['keepLeaseAlive'] = (id, options) => this.#client.keepLeaseAlive(id, options);
  revokeLease: MetaClient['revokeLease'] = (id, options) => this.#client.revokeLease(id, options);
  watch: MetaClient['watch'] = (selector, options) => this.#client.watch(selector, options);

  async close(): Promise<void> {
    await this.#client.close();
    this.#access.close();
  }
}
