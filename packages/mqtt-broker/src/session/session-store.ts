// Sessions in the meta service: one key each, written by compare and swap.
//
//   mqtt/<tenant>/sessions/<clientId>   →   session-record.ts
//
// Invariants:
//   M1. A write names the revision it replaces. Whoever changed the record meanwhile owns the session now, and
//       this writer is fenced: it learns so and stops (D12).
//   M2. Writes of one client id follow each other: the caller waits for one before it starts the next.

import type { MetaClient } from '@robustmq/meta-raft/client';
import { MqttError } from '../errors.js';
import { decodeSessionRecord, encodeSessionRecord, type SessionRecord } from './session-record.js';

/** How many sessions one read brings at start. */
const LOAD_PAGE = 1000;

export interface StoredSession {
  readonly clientId: string;
  readonly record: SessionRecord;
  readonly revision: number;
}

/** 0 stands for "there is none yet": meta revisions of a key begin at 1. */
export const NO_REVISION = 0;

export class SessionStore {
  readonly #meta: MetaClient;
  readonly #prefix: string;

  constructor(meta: MetaClient, tenant: string) {
    this.#meta = meta;
    this.#prefix = `mqtt/${tenant}/sessions/`;
  }

  /** Every session there is, in pages. */
  async *load(): AsyncGenerator<StoredSession> {
    let after: string | undefined;
    for (;;) {
      const { kvs } = await this.#meta.range(
        { prefix: this.#prefix },
        { limit: LOAD_PAGE, ...(after === undefined ? {} : { after }) },
      );
      for (const { key, value, modRevision } of kvs) {
        const clientId = key.slice(this.#prefix.length);
        yield { clientId, record: decodeSessionRecord(clientId, value), revision: modRevision };
      }
      const last = kvs.at(-1);
      if (last === undefined || kvs.length < LOAD_PAGE) return;
      after = last.key;
    }
  }

  /** What is kept of one client now. */
  async read(clientId: string): Promise<StoredSession | undefined> {
    const found = await this.#meta.get(this.#prefix + clientId);
    if (found === undefined) return undefined;
    return { clientId, record: decodeSessionRecord(clientId, found.value), revision: found.modRevision };
  }

  /** Writes the record in place of `revision` and returns the new revision. Errors: SESSION_FENCED (M1), and MetaError. */
  async write(clientId: string, record: SessionRecord, revision: number): Promise<number> {
    const key = this.#prefix + clientId;
    const { succeeded, revision: written } = await this.#meta.transact({
      when: [{ key, target: 'modRevision', is: 'equal', than: revision }],
      then: [{ put: { key, value: encodeSessionRecord(record) } }],
    });
    if (!succeeded) throw fenced(clientId); // M1
    return written;
  }

  /** Errors: SESSION_FENCED (M1), and MetaError. */
  async remove(clientId: string, revision: number): Promise<void> {
    const key = this.#prefix + clientId;
    const { succeeded } = await this.#meta.transact({
      when: [{ key, target: 'modRevision', is: 'equal', than: revision }],
      then: [{ delete: { key } }],
    });
    if (!succeeded) throw fenced(clientId); // M1
  }
}

function fenced(clientId: string): MqttError {
  return new MqttError('SESSION_FENCED', `the session of client "${clientId}" has another owner now`);
}
