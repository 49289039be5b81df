// What a start finds of QoS 2 handshakes: the newest snapshot, the steps since, and the messages since.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { StoredMessage } from '../codec/stored-message.js';
import type { RestoredDelivery } from '../deliver/durable-inflight.js';
import type { StoredAt } from '../deliver/session-delivery.js';
import {
  decodeSessionLogEntry,
  type SessionLogEntry,
  type SessionState,
  type SessionStep,
} from './session-log-entry.js';

export interface RecoveredSession {
  readonly outbound: Map<number, RestoredDelivery>;
  /** QoS 2 messages that the client has. */
  readonly done: StoredAt[];
  /** By packet id: messages of the client that it has not released. */
  readonly inbound: Map<number, StoredAt>;
}

export interface RecoveryDeps {
  readonly storage: ShardStorage;
  readonly logger: Logger;
  readonly messageShards: readonly ShardId[];
  /** The epoch the session of a client id began with; undefined when it has none. */
  readonly bornOf: (clientId: string) => number | undefined;
}

export interface RecoveredLog {
  readonly sessions: ReadonlyMap<string, RecoveredSession>;
  readonly snapshotAt: number;
  /** The sum of the message shards' ends at the snapshot. */
  readonly messageEnds: number;
}

const PAGE = { maxRecords: 4096, maxBytes: 4 * 1024 * 1024 } as const;

/** Errors: StorageError. */
export async function recoverSessionLog(id: ShardId, deps: RecoveryDeps): Promise<RecoveredLog> {
  const recovery = new Recovery(deps);
  await recovery.readLog(id);
  for (const [shard, message] of deps.messageShards.entries()) await recovery.readMessages(shard, message);
  return recovery.finish();
}

class Recovery {
  readonly #deps: RecoveryDeps;
  #sessions = new Map<string, RecoveredSession>();
  /** Places of messages whose senders have released them; a message read later is not inbound then. */
  #released = new Set<string>();
  #ends: readonly number[] = [];
  #snapshotAt = 0;

  constructor(deps: RecoveryDeps) {
    this.#deps = deps;
  }

  async readLog(id: ShardId): Promise<void> {
    const { logStart, end } = await this.#deps.storage.describeShard(id);
    this.#snapshotAt = logStart;
    for (let from = logStart; from < end; ) {
      const { records, next } = await this.#deps.storage.read(id, { from, ...PAGE });
      for (const { offset, payload } of records) {
        const entry = this.#decode(id, { offset, payload });
        if (entry?.kind === 'snapshot') this.#snapshotAt = offset;
        if (entry !== undefined) this.#apply(entry);
      }
      from = next;
    }
  }

  async readMessages(shard: number, id: ShardId): Promise<void> {
    const { logStart, end } = await this.#deps.storage.describeShard(id);
    const start = Math.min(Math.max(this.#ends[shard] ?? 0, logStart), end) as Offset; // between two offsets
    for (let from = start; from < end; ) {
      const { records, next } = await this.#deps.storage.read(id, { from, ...PAGE });
      for (const { offset, payload } of records) this.#applyMessage({ shard, offset }, payload);
      from = next;
    }
  }

  finish(): RecoveredLog {
    const messageEnds = this.#ends.reduce((total, end) => total + end, 0);
    return { sessions: this.#sessions, snapshotAt: this.#snapshotAt, messageEnds };
  }

  #decode(id: ShardId, { offset, payload }: { readonly offset: Offset; readonly payload: Buffer }) {
    try {
      return decodeSessionLogEntry(payload);
    } catch (error) {
      this.#deps.logger.error(
        { shard: id, offset, error: errorMessage(error) },
        'a session log entry cannot be read; skipped',
      );
      return undefined;
    }
  }

  #apply(entry: SessionLogEntry): void {
    if (entry.kind === 'snapshot') {
      this.#sessions = new Map(); // Q2
      this.#released = new Set();
      this.#ends = entry.ends;
    } else if (this.#isCurrent(entry.clientId, entry.epoch)) {
      const session = this.#session(entry.clientId);
      if (entry.kind === 'state') applyState(session, entry);
      else this.#applyStep(session, entry);
    }
  }

  #applyStep({ outbound, done, inbound }: RecoveredSession, { kind, packetId, at }: SessionStep): void {
    switch (kind) {
      case 'sent':
        outbound.set(packetId, { packetId, at, stage: 'sent' });
        break;
      case 'received':
        outbound.delete(packetId); // to the back: PUBRELs are repeated in the order of PUBRECs
        outbound.set(packetId, { packetId, at, stage: 'released' });
        done.push(at);
        break;
      case 'completed':
        if (sameAt(outbound.get(packetId)?.at, at)) outbound.delete(packetId);
        done.push(at);
        break;
      case 'released':
        if (sameAt(inbound.get(packetId), at)) inbound.delete(packetId);
        this.#released.add(`${at.shard}/${at.offset}`);
        break;
    }
  }

  #applyMessage(at: StoredAt, payload: Buffer): void {
    let message: StoredMessage;
    try {
      message = new StoredMessage(payload);
    } catch {
      return; // reported when a session reads it
    }
    const { origin } = message;
    if (origin === undefined || this.#released.has(`${at.shard}/${at.offset}`)) return;
    const clientId = message.publisherId;
    if (this.#isCurrent(clientId, origin.sessionEpoch)) this.#session(clientId).inbound.set(origin.packetId, at);
  }

  /** Q3 of session-log.ts. */
  #isCurrent(clientId: string, epoch: number): boolean {
    return epoch >= (this.#deps.bornOf(clientId) ?? Number.POSITIVE_INFINITY);
  }

  #session(clientId: string): RecoveredSession {
    const known = this.#sessions.get(clientId);
    if (known !== undefined) return known;
    const session = { outbound: new Map(), done: [], inbound: new Map() };
    this.#sessions.set(clientId, session);
    return session;
  }
}

function applyState(session: RecoveredSession, { kept }: SessionState): void {
  for (const { kind, packetId, at } of kept) {
    if (kind === 'inbound') session.inbound.set(packetId, at);
    else if (kind === 'done') session.done.push(at);
    else session.outbound.set(packetId, { packetId, at, stage: kind });
  }
}

function sameAt(one: StoredAt | undefined, other: StoredAt): boolean {
  return one?.shard === other.shard && one.offset === other.offset;
}
