// This node's registration: a key that lives as long as its lease is kept alive.
//
// Invariants:
//   N1. At most one process is registered under a node id. The key is written only when it is absent, is of this
//       process, or is of an earlier process on the same data directory: that one is dead, because its lock is ours.
//   N2. When the lease is lost the node registers again; when another process took its place it stops.
//   N3. "Registered" is claimed only while the metadata confirmed it within the last ttl.

import { randomUUID } from 'node:crypto';
import type { KeyValue, LeaseId, MetaClient } from '@robustmq/meta-raft/client';
import { assert } from '@robustmq/stdx/assert';
import { Backoff } from '@robustmq/stdx/backoff';
import { type Clock, systemClock, type Timer } from '@robustmq/stdx/clock';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import { RuntimeError } from './errors.js';
import type { CheckResult } from './health.js';
import { decodeNodeRecord, encodeNodeRecord, type NodeRecord, nodeKey } from './node-record.js';

export interface RegisterNodeOptions {
  readonly node: Omit<NodeRecord, 'incarnation' | 'startedAt'>;
  /** Milliseconds a node is still thought alive after its last heartbeat. Default 10,000: three heartbeats of 3 s. */
  readonly leaseTtlMs?: number;
  /** Gives up waiting for the metadata, or for another holder of the node id to vanish. */
  readonly signal?: AbortSignal;
}

export interface RegisterNodeDeps {
  readonly meta: MetaClient;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Another process took this node's place (N2): this one must stop. Called once. */
  readonly onReplaced: (error: RuntimeError) => void;
  /** Told what the registration is waiting for. */
  readonly note?: (waitingFor: string) => void;
}

export interface NodeRegistration extends AsyncDisposable {
  readonly record: NodeRecord;
  /** The lease behind the registration; another one after it was lost and renewed. */
  readonly lease: LeaseId;
  /** For Health: whether the cluster holds this node for alive (N3). */
  check(): CheckResult;
  /** Changes what the cluster knows of this node, such as addresses of listeners opened since. */
  update(change: Partial<Pick<NodeRecord, 'roles' | 'addresses'>>): Promise<void>;
  /** Takes the node off the list and ends the heartbeats. */
  close(): Promise<void>;
}

const LEASE_TTL_MS = 10_000;
/** Heartbeats per ttl: two may be lost. */
const HEARTBEATS_PER_TTL = 3;
/** A key that changes hands more often while we look is a fault. */
const ATTEMPTS_MAX = 10;

/** Resolves when this node is registered. Throws NODE_ID_TAKEN, MetaError, or the signal's reason. */
export async function registerNode(options: RegisterNodeOptions, deps: RegisterNodeDeps): Promise<NodeRegistration> {
  const registration = new Registration(options, deps);
  await registration.begin(options.signal);
  return registration;
}

type State =
  | { readonly kind: 'registering' }
  | { readonly kind: 'registered'; readonly lease: LeaseId; readonly confirmedMs: number }
  | { readonly kind: 'replaced'; readonly error: RuntimeError }
  | { readonly kind: 'closed' };

class Registration implements NodeRegistration {
  readonly #meta: MetaClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onReplaced: (error: RuntimeError) => void;
  readonly #note: (waitingFor: string) => void;
  readonly #ttlMs: number;
  readonly #key: string;
  readonly #closing = new AbortController();
  #record: NodeRecord;
  #state: State = { kind: 'registering' };
  #lease: LeaseId = '';
  #timer: Timer | undefined;
  #lastFailure: string | undefined;
  #beat: Promise<void> = Promise.resolve();

  constructor({ node, leaseTtlMs = LEASE_TTL_MS }: RegisterNodeOptions, deps: RegisterNodeDeps) {
    this.#meta = deps.meta;
    this.#clock = deps.clock ?? systemClock;
    this.#log = deps.log ?? nullLogger;
    this.#onReplaced = deps.onReplaced;
    this.#note = deps.note ?? (() => {});
    this.#ttlMs = leaseTtlMs;
    this.#key = nodeKey(node.nodeId);
    const startedAt = new Date(this.#clock.wallTime()).toISOString();
    this.#record = { ...node, incarnation: randomUUID(), startedAt };
  }

  get record(): NodeRecord {
    return this.#record;
  }

  get lease(): LeaseId {
    return this.#lease;
  }

  async begin(signal: AbortSignal | undefined): Promise<void> {
    const backoff = new Backoff({ firstMs: 100, longestMs: 2000 }, createPrng(this.#record.incarnation));
    for (;;) {
      try {
        await this.#acquire({ patienceMs: this.#ttlMs + this.#ttlMs / HEARTBEATS_PER_TTL, signal });
        this.#scheduleBeat();
        return;
      } catch (error) {
        // Repeating is safe: what an unknown outcome left behind carries our incarnation (N1).
        const mayRetry = error instanceof CodedError && (error.next === 'later' || error.next === 'unknown');
        if (!mayRetry || signal?.aborted) throw error;
        this.#note(errorMessage(error));
        if (backoff.attempts === 0) this.#log.warn({ why: errorMessage(error) }, 'the metadata is not ready; waiting');
        await this.#pause(backoff.nextDelayMs(), signal);
      }
    }
  }

  check(): CheckResult {
    switch (this.#state.kind) {
      case 'registering':
        return { ok: false, reason: this.#lastFailure ?? 'registering' };
      case 'registered': {
        const silentMs = this.#clock.now() - this.#state.confirmedMs;
        if (silentMs <= this.#ttlMs) return { ok: true }; // N3
        return { ok: false, reason: `no heartbeat was confirmed for ${Math.round(silentMs)} ms: ${this.#lastFailure}` };
      }
      case 'replaced':
        return { ok: false, reason: this.#state.error.message };
      case 'closed':
        return { ok: false, reason: 'closed' };
    }
  }

  async update(change: Partial<Pick<NodeRecord, 'roles' | 'addresses'>>): Promise<void> {
    assert(this.#state.kind === 'registered', 'only a registered node changes its record');
    this.#record = { ...this.#record, ...change };
    const held = await this.#holder();
    if (!held || !this.#isOurs(decodeNodeRecord(held.value)))
      return this.#acquire({ patienceMs: 0, signal: undefined });
    const replaced = await this.#replace(held, this.#lease);
    if (!replaced) throw this.#taken(undefined);
  }

  async close(): Promise<void> {
    if (this.#state.kind === 'closed') return;
    const wasRegistered = this.#state.kind === 'registered';
    this.#state = { kind: 'closed' };
    this.#timer?.cancel();
    this.#closing.abort();
    await this.#beat;
    if (!wasRegistered) return;
    const limit = this.#limited(this.#ttlMs / HEARTBEATS_PER_TTL);
    try {
      await this.#meta.revokeLease(this.#lease, { signal: limit.signal });
    } catch (error) {
      // The lease then ends by itself: the cluster learns a few seconds later.
      this.#log.debug({ why: errorMessage(error) }, 'the registration was not taken back');
    } finally {
      limit.end();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Writes the key under a fresh lease, waiting at most `patienceMs` for another holder to vanish (N1). */
  async #acquire({ patienceMs, signal }: { readonly patienceMs: number; readonly signal: AbortSignal | undefined }) {
    const untilMs = this.#clock.now() + patienceMs;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const held = await this.#holder(signal);
      const holder = held && decodeNodeRecord(held.value);
      if (held && !this.#isOurs(holder)) {
        const leftMs = untilMs - this.#clock.now();
        if (leftMs <= 0) throw this.#taken(holder);
        await this.#waitUntilGone(held, { leftMs, signal });
        continue;
      }
      const { id } = await this.#meta.grantLease(this.#ttlMs, withSignal(signal));
      if (await (held ? this.#replace(held, id, signal) : this.#create(id, signal))) {
        this.#lease = id;
        this.#state = { kind: 'registered', lease: id, confirmedMs: this.#clock.now() };
        return;
      }
      await this.#meta.revokeLease(id, withSignal(signal)); // somebody was faster: look again
    }
    throw this.#taken(undefined);
  }

  async #holder(signal?: AbortSignal): Promise<KeyValue | undefined> {
    return await this.#meta.get(this.#key, withSignal(signal));
  }

  /** N1 */
  #isOurs(holder: NodeRecord | undefined): boolean {
    if (!holder) return false;
    const { incarnation, dataDirectoryId } = this.#record;
    return (
      holder.incarnation === incarnation ||
      (dataDirectoryId !== undefined && holder.dataDirectoryId === dataDirectoryId)
    );
  }

  async #create(lease: LeaseId, signal: AbortSignal | undefined): Promise<boolean> {
    const { succeeded } = await this.#meta.transact(
      { when: [{ key: this.#key, target: 'version', is: 'equal', than: 0 }], then: [this.#put(lease)] },
      withSignal(signal),
    );
    return succeeded;
  }

  async #replace(held: KeyValue, lease: LeaseId, signal?: AbortSignal): Promise<boolean> {
    const { succeeded } = await this.#meta.transact(
      {
        when: [{ key: this.#key, target: 'modRevision', is: 'equal', than: held.modRevision }],
        then: [this.#put(lease)],
      },
      withSignal(signal),
    );
    return succeeded;
  }

  #put(lease: LeaseId) {
    return { put: { key: this.#key, value: encodeNodeRecord(this.#record), lease } };
  }

  async #waitUntilGone(
    held: KeyValue,
    { leftMs, signal }: { readonly leftMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    const who = describeHolder(decodeNodeRecord(held.value));
    this.#note(`node ${this.#record.nodeId} is registered by ${who}`);
    this.#log.warn(
      { waitMs: Math.round(leftMs) },
      `node ${this.#record.nodeId} is registered by ${who}; waiting for that registration to end`,
    );
    const limit = this.#limited(leftMs, signal);
    try {
      const changes = this.#meta.watch(
        { key: this.#key },
        { fromRevision: held.modRevision + 1, signal: limit.signal },
      );
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
    return new RuntimeError(
      'NODE_ID_TAKEN',
      `node ${this.#record.nodeId} is registered by ${describeHolder(holder)}, which is alive. Give this node another node_id, or stop the other process`,
    );
  }

  #scheduleBeat(): void {
    this.#timer = this.#clock.setTimer(this.#ttlMs / HEARTBEATS_PER_TTL, () => {
      this.#beat = this.#heartbeat().then(() => {
        if (this.#state.kind === 'registered') this.#scheduleBeat();
      });
    });
  }

  /** Never rejects: a failure is a state (check) and a log line. */
  async #heartbeat(): Promise<void> {
    const limit = this.#limited(this.#ttlMs / HEARTBEATS_PER_TTL, this.#closing.signal);
    try {
      await this.#keepAlive(limit.signal);
      if (this.#lastFailure !== undefined) this.#log.info('heartbeats are confirmed again');
      this.#lastFailure = undefined;
    } catch (error) {
      this.#heartbeatFailed(error);
    } finally {
      limit.end();
    }
  }

  async #keepAlive(signal: AbortSignal): Promise<void> {
    if (this.#state.kind !== 'registered') return;
    try {
      await this.#meta.keepLeaseAlive(this.#lease, { signal });
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'LEASE_NOT_FOUND') throw error;
      this.#log.warn('the lease of this node ran out; registering again'); // N2
      await this.#acquire({ patienceMs: 0, signal });
      return;
    }
    if (this.#state.kind === 'registered') this.#state = { ...this.#state, confirmedMs: this.#clock.now() };
  }

  #heartbeatFailed(error: unknown): void {
    if (this.#state.kind === 'closed') return;
    if (error instanceof RuntimeError && error.code === 'NODE_ID_TAKEN') {
      this.#state = { kind: 'replaced', error };
      this.#onReplaced(error); // N2
      return;
    }
    const why = errorMessage(error);
    if (this.#lastFailure === undefined) this.#log.warn({ why }, 'a heartbeat was not confirmed');
    this.#lastFailure = why;
  }

  /** A signal that aborts after a time, or when the given one does. */
  #limited(afterMs: number, signal?: AbortSignal): { readonly signal: AbortSignal; end(): void } {
    const abort = new AbortController();
    const timer = this.#clock.setTimer(afterMs, () => abort.abort(new RuntimeError('START_DEADLINE', NO_ANSWER)));
    return {
      signal: signal ? AbortSignal.any([signal, abort.signal]) : abort.signal,
      end: () => timer.cancel(),
    };
  }

  #pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const aborted = () => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.#clock.setTimer(delayMs, () => {
        signal?.removeEventListener('abort', aborted);
        resolve();
      });
      signal?.addEventListener('abort', aborted, { once: true });
      if (signal?.aborted) aborted();
    });
  }
}

const NO_ANSWER = 'the metadata did not answer in time';

function withSignal(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal ? { signal } : {};
}

function describeHolder(holder: NodeRecord | undefined): string {
  if (!holder) return 'another process';
  return `another process (${holder.addresses['grpc'] ?? 'address unknown'}, started ${holder.startedAt})`;
}
