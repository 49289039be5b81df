// Tells listeners how far shards have grown: at once for appends of this process, by asking for those of others.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Offset, ShardId } from '../record.js';
import type { EndListener } from '../shard-storage.js';
import type { ExternalEngine } from './external-engine.js';

interface Watched {
  readonly listeners: Set<EndListener>;
  /** What listeners were told; undefined until the engine was asked once. */
  told: number | undefined;
}

export class EndWatch {
  readonly #engine: ExternalEngine;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pollEveryMs: number;
  readonly #watched = new Map<ShardId, Watched>();
  #timer: Timer | undefined;
  #asking: Promise<void> = Promise.resolve();
  #state: 'running' | 'stopped' = 'running';

  constructor(engine: ExternalEngine, deps: { clock: Clock; logger: Logger; pollEveryMs: number }) {
    this.#engine = engine;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#pollEveryMs = deps.pollEveryMs;
  }

  listen(shard: ShardId, listener: EndListener): () => void {
    const watched = this.#watched.get(shard) ?? { listeners: new Set(), told: undefined };
    this.#watched.set(shard, watched);
    watched.listeners.add(listener);
    this.#schedule();
    return () => {
      watched.listeners.delete(listener);
      if (watched.listeners.size === 0 && this.#watched.get(shard) === watched) this.#watched.delete(shard);
    };
  }

  /** An end that is known; listeners hear only of larger ones than before. */
  grew(shard: ShardId, end: Offset): void {
    const watched = this.#watched.get(shard);
    if (!watched || (watched.told !== undefined && end <= watched.told)) return;
    watched.told = end;
    for (const listener of [...watched.listeners]) listener(end);
  }

  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#timer?.cancel();
    await this.#asking;
  }

  #schedule(): void {
    if (this.#timer || this.#state === 'stopped') return;
    this.#timer = this.#clock.setTimer(this.#pollEveryMs, () => {
      this.#asking = this.#ask().finally(() => {
        this.#timer = undefined;
        if (this.#watched.size > 0) this.#schedule();
      });
    });
  }

  async #ask(): Promise<void> {
    const shards = [...this.#watched.keys()];
    try {
      const ends = await this.#engine.endsOf(shards);
      if (this.#state === 'stopped') return;
      shards.forEach((shard, i) => {
        const end = ends[i];
        // The first answer may tell what the listener knows: better than to miss what came before it.
        if (end !== undefined && end > 0) this.grew(shard, end as Offset); // the engine's end of a shard
      });
    } catch (error) {
      this.#logger.debug({ engine: this.#engine.name }, `ends could not be asked for: ${errorMessage(error)}`);
    }
  }
}
