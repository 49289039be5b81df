// The claim of this process on its node id: the key `nodes/<id>`, written under a lease.
//
// Invariant:
//   N1. At most one process is registered under a node id. The key is written only when it is absent, is of this
//       process, or is of an earlier process on the same data directory: that one is dead, because its lock is ours.

import type { KeyValue, LeaseId, MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { RuntimeError } from './errors.js';
import { limitedSignal } from './limited-signal.js';
import { decodeNodeRecord, encodeNodeRecord, type NodeRecord, nodeKey } from './node-record.js';

/** A key that changes hands more often while we look is a fault. */
const ATTEMPTS_MAX = 10;

export interface NodeClaimDeps {
  readonly meta: MetaClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told what the claim is waiting for. */
  readonly note: (waitingFor: string) => void;
}

export interface ClaimOptions {
  /** Milliseconds to wait for another holder to vanish; its lease may be running out. */
  readonly patienceMs: number;
  readonly signal: AbortSignal | undefined;
}

export class NodeClaim {
  readonly #deps: NodeClaimDeps;
  readonly #ttlMs: number;
  readonly #key: string;
  #record: NodeRecord;

  constructor(record: NodeRecord, ttlMs: number, deps: NodeClaimDeps) {
    this.#record = record;
    this.#ttlMs = ttlMs;
    this.#deps = deps;
    this.#key = nodeKey(record.nodeId);
  }

  get record(): NodeRecord {
    return this.#record;
  }

  /** Writes the record under a fresh lease, and returns that. Throws NODE_ID_TAKEN (N1), MetaError, or the signal's reason. */
  async acquire({ patienceMs, signal }: ClaimOptions): Promise<LeaseId> {
    const { meta, clock } = this.#deps;
    const untilMs = clock.now() + patienceMs;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const held = await meta.get(this.#key, withSignal(signal));
      const holder = held && decodeNodeRecord(held.value);
      if (held && !this.#isOurs(holder)) {
        const leftMs = untilMs - clock.now();
        if (leftMs <= 0) throw this.#taken(holder);
        await this.#waitUntilGone(held, { leftMs, signal });
        continue;
      }
      const { id } = await meta.grantLease(this.#ttlMs, withSignal(signal));
      if (await this.#write({ over: held, lease: id, signal })) return id;
      await meta.revokeLease(id, withSignal(signal)); // somebody was faster: look again
    }
    throw this.#taken(undefined);
  }

  /** Changes the record under the lease that holds it. Throws NODE_ID_TAKEN when it is not ours any more. */
  async rewrite(record: NodeRecord, lease: LeaseId): Promise<void> {
    this.#record = record;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const held = await this.#deps.meta.get(this.#key);
      // Absent: the lease ran out. The next heartbeat finds that out and registers again, with this record.
      if (!held) return;
      const holder = decodeNodeRecord(held.value);
      if (!this.#isOurs(holder)) throw this.#taken(holder);
      if (await this.#write({ over: held, lease, signal: undefined })) return;
    }
    throw this.#taken(undefined);
  }

  /** N1 */
  #isOurs(holder: NodeRecord | undefined): boolean {
    if (!holder) return false;
    const { incarnation, dataDirectoryId } = this.#record;
    if (holder.incarnation === incarnation) return true;
    return dataDirectoryId !== undefined && holder.dataDirectoryId === dataDirectoryId;
  }

  /** False when the key is not any more as it was seen. */
  async #write({ over, lease, signal }: WriteOptions): Promise<boolean> {
    const key = this.#key;
    const { succeeded } = await this.#deps.meta.transact(
      {
        // Revision 0 is that of no key.
        when: [{ key, target: 'modRevision', is: 'equal', than: over?.modRevision ?? 0 }],
        then: [{ put: { key, value: encodeNodeRecord(this.#record), lease } }],
      },
      withSignal(signal),
    );
    return succeeded;
  }

  async #waitUntilGone(held: KeyValue, { leftMs, signal }: WaitOptions): Promise<void> {
    const { meta, clock, log, note } = this.#deps;
    const who = describeHolder(decodeNodeRecord(held.value));
    const text = `node ${this.#record.nodeId} is registered by ${who}`;
    note(text);
    log.warn({ waitMs: Math.round(leftMs) }, `${text}; waiting for that registration to end`);
    const limit = limitedSignal({ afterMs: leftMs, clock, signal });
    try {
      const changes = meta.watch({ key: this.#key }, { fromRevision: held.modRevision + 1, signal: limit.signal });
      for await (const { events } of changes) {
        if (events.some(({ type }) => type === 'delete')) return;
      }
    } catch (error) {
      if (!limit.signal.aborted || signal?.aborted) throw error;
    } finally {
      limit.end();
    }
  }

  #taken(holder: NodeRecord | undefined): RuntimeError {
    const who = describeHolder(holder);
    return new RuntimeError(
      'NODE_ID_TAKEN',
      `node ${this.#record.nodeId} is registered by ${who}, which is alive. Give this node another node_id, or stop the other process`,
    );
  }
}

interface WriteOptions {
  readonly over: KeyValue | undefined;
  readonly lease: LeaseId;
  readonly signal: AbortSignal | undefined;
}

interface WaitOptions {
  readonly leftMs: number;
  readonly signal: AbortSignal | undefined;
}

function withSignal(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal ? { signal } : {};
}

function describeHolder(holder: NodeRecord | undefined): string {
  if (!holder) return 'another process';
  return `another process (${holder.addresses['grpc'] ?? 'address unknown'}, started ${holder.startedAt})`;
}
