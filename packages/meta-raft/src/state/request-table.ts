import type { RequestIdentity } from './command.js';
import { encodeRequest, type RequestRecord, requestRecordKey } from './record.js';
import type { RecordLedger } from './record-ledger.js';

// These bound the replicated state, so they are the same on every replica and not options.
/** A client that was silent for so long, in log time, is forgotten. */
const CLIENT_IDLE_MS = 3_600_000;
const CLIENTS_MAX = 20_000;
/** Results remembered per client: what it may have in flight at once. */
export const REQUESTS_PER_CLIENT_MAX = 1024;
/** Clients forgotten per request at most, so that no single apply pays for many. */
const FORGOTTEN_PER_REQUEST = 4;
/** A larger result is not kept; its retry is told so. */
export const RESULT_BYTES_MAX = 64 * 1024;

const CLIENT_ID = /^[A-Za-z0-9_-]{1,64}$/;

export type RequestStanding =
  | { readonly standing: 'new' }
  /** Applied before; this is what came out. */
  | { readonly standing: 'applied'; readonly result: Buffer }
  /** A retry, and nothing is known of the first attempt any more. */
  | { readonly standing: 'forgotten' }
  | { readonly standing: 'invalid'; readonly why: string };

interface ClientEntry {
  readonly requests: Map<number, RequestRecord>;
  settledBelow: number;
  lastTimeMs: number;
}

/**
 * Remembers what came out of each client's recent requests, so that a retry is answered and not applied again.
 *
 * Invariants:
 *   R1. A request is applied at most once, also when its first attempt was forgotten: then the retry is refused.
 *       settledBelow is therefore part of the newest request's record, and survives a restart with it.
 *   R2. #clients is in the order of the clients' last requests: the idle ones come first. It is the same on all replicas.
 *   R3. A client in the table has at least one request remembered: its newest.
 */
export class RequestTable {
  readonly #ledger: RecordLedger;
  readonly #clients = new Map<string, ClientEntry>();

  constructor(ledger: RecordLedger) {
    this.#ledger = ledger;
  }

  get clients(): number {
    return this.#clients.size;
  }

  standing(identity: RequestIdentity): RequestStanding {
    if (!CLIENT_ID.test(identity.client)) return { standing: 'invalid', why: 'the client id is malformed' };
    if (identity.settledBelow > identity.sequence) return { standing: 'invalid', why: 'the request settles itself' };
    const entry = this.#clients.get(identity.client);
    const known = entry?.requests.get(identity.sequence);
    if (known) return { standing: 'applied', result: known.result };
    if (entry && identity.sequence < entry.settledBelow) return { standing: 'forgotten' }; // R1: a late duplicate
    if (!entry && identity.attempt > 1) return { standing: 'forgotten' }; // R1
    return { standing: 'new' };
  }

  /** After the request was applied at `index`. */
  remember(identity: RequestIdentity, result: Buffer, at: { readonly index: number; readonly timeMs: number }): void {
    // Who is not known and does not introduce itself was forgotten: any earlier request of it may have been applied (R1).
    const settledBelow = identity.attempt === 0 ? 0 : identity.sequence;
    const entry = this.#clients.get(identity.client) ?? { requests: new Map(), settledBelow, lastTimeMs: 0 };
    this.#forgetIdle(at.timeMs, identity.client);
    entry.lastTimeMs = at.timeMs;
    entry.settledBelow = Math.max(entry.settledBelow, identity.settledBelow);
    this.#trim(entry);
    const draft = {
      client: identity.client,
      sequence: identity.sequence,
      index: at.index,
      timeMs: at.timeMs,
      settledBelow: entry.settledBelow,
      result,
    };
    const encoded = encodeRequest(draft);
    this.#ledger.put(requestRecordKey(identity.client, identity.sequence), encoded);
    entry.requests.set(identity.sequence, { ...draft, crc: encoded.crc });
    this.#clients.delete(identity.client);
    this.#clients.set(identity.client, entry); // R2
  }

  /** Takes over one stored request; finishLoading() after the last. */
  load(record: RequestRecord): void {
    this.#ledger.count(record.crc);
    const entry = this.#clients.get(record.client) ?? { requests: new Map(), settledBelow: 0, lastTimeMs: 0 };
    entry.requests.set(record.sequence, record);
    entry.settledBelow = Math.max(entry.settledBelow, record.settledBelow);
    entry.lastTimeMs = Math.max(entry.lastTimeMs, record.timeMs);
    this.#clients.set(record.client, entry);
  }

  /** Brings clients, and each client's requests, back into the order in which they were applied. */
  finishLoading(): void {
    const ordered = [...this.#clients].map(([client, entry]) => {
      const requests = [...entry.requests.values()].sort((a, b) => a.index - b.index);
      return { client, entry, requests, lastIndex: requests.at(-1)?.index ?? 0 };
    });
    ordered.sort((a, b) => a.lastIndex - b.lastIndex);
    this.#clients.clear();
    for (const { client, entry, requests } of ordered) {
      entry.requests.clear();
      for (const request of requests) entry.requests.set(request.sequence, request);
      this.#clients.set(client, entry); // R2
    }
  }

  /** Makes room for one more: drops what is settled, and the oldest beyond the limit, which counts as settled then (R1). */
  #trim(entry: ClientEntry): void {
    for (const [sequence, request] of entry.requests) {
      if (sequence >= entry.settledBelow) {
        if (entry.requests.size < REQUESTS_PER_CLIENT_MAX) continue;
        entry.settledBelow = sequence + 1;
      }
      this.#forget(entry, request);
    }
  }

  #forgetIdle(timeMs: number, except: string): void {
    let left = FORGOTTEN_PER_REQUEST;
    for (const [client, entry] of this.#clients) {
      const idle = entry.lastTimeMs + CLIENT_IDLE_MS < timeMs;
      if (left-- === 0 || (!idle && this.#clients.size < CLIENTS_MAX)) return; // R2: those after it are younger
      if (client === except) continue;
      for (const request of entry.requests.values()) this.#forget(entry, request);
      this.#clients.delete(client);
    }
  }

  #forget(entry: ClientEntry, request: RequestRecord): void {
    this.#ledger.delete(requestRecordKey(request.client, request.sequence), request.crc);
    entry.requests.delete(request.sequence);
  }
}
