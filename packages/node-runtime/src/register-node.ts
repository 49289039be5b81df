// This node's registration: a claim on its node id (N1, node-claim.ts) that lives as long as its heartbeats.
//
// Invariants:
//   N2. When the lease is lost the node registers again; when another process took its place it stops.
//   N3. "Registered" is claimed only while the metadata confirmed it within the last ttl.

import { randomUUID } from 'node:crypto';
import type { LeaseId, MetaClient } from '@robustmq/meta-raft/client';
import { assert } from '@robustmq/stdx/assert';
import { Backoff } from '@robustmq/stdx/backoff';
import { type Clock, systemClock, type Timer } from '@robustmq/stdx/clock';
import { CodedError, errorMessage } from '@robustmq/stdx/coded-error';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import { RuntimeError } from './errors.js';
import type { CheckResult } from './health.js';
import { limitedSignal } from './limited-signal.js';
import { NodeClaim } from './node-claim.js';
import type { NodeRecord } from './node-record.js';

export interface RegisterNodeOptions {
  readonly node: Omit<NodeRecord, 'incarnation' | 'startedAt'>;
  /** Milliseconds a node is still thought alive after its last heartbeat. Default 10,000: three heartbeats of 3.3 s. */
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

/** Resolves when this node is registered. Throws NODE_ID_TAKEN, MetaError, or the signal's reason. */
export async function registerNode(options: RegisterNodeOptions, deps: RegisterNodeDeps): Promise<NodeRegistration> {
  const registration = new Registration(options, deps);
  await registration.begin(options.signal);
  return registration;
}

type State =
  | { readonly kind: 'registering' }
  | { readonly kind: 'registered'; readonly confirmedMs: number }
  | { readonly kind: 'replaced'; readonly error: RuntimeError }
  | { readonly kind: 'closed' };

class Registration implements NodeRegistration {
  readonly #meta: MetaClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onReplaced: (error: RuntimeError) => void;
  readonly #note: (waitingFor: string) => void;
  readonly #ttlMs: number;
  readonly #beatMs: number;
  readonly #claim: NodeClaim;
  readonly #closing = new AbortController();
  #state: State = { kind: 'registering' };
  #lease: LeaseId = '';
  #timer: Timer | undefined;
  #lastFailure: string | undefined;
  #beat: Promise<void> = Promise.resolve();

  constructor({ node, leaseTtlMs = LEASE_TTL_MS }: RegisterNodeOptions, deps: RegisterNodeDeps) {
    const { meta, clock = systemClock, log = nullLogger, onReplaced, note = () => {} } = deps;
    this.#meta = meta;
    this.#clock = clock;
    this.#log = log;
    this.#onReplaced = onReplaced;
    this.#note = note;
    this.#ttlMs = leaseTtlMs;
    this.#beatMs = leaseTtlMs / HEARTBEATS_PER_TTL;
    const record = { ...node, incarnation: randomUUID(), startedAt: new Date(clock.wallTime()).toISOString() };
    this.#claim = new NodeClaim(record, leaseTtlMs, { meta, clock, log, note });
  }

  get record(): NodeRecord {
    return this.#claim.record;
  }

  get lease(): LeaseId {
    return this.#lease;
  }

  async begin(signal: AbortSignal | undefined): Promise<void> {
    const backoff = new Backoff({ firstMs: 100, longestMs: 2000 }, createPrng(this.record.incarnation));
    for (;;) {
      try {
        await this.#register({ patienceMs: this.#ttlMs + this.#beatMs, signal });
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
        return { ok: false, reason: 'registering' };
      case 'registered': {
        const silentMs = this.#clock.now() - this.#state.confirmedMs;
        if (silentMs <= this.#ttlMs) return { ok: true }; // N3
        const why = this.#lastFailure ?? 'the process was stalled';
        return { ok: false, reason: `no heartbeat was confirmed for ${Math.round(silentMs)} ms: ${why}` };
      }
      case 'replaced':
        return { ok: false, reason: this.#state.error.message };
      case 'closed':
        return { ok: false, reason: 'closed' };
    }
  }

  async update(change: Partial<Pick<NodeRecord, 'roles' | 'addresses'>>): Promise<void> {
    assert(this.#state.kind === 'registered', 'only a registered node changes its record');
    await this.#claim.rewrite({ ...this.record, ...change }, this.#lease);
  }

  async close(): Promise<void> {
    if (this.#state.kind === 'closed') return;
    const wasRegistered = this.#state.kind === 'registered';
    this.#state = { kind: 'closed' };
    this.#timer?.cancel();
    this.#closing.abort();
    await this.#beat;
    if (!wasRegistered) return;
    const limit = limitedSignal({ afterMs: this.#beatMs, clock: this.#clock });
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

  async #register(options: { readonly patienceMs: number; readonly signal: AbortSignal | undefined }): Promise<void> {
    this.#lease = await this.#claim.acquire(options);
    this.#confirmed();
  }

  #confirmed(): void {
    if (this.#state.kind === 'closed') return;
    this.#state = { kind: 'registered', confirmedMs: this.#clock.now() };
  }

  #scheduleBeat(): void {
    this.#timer = this.#clock.setTimer(this.#beatMs, () => {
      this.#beat = this.#heartbeat().then(() => {
        if (this.#state.kind === 'registered') this.#scheduleBeat();
      });
    });
  }

  /** Never rejects: a failure is a state (check) and a log line. */
  async #heartbeat(): Promise<void> {
    const limit = limitedSignal({ afterMs: this.#beatMs, clock: this.#clock, signal: this.#closing.signal });
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
    try {
      await this.#meta.keepLeaseAlive(this.#lease, { signal });
      this.#confirmed();
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'LEASE_NOT_FOUND') throw error;
      this.#log.warn('the lease of this node ran out; registering again'); // N2
      await this.#register({ patienceMs: 0, signal });
    }
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
