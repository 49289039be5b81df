import { assert } from '@robustmq/stdx/assert';
import type { KeyBytes } from './key-range.js';
import { encodeLease, type LeaseId, type LeaseRecord, leaseRecordKey } from './record.js';
import type { RecordLedger } from './record-ledger.js';

interface LeaseEntry {
  readonly record: LeaseRecord;
  readonly keys: Set<KeyBytes>;
}

/**
 * Which leases there are and which keys hang on them. When one has run out is not known here: the leader
 * counts the time (lease-keeper.ts) and proposes the expiry, so that all replicas remove the keys at the same index.
 *
 * Invariant T1: a key is attached to a lease exactly when its current version names that lease.
 */
export class LeaseTable {
  readonly #ledger: RecordLedger;
  readonly #leases = new Map<LeaseId, LeaseEntry>();

  constructor(ledger: RecordLedger) {
    this.#ledger = ledger;
  }

  get size(): number {
    return this.#leases.size;
  }

  get(id: LeaseId): LeaseRecord | undefined {
    return this.#leases.get(id)?.record;
  }

  /** Sorted by id, as a number. */
  all(): LeaseRecord[] {
    const records = [...this.#leases.values()].map((entry) => entry.record);
    return records.sort((a, b) => a.id.length - b.id.length || (a.id < b.id ? -1 : 1));
  }

  /** Sorted, so that every replica deletes them in the same order. */
  keysOf(id: LeaseId): KeyBytes[] {
    return [...(this.#leases.get(id)?.keys ?? [])].sort((a, b) => (a < b ? -1 : 1));
  }

  grant(id: LeaseId, ttlMs: number, grantIndex: number): void {
    assert(!this.#leases.has(id), 'a lease is granted once');
    const draft = { id, ttlMs, grantIndex };
    const encoded = encodeLease(draft);
    this.#ledger.put(leaseRecordKey(id), encoded);
    this.#leases.set(id, { record: { ...draft, crc: encoded.crc }, keys: new Set() });
  }

  /** Its keys are deleted already. */
  remove(id: LeaseId): void {
    const entry = this.#leases.get(id);
    assert(entry !== undefined && entry.keys.size === 0, 'a lease is removed after its keys');
    this.#ledger.delete(leaseRecordKey(id), entry.record.crc);
    this.#leases.delete(id);
  }

  attach(id: LeaseId, key: KeyBytes): void {
    const entry = this.#leases.get(id);
    assert(entry !== undefined, 'a key is attached to a lease that exists');
    entry.keys.add(key);
  }

  detach(id: LeaseId, key: KeyBytes): void {
    this.#leases.get(id)?.keys.delete(key);
  }

  load(record: LeaseRecord): void {
    this.#ledger.count(record.crc);
    this.#leases.set(record.id, { record, keys: new Set() });
  }
}
