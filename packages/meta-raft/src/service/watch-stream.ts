import type { ServerDuplexStream } from '@grpc/grpc-js';
import { MiB } from '@robustmq/stdx/byte-size';
import type { Timer } from '@robustmq/stdx/clock';
import { versionToWire } from '../client/etcd-answers.js';
import { leaseToWire, watchRangeFromWire } from '../client/etcd-requests.js';
import {
  type WatchCreateRequest,
  WatchCreateRequest_FilterType,
  type WatchRequest,
  type WatchResponse,
} from '../gen/etcdserverpb/rpc.js';
import { type Event, Event_EventType } from '../gen/mvccpb/kv.js';
import { keyToBytes } from '../state/key-range.js';
import type { Version } from '../state/record.js';
import { isLive } from '../state/version-store.js';
import type { TakeLimits, Watcher } from '../state/watch-hub.js';
import { responseHeader, type ServiceContext } from './service-context.js';

/** One response ends with the revision that reaches one of these. */
const RESPONSE_LIMITS: TakeLimits = { versions: 1000, bytes: MiB };
/** With `fragment`, a response is split at this many events. */
const FRAGMENT_EVENTS = 1000;
const WATCHES_PER_STREAM_MAX = 10_000;
/**
 * How often a quiet watch that asked for it is told how far it has come. Well below the time for which history is
 * kept, so that a client which lost its connection never finds the place where it resumes compacted.
 */
const PROGRESS_EVERY_MS = 60_000;
/** Of a response that is about no watch. */
const NO_WATCH = -1;

interface StreamWatch {
  readonly id: number;
  readonly watcher: Watcher;
  readonly request: WatchCreateRequest;
  /** Something was sent since the last progress tick. */
  activity: 'busy' | 'quiet';
}

type Stream = ServerDuplexStream<WatchRequest, WatchResponse>;

/**
 * The watches of one gRPC stream. Each is a cursor into the history; the stream writes what they give, and stops when the
 * client does not read: then the cursors wait.
 *
 * Invariants:
 *   E1. Events of a watch go out in order of revision, each once; a revision is in one response, or in fragments in a row.
 *   E2. A progress response with revision r goes out after every event up to r of every watch it speaks for.
 */
export class WatchStream {
  readonly #context: ServiceContext;
  readonly #stream: Stream;
  readonly #watches = new Map<number, StreamWatch>();
  #nextId = 0;
  #flow: 'flowing' | 'blocked' | 'closed' = 'flowing';
  #pump: 'idle' | 'due' = 'idle';
  #progress: 'none' | 'asked' = 'none';
  #progressTimer: Timer | undefined;

  constructor(context: ServiceContext, stream: Stream) {
    this.#context = context;
    this.#stream = stream;
  }

  start(): void {
    this.#stream.on('data', (request: WatchRequest) => this.#receive(request));
    this.#stream.on('drain', () => this.#resume());
    this.#stream.on('end', () => this.#end());
    this.#stream.on('error', () => this.#close()); // the client went away
    this.#stream.on('cancelled', () => this.#close());
    this.#tickProgress();
  }

  #receive({ requestUnion }: WatchRequest): void {
    if (this.#flow === 'closed') return;
    switch (requestUnion?.$case) {
      case 'createRequest':
        this.#create(requestUnion.value);
        break;
      case 'cancelRequest':
        this.#cancel(requestUnion.value.watchId, {});
        break;
      case 'progressRequest':
        this.#progress = 'asked';
        this.#pumpSoon();
        break;
      default:
    }
  }

  #create(request: WatchCreateRequest): void {
    const id = request.watchId > 0 ? request.watchId : this.#freeId();
    const refusal = this.#watches.has(id)
      ? 'etcdserver: duplicate watch ID'
      : this.#watches.size >= WATCHES_PER_STREAM_MAX
        ? `etcdserver: more than ${WATCHES_PER_STREAM_MAX} watches on one stream`
        : undefined;
    if (refusal !== undefined) {
      this.#write(this.#response(NO_WATCH, { created: true, canceled: true, cancelReason: refusal }));
      return;
    }
    const from = request.startRevision > 0 ? request.startRevision : undefined;
    const watcher = this.#context.access.watches.open(watchRangeFromWire(request), from, () => this.#pumpSoon());
    this.#watches.set(id, { id, watcher, request, activity: 'quiet' });
    this.#write(this.#response(id, { created: true }));
    this.#pumpSoon();
  }

  #cancel(id: number, why: { readonly compactRevision?: number; readonly cancelReason?: string }): void {
    const watch = this.#watches.get(id);
    if (!watch) return;
    watch.watcher.close();
    this.#watches.delete(id);
    this.#write(this.#response(id, { canceled: true, ...why }));
  }

  /** In a microtask, so that all commands of one apply batch wake it once. */
  #pumpSoon(): void {
    if (this.#pump === 'due' || this.#flow !== 'flowing') return;
    this.#pump = 'due';
    queueMicrotask(() => {
      this.#pump = 'idle';
      this.#pumpAll();
    });
  }

  #resume(): void {
    if (this.#flow !== 'blocked') return;
    this.#flow = 'flowing';
    this.#pumpSoon();
  }

  #pumpAll(): void {
    for (const watch of this.#watches.values()) {
      if (this.#flow === 'flowing') this.#pumpOne(watch);
    }
    if (this.#flow !== 'flowing' || this.#progress === 'none') return;
    this.#progress = 'none';
    const reached = [...this.#watches.values()].map((watch) => watch.watcher.nextRevision - 1);
    const revision = Math.min(this.#context.access.state.versions.revision, ...reached);
    this.#write(this.#response(NO_WATCH, {}, revision)); // E2
  }

  #pumpOne(watch: StreamWatch): void {
    while (this.#flow === 'flowing') {
      const taken = watch.watcher.take(RESPONSE_LIMITS);
      if (taken.take === 'nothing') return;
      if (taken.take === 'compacted') {
        this.#cancel(watch.id, {
          compactRevision: taken.compactedRevision,
          cancelReason: 'etcdserver: mvcc: required revision has been compacted',
        });
        return;
      }
      this.#send(watch, taken.versions, taken.revision);
    }
  }

  #send(watch: StreamWatch, versions: readonly Version[], revision: number): void {
    const events = versions
      .filter((version) => passes(watch.request, version))
      .map((version) => this.#event(watch, version));
    if (events.length === 0) return;
    watch.activity = 'busy';
    const step = watch.request.fragment ? FRAGMENT_EVENTS : events.length;
    for (let at = 0; at < events.length; at += step) {
      const fragment = at + step < events.length;
      this.#write(this.#response(watch.id, { events: events.slice(at, at + step), fragment }, revision)); // E1
    }
  }

  #event(watch: StreamWatch, version: Version): Event {
    const before = watch.request.prevKv
      ? this.#context.access.state.versions.at(version.key, version.modRevision - 1)
      : undefined;
    return {
      type: isLive(version) ? Event_EventType.PUT : Event_EventType.DELETE,
      kv: isLive(version)
        ? versionToWire(version)
        : {
            key: keyToBytes(version.key),
            value: Buffer.alloc(0),
            createRevision: 0,
            modRevision: version.modRevision,
            version: 0,
            lease: leaseToWire(undefined),
          },
      prevKv: before && versionToWire(before),
    };
  }

  #tickProgress(): void {
    this.#progressTimer = this.#context.clock.setTimer(PROGRESS_EVERY_MS, () => {
      this.#tickProgress();
      for (const watch of this.#watches.values()) this.#reportProgress(watch);
    });
  }

  #reportProgress(watch: StreamWatch): void {
    const quiet = watch.activity === 'quiet';
    watch.activity = 'quiet';
    if (!quiet || !watch.request.progressNotify || this.#flow !== 'flowing') return;
    this.#pumpOne(watch);
    const revision = watch.watcher.nextRevision - 1;
    // A watch that waits for a future revision has come no further than the store.
    if (revision > this.#context.access.state.versions.revision || this.#flow !== 'flowing') return;
    this.#write(this.#response(watch.id, {}, revision)); // E2
  }

  #response(watchId: number, content: Partial<WatchResponse>, revision?: number): WatchResponse {
    return {
      header: responseHeader(this.#context, revision),
      watchId,
      created: false,
      canceled: false,
      compactRevision: 0,
      cancelReason: '',
      fragment: false,
      events: [],
      ...content,
    };
  }

  #write(response: WatchResponse): void {
    if (this.#flow === 'closed') return;
    if (!this.#stream.write(response)) this.#flow = 'blocked';
  }

  #freeId(): number {
    while (this.#watches.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #end(): void {
    this.#close();
    this.#stream.end();
  }

  #close(): void {
    this.#flow = 'closed';
    this.#progressTimer?.cancel();
    for (const watch of this.#watches.values()) watch.watcher.close();
    this.#watches.clear();
  }
}

function passes({ filters }: WatchCreateRequest, version: Version): boolean {
  if (filters.length === 0) return true;
  const { NOPUT, NODELETE } = WatchCreateRequest_FilterType;
  return !filters.includes(isLive(version) ? NOPUT : NODELETE);
}
