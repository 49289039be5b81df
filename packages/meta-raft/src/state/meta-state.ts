import { unreachable } from '@robustmq/stdx/assert';
import { UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import {
  type Command,
  type CommandBody,
  type CommandResult,
  type RangeAnswer,
  type RangeQuery,
  type Rejection,
  rejected,
} from './command.js';
import { decodeCommand } from './command-codec.js';
import { keyFromText, prefixRange } from './key-range.js';
import { LeaseTable } from './lease-table.js';
import { decodeLease, decodeRequest, decodeVersion, type LeaseId } from './record.js';
import { type Digest, noSink, RecordLedger, type RecordSink } from './record-ledger.js';
import { RESULT_BYTES_MAX, RequestTable } from './request-table.js';
import { decodeResult, encodeResult } from './result-codec.js';
import { checkQuery, deleteKey, executeTransaction, leaseNotFound } from './transaction.js';
import { VersionStore } from './version-store.js';

/** Numbers of the state that no record holds; the log position is kept beside them by whoever stores them. */
export interface StateHeader {
  readonly revision: number;
  readonly compactedRevision: number;
  readonly timeMs: number;
}

/** 2^63 - 1, the largest lease id etcd's clients can hold. */
const LEASE_ID_MAX = '9223372036854775807';
/** etcd's limit: 9,000,000,000 s. */
export const LEASE_TTL_MS_MAX = 9_000_000_000_000;

/**
 * The replicated state: keys with their history, leases, and the requests already answered.
 *
 * Pure: no clock, no chance, no IO. What it writes goes to a RecordSink in the order it happened; a state
 * rebuilt from those records equals this one.
 *
 * Invariants:
 *   S1. apply() is total: any bytes give a result, and a rejected command changes nothing.
 *   S2. The same commands at the same indexes give the same state, results and records everywhere.
 *   S3. timeMs never goes back: of a command stamped earlier than the one before, the earlier stamp counts.
 */
export class MetaState {
  readonly versions: VersionStore;
  readonly leases: LeaseTable;
  readonly requests: RequestTable;
  readonly #ledger: RecordLedger;
  #timeMs = 0;

  constructor(sink: RecordSink = noSink) {
    this.#ledger = new RecordLedger(sink);
    this.versions = new VersionStore(this.#ledger);
    this.leases = new LeaseTable(this.#ledger);
    this.requests = new RequestTable(this.#ledger);
  }

  get header(): StateHeader {
    return {
      revision: this.versions.revision,
      compactedRevision: this.versions.compactedRevision,
      timeMs: this.#timeMs,
    };
  }

  /** Equal on replicas that applied the same log. */
  get digest(): Digest {
    return this.#ledger.digest;
  }

  /** Applies the command in the payload of the entry at `index`. */
  apply(payload: Buffer, index: number): CommandResult {
    const command = decode(payload);
    if ('kind' in command) return command; // S1
    const { identity } = command;
    if (identity) {
      if (identity.attempt === 0 && !isEmpty(command.body)) {
        return rejected('INVALID', 'An introduction of a client must not change anything.'); // R1
      }
      const known = this.requests.standing(identity);
      if (known.standing === 'applied') return decodeResult(known.result);
      if (known.standing === 'invalid') return rejected('INVALID', `The request is refused: ${known.why}.`);
      if (known.standing === 'forgotten') {
        return rejected(
          'FORGOTTEN',
          'Whether the first attempt was applied is no longer known. Read the state before trying again.',
        );
      }
    }
    this.#timeMs = Math.max(this.#timeMs, command.timeMs); // S3
    const result = this.#execute(command.body, index);
    if (identity && result.kind !== 'rejected') {
      this.requests.remember(identity, rememberable(result), { index, timeMs: this.#timeMs });
    }
    return result;
  }

  /** Reads keys of this state; the caller sees to it that the state is fresh enough. */
  range(query: RangeQuery): RangeAnswer | Rejection {
    return checkQuery(this.versions, query) ?? this.versions.range(query);
  }

  /** To be called first when rebuilding from records. */
  loadHeader(header: StateHeader): void {
    this.versions.loadCompacted(header.compactedRevision);
    this.#timeMs = header.timeMs;
  }

  /** One stored record; the versions come in order of their keys. Throws MetaError DAMAGED. */
  loadRecord(recordKey: string, record: Buffer): void {
    if (recordKey.startsWith('v/')) this.versions.load(decodeVersion(recordKey, record));
    else if (recordKey.startsWith('l/')) this.leases.load(decodeLease(recordKey, record));
    else this.requests.load(decodeRequest(recordKey, record));
  }

  /** To be called last: ties together what the records hold apart. */
  finishLoading(header: StateHeader): void {
    this.versions.finishLoading(header.revision);
    this.requests.finishLoading();
    if (this.leases.size === 0) return;
    this.versions.walk(prefixRange(keyFromText('')), 0, (version) => {
      if (version.lease !== undefined) this.leases.attach(version.lease, version.key); // T1
      return 'go-on';
    });
  }

  #execute(body: CommandBody, index: number): CommandResult {
    switch (body.kind) {
      case 'transact': {
        const done = executeTransaction(this, body);
        if (done.outcome === 'rejected') return done.rejection;
        const { branch, answers } = done;
        return { kind: 'transacted', branch, answers, revision: this.versions.revision };
      }
      case 'grant-lease':
        return this.#grantLease(body.id, body.ttlMs, index);
      case 'revoke-lease':
        return this.#removeLease(body.id);
      case 'expire-lease': {
        const lease = this.leases.get(body.id);
        return lease?.grantIndex === body.grantIndex ? this.#removeLease(body.id) : leaseNotFound(body.id);
      }
      case 'compact':
        return this.#compact(body.revision);
      default:
        return unreachable(body);
    }
  }

  #grantLease(id: LeaseId, ttlMs: number, index: number): CommandResult {
    if (!isLeaseId(id))
      return rejected('INVALID', `The lease id ${JSON.stringify(id.slice(0, 40))} is no number from 1 to 2^63 - 1.`);
    if (ttlMs < 1 || ttlMs > LEASE_TTL_MS_MAX) {
      return rejected('INVALID', `A ttl of ${ttlMs} ms is out of range: it is from 1 to ${LEASE_TTL_MS_MAX} ms.`);
    }
    if (this.leases.get(id)) return rejected('LEASE_EXISTS', `The lease ${id} exists already. Choose another id.`);
    this.leases.grant(id, ttlMs, index);
    return { kind: 'lease-granted', id, ttlMs, revision: this.versions.revision };
  }

  #removeLease(id: LeaseId): CommandResult {
    if (!this.leases.get(id)) return leaseNotFound(id);
    const writer = this.versions.write();
    for (const key of this.leases.keysOf(id)) {
      const version = this.versions.current(key);
      if (version) deleteKey(this, writer, version);
    }
    this.leases.remove(id);
    return { kind: 'lease-revoked', id, revision: this.versions.revision, deleted: writer.writes };
  }

  #compact(revision: number): CommandResult {
    const { versions } = this;
    if (revision > versions.revision) {
      return rejected(
        'FUTURE_REVISION',
        `Revision ${revision} has not happened yet; the newest is ${versions.revision}.`,
      );
    }
    if (revision <= versions.compactedRevision) {
      return rejected('COMPACTED', `History begins at revision ${versions.compactedRevision} already.`);
    }
    versions.compact(revision);
    return { kind: 'compacted', revision: versions.revision };
  }
}

export function isLeaseId(text: string): boolean {
  if (!/^[1-9][0-9]{0,18}$/.test(text)) return false;
  return text.length < LEASE_ID_MAX.length || text <= LEASE_ID_MAX;
}

function isEmpty(body: CommandBody): boolean {
  return body.kind === 'transact' && body.then.length === 0 && body.otherwise.length === 0;
}

function decode(payload: Buffer): Command | Rejection {
  try {
    return decodeCommand(payload);
  } catch (error) {
    if (error instanceof RangeError || error instanceof UnexpectedEnd) {
      return rejected('INVALID', `The command cannot be read: ${error.message}.`);
    }
    throw error;
  }
}

/** What a retry will be told: the result itself, unless it is too large to keep. */
function rememberable(result: CommandResult): Buffer {
  const bytes = encodeResult(result);
  if (bytes.length <= RESULT_BYTES_MAX) return Buffer.from(bytes);
  return encodeResult(
    rejected('FORGOTTEN', 'The request was applied, but its result was too large to keep for a retry.'),
  );
}
