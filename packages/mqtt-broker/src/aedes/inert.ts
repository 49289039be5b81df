// What aedes is built to store and distribute, and must not here.
//
// Sessions, subscriptions, retained messages, wills and deliveries are the engine's (D7 of the architecture).
// aedes asks for a persistence and an emitter all the same; these say yes to everything, keep nothing, and
// answer at once, so that its CONNECT series runs through without waiting.

import { Readable } from 'node:stream';

const done: Promise<void> = Promise.resolve();
const nothing: Promise<readonly never[]> = Promise.resolve([]);

/** The persistence interface of aedes 1.x; only what its CONNECT and close paths call. */
export const inertPersistence = {
  // aedes checks that this is literally an async function.
  async setup(): Promise<void> {},
  subscriptionsByClient: () => nothing,
  subscriptionsByTopic: () => nothing,
  addSubscriptions: () => done,
  removeSubscriptions: () => done,
  cleanSubscriptions: () => done,
  cleanIncoming: () => done,
  putWill: () => done,
  delWill: () => done,
  /** An iterable is all that its pipeline needs, and a stream costs 40 µs per CONNECT (docs/decisions/0002). */
  outgoingStream: (): readonly never[] => [],
  streamWill: () => Readable.from([]),
  storeRetained: () => done,
  outgoingEnqueueCombi: () => done,
  destroy: () => done,
};

type Done = ((error?: Error | null) => void) | undefined;

/** The mqemitter interface: nothing is emitted, whoever listens never hears. */
export const inertEmitter = {
  concurrency: 0,
  current: 0,
  length: 0,
  on(_topic: string, _listener: unknown, added?: Done) {
    added?.();
    return this;
  },
  removeListener(_topic: string, _listener: unknown, removed?: Done) {
    removed?.();
    return this;
  },
  removeAllListeners(removed?: Done) {
    removed?.();
    return this;
  },
  emit(_packet: unknown, emitted?: Done) {
    emitted?.();
    return this;
  },
  close(closed?: Done) {
    closed?.();
    return this;
  },
};
