import type { SessionRecord } from './session-record.js';
import { NO_REVISION, type SessionStore } from './session-store.js';

/**
 * Writes one session's record, one write at a time (M2 of session-store.ts). Whoever asks while a write is
 * under way shares the next one, which carries the newest state.
 */
export class RecordWriter {
  readonly #store: SessionStore;
  readonly #clientId: string;
  readonly #current: () => SessionRecord;
  #revision: number;
  #tail: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(
    store: SessionStore,
    session: { readonly clientId: string; readonly revision: number; readonly current: () => SessionRecord },
  ) {
    this.#store = store;
    this.#clientId = session.clientId;
    this.#revision = session.revision;
    this.#current = session.current;
  }

  get exists(): boolean {
    return this.#revision !== NO_REVISION;
  }

  /** Resolves when a write that began after this call is durable. Errors: SESSION_FENCED, MetaError. */
  save(): Promise<void> {
    if (this.#next) return this.#next;
    const next = this.#tail.then(async () => {
      this.#next = undefined;
      this.#revision = await this.#store.write(this.#clientId, this.#current(), this.#revision);
    });
    this.#next = next;
    this.#tail = next.catch(() => {}); // reported to the callers of save()
    return next;
  }

  /** Resolves when the record is gone; at once when there is none. Errors as save(). */
  remove(): Promise<void> {
    const removal = this.#tail.then(async () => {
      if (this.#revision === NO_REVISION) return;
      await this.#store.remove(this.#clientId, this.#revision);
      this.#revision = NO_REVISION;
    });
    this.#tail = removal.catch(() => {}); // reported to the caller of remove()
    return removal;
  }
}
