// What meta holds below a prefix, in memory and up to date.
//
//   X1. Between two looks nothing is missed: a watch goes on where the range before it ended.
//   X2. When meta cannot be reached, what was known last stays, and it is tried again for as long as the broker runs.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';

const PAGE = 1000;
const RETRY_MS = 1000;

export interface WatchedPrefixDeps {
  readonly meta: MetaClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after every change, with what there is then: by key, without the prefix, in the order of keys. */
  readonly onChange: (entries: ReadonlyMap<string, Buffer>) => void;
}

export class WatchedPrefix {
  readonly #prefix: string;
  readonly #deps: WatchedPrefixDeps;
  readonly #abort = new AbortController();
  #retry: Timer | undefined;
  #entries = new Map<string, Buffer>();

  private constructor(prefix: string, deps: WatchedPrefixDeps) {
    this.#prefix = prefix;
    this.#deps = deps;
  }

  /** Resolves when everything is read. Errors: MetaError. */
  static async open(prefix: string, deps: WatchedPrefixDeps): Promise<WatchedPrefix> {
    const watched = new WatchedPrefix(prefix, deps);
    const revision = await watched.#read();
    void watched.#follow(revision + 1);
    return watched;
  }

  close(): void {
    this.#abort.abort();
    this.#retry?.cancel();
  }

  /** Returns the revision that was read. */
  async #read(): Promise<number> {
    const entries = new Map<string, Buffer>();
    let revision: number | undefined;
    for (let after: string | undefined; ; ) {
      const options = { limit: PAGE, signal: this.#abort.signal };
      const at = revision === undefined ? {} : { revision };
      const { kvs, revision: found } = await this.#deps.meta.range(
        { prefix: this.#prefix },
        { ...options, ...at, ...(after === undefined ? {} : { after }) },
      );
      revision ??= found;
      for (const { key, value } of kvs) entries.set(key.slice(this.#prefix.length), value);
      after = kvs.at(-1)?.key;
      if (after === undefined || kvs.length < PAGE) break;
    }
    this.#entries = entries;
    this.#deps.onChange(entries);
    return revision;
  }

  async #follow(fromRevision: number): Promise<void> {
    const { meta, logger } = this.#deps;
    try {
      const { signal } = this.#abort;
      for await (const { events } of meta.watch({ prefix: this.#prefix }, { fromRevision, signal })) {
        for (const event of events) {
          if (event.type === 'put') this.#entries.set(event.kv.key.slice(this.#prefix.length), event.kv.value);
          else this.#entries.delete(event.key.slice(this.#prefix.length));
        }
        this.#entries = new Map([...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1)));
        this.#deps.onChange(this.#entries);
      }
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      logger.warn({ prefix: this.#prefix, error: errorMessage(error) }, 'cannot follow the metadata: trying again');
    }
    this.#again();
  }

  #again(): void {
    if (this.#abort.signal.aborted) return;
    this.#retry = this.#deps.clock.setTimer(RETRY_MS, () => {
      this.#read().then(
        (revision) => this.#follow(revision + 1), // X1
        () => this.#again(), // X2
      );
    });
  }
}
