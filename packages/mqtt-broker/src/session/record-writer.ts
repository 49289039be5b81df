// Writes one session's record, one write at a time (M2 of session-store.ts). Whoever asks while a write is under way
// shares the next one, which carries the newest state.
//
//   R1. After a write whose outcome nobody knows, what is kept is read before the next: our own write must not
//       be taken for somebody else's.
//   R2. A new session may find the record of an ended one that could not be removed: it is replaced.

import { MqttError } from '../errors.js';
import type { SessionRecord } from './session-record.js';
import { NO_REVISION, type SessionStore } from './session-store.js';

export interface RecordWriterDeps {
  readonly store: SessionStore;
  readonly clientId: string;
  /** Of the record that is kept; NO_REVISION when none is. */
  readonly revision: number;
  readonly current: () => SessionRecord;
  /** Another node owns the session now. */
  readonly onFenced: () => void;
}

export class RecordWriter {
  readonly #deps: RecordWriterDeps;
  #revision: number | 'unknown';
  #tail: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(deps: RecordWriterDeps) {
    this.#deps = deps;
    this.#revision = deps.revision;
  }

  get exists(): boolean {
    return this.#revision !== NO_REVISION;
  }

  /** Resolves when a write that began after this call is durable. Errors: SESSION_FENCED, MetaError. */
  save(): Promise<void> {
    if (this.#next) return this.#next;
    const next = this.#tail.then(async () => {
      this.#next = undefined;
      await this.#change(async (revision) => {
        const { store, clientId, current } = this.#deps;
        return await store.write(clientId, current(), revision);
      });
    });
    this.#next = next;
    this.#tail = next.catch(() => {}); // reported to the callers of save()
    return next;
  }

  /** Resolves when the record is gone; at once when there is none. Errors as save(). */
  remove(): Promise<void> {
    const removal = this.#tail.then(async () => {
      if (this.#revision === NO_REVISION) return;
      await this.#change(async (revision) => {
        const { store, clientId } = this.#deps;
        if (revision !== NO_REVISION) await store.remove(clientId, revision);
        return NO_REVISION;
      });
    });
    this.#tail = removal.catch(() => {}); // reported to the caller of remove()
    return removal;
  }

  async #change(change: (revision: number) => Promise<number>): Promise<void> {
    try {
      const revision = this.#revision === 'unknown' ? await this.#findRevision() : this.#revision;
      this.#revision = 'unknown'; // until it is known what came of the change
      this.#revision = await this.#tryOnce(revision, change);
    } catch (error) {
      if (isFenced(error)) this.#deps.onFenced();
      throw error;
    }
  }

  async #tryOnce(revision: number, change: (revision: number) => Promise<number>): Promise<number> {
    try {
      return await change(revision);
    } catch (error) {
      if (revision !== NO_REVISION || !isFenced(error)) throw error;
      return await change(await this.#findRevision()); // R2
    }
  }

  /** R1. */
  async #findRevision(): Promise<number> {
    const { store, clientId, current } = this.#deps;
    const kept = await store.read(clientId);
    if (kept === undefined) return NO_REVISION;
    if (kept.record.epoch > current().epoch)
      throw new MqttError('SESSION_FENCED', `the session of client "${clientId}" has another owner now`);
    return kept.revision;
  }
}

function isFenced(error: unknown): boolean {
  return error instanceof MqttError && error.code === 'SESSION_FENCED';
}
