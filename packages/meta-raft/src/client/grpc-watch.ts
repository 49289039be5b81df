import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { Backoff } from '@robustmq/stdx/backoff';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import { MetaError } from '../errors.js';
import type { WatchRequest, WatchResponse } from '../gen/etcdserverpb/rpc.js';
import { type Event, Event_EventType } from '../gen/mvccpb/kv.js';
import { type KeyRange, keyFromBytes, keyToBytes } from '../state/key-range.js';
import type { Version } from '../state/record.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { versionFromWire } from './etcd-answers.js';
import type { WatchBatch } from './meta-client.js';
import { toWatchBatch } from './requests.js';
import { fromRpcFailure } from './rpc-status.js';

export interface GrpcWatchInit {
  readonly endpoints: Endpoints;
  readonly range: KeyRange;
  readonly fromRevision: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly onClose: (watch: GrpcWatch) => void;
}

type Call = ClientDuplexStream<WatchRequest, WatchResponse>;

type WatchPhase =
  | { readonly phase: 'streaming'; readonly call: Call; readonly endpoint: Endpoint }
  | { readonly phase: 'waiting'; readonly timer: Timer }
  | { readonly phase: 'ended' }
  | { readonly phase: 'broken'; readonly error: MetaError };

/** Received and not yet taken; beyond it the stream is not read, and the server's cursor waits. */
const BATCHES_MAX = 16;
const RECONNECT_BACKOFF = { firstMs: 50, longestMs: 1000 };

/**
 * A watch over gRPC that outlives its stream.
 *
 * Invariants:
 *   G1. #nextRevision is one above the last revision of which every event was received; a new stream begins there, so
 *       nothing is missed and nothing comes twice.
 *   G2. A fragmented revision is handed out, and counted, when its last fragment is here.
 *   G3. Responses of a stream that was left are dropped.
 */
export class GrpcWatch implements AsyncIterableIterator<WatchBatch> {
  readonly #init: GrpcWatchInit;
  readonly #backoff: Backoff;
  readonly #onAbort = () => this.#end({ phase: 'ended' });
  #phase: WatchPhase;
  #nextRevision: number | undefined;
  #batches: WatchBatch[] = [];
  #fragments: Version[] = [];
  #waiting: (() => void)[] = [];

  constructor(init: GrpcWatchInit) {
    this.#init = init;
    this.#nextRevision = init.fromRevision;
    this.#backoff = new Backoff(RECONNECT_BACKOFF, init.prng);
    this.#phase = this.#connect();
    init.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (init.signal?.aborted) this.#onAbort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchBatch, undefined>> {
    for (;;) {
      if (this.#phase.phase === 'ended') return { done: true, value: undefined };
      const batch = this.#batches.shift();
      if (batch) {
        if (this.#phase.phase === 'streaming' && this.#batches.length < BATCHES_MAX) this.#phase.call.resume();
        return { done: false, value: batch };
      }
      if (this.#phase.phase === 'broken') throw this.#phase.error;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async return(): Promise<IteratorResult<WatchBatch, undefined>> {
    this.#end({ phase: 'ended' });
    return { done: true, value: undefined };
  }

  /** What was received is still handed out, then this error. */
  fail(error: MetaError): void {
    this.#end({ phase: 'broken', error });
  }

  #connect(): WatchPhase {
    const { endpoints, range } = this.#init;
    const endpoint = endpoints.current;
    const call = endpoint.watch.watch(endpoints.metadata());
    call.on('data', (response: WatchResponse) => this.#receive(call, response));
    call.on('error', (failure: ServiceError) => this.#lost(call, fromRpcFailure(failure, endpoint.address)));
    call.on('end', () => this.#lost(call, new MetaError('UNAVAILABLE', `${endpoint.address} ended the watch.`)));
    call.write({
      requestUnion: {
        $case: 'createRequest',
        value: {
          key: keyToBytes(range.key),
          rangeEnd: keyToBytes(range.end),
          startRevision: this.#nextRevision ?? 0, // G1
          progressNotify: true,
          filters: [],
          prevKv: false,
          watchId: 0,
          fragment: true,
        },
      },
    });
    this.#fragments = []; // G2
    return { phase: 'streaming', call, endpoint };
  }

  #receive(call: Call, response: WatchResponse): void {
    if (this.#phase.phase !== 'streaming' || this.#phase.call !== call) return; // G3
    const revision = response.header?.revision ?? 0;
    if (response.canceled) {
      this.#canceled(response);
      return;
    }
    if (response.created) {
      this.#backoff.reset();
      // Of a watch from "now": what comes after this revision is what it wants.
      this.#nextRevision ??= revision + 1;
      return;
    }
    for (const event of response.events) this.#fragments.push(versionOf(event));
    if (response.fragment) return;
    const versions = this.#fragments;
    this.#fragments = [];
    const last = versions.at(-1);
    // A real etcd puts the newest revision into the header, which may be ahead of the events: the events count. Without
    // events it is a progress report, and counts as it is.
    this.#nextRevision = Math.max(this.#nextRevision ?? 0, (last?.modRevision ?? revision) + 1); // G1
    if (!last) return;
    this.#batches.push(toWatchBatch(versions, last.modRevision));
    if (this.#batches.length >= BATCHES_MAX) call.pause();
    this.#wake();
  }

  #canceled(response: WatchResponse): void {
    if (response.compactRevision > 0) {
      this.fail(
        new MetaError(
          'COMPACTED',
          `The changes from revision ${this.#nextRevision ?? 0} on are no longer kept; history begins at ${response.compactRevision}. ` +
            'List the keys again and watch from the revision of that list plus one.',
        ),
      );
      return;
    }
    this.fail(new MetaError('INVALID', `The watch was refused: ${response.cancelReason}.`));
  }

  #lost(call: Call, error: MetaError): void {
    if (this.#phase.phase !== 'streaming' || this.#phase.call !== call) return; // G3
    if (error.next === 'never') {
      this.fail(error);
      return;
    }
    const { clock, endpoints, logger } = this.#init;
    endpoints.moveOn(this.#phase.endpoint);
    const delayMs = this.#backoff.nextDelayMs();
    logger.debug({ delayMs, fromRevision: this.#nextRevision, reason: error.message }, 'a watch is connected again');
    const timer = clock.setTimer(delayMs, () => {
      this.#phase = this.#connect();
    });
    this.#phase = { phase: 'waiting', timer };
  }

  #end(phase: Extract<WatchPhase, { readonly phase: 'ended' | 'broken' }>): void {
    const before = this.#phase;
    if (before.phase === 'ended' || before.phase === 'broken') return;
    this.#phase = phase;
    if (before.phase === 'waiting') before.timer.cancel();
    else {
      before.call.cancel();
      before.call.resume(); // lets the paused stream come to its end
    }
    this.#init.signal?.removeEventListener('abort', this.#onAbort);
    this.#init.onClose(this);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function versionOf(event: Event): Version {
  const kv = event.kv;
  if (!kv) throw new MetaError('FAILED', 'The service sent an event without a key.');
  if (event.type === Event_EventType.PUT) return versionFromWire(kv);
  return {
    key: keyFromBytes(kv.key),
    modRevision: kv.modRevision,
    sub: 0,
    createRevision: 0,
    version: 0,
    lease: undefined,
    value: undefined,
    crc: 0,
  };
}
