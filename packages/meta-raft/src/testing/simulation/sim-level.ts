// A database of the level family that loses what LevelDB may lose: after a loss of power it is at the end of some batch, at
// or behind the last one that was synced.

import type { Prng } from '@robustmq/stdx/prng';
import type { LevelDatabase } from '../../storage/level-database.js';
import type { SimHost, SimWorld } from './sim-world.js';

type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string };

interface Bounds {
  readonly gt?: string;
  readonly gte?: string;
  readonly lt?: string;
  readonly snapshot?: { readonly rows: ReadonlyMap<string, Buffer> };
}

type Row = [string, Buffer];

export class SimLevel {
  readonly #world: SimWorld;
  readonly #host: SimHost;
  readonly #prng: Prng;
  #rows = new Map<string, Buffer>();
  #stored = new Map<string, Buffer>();
  #unsynced: (readonly Operation[])[] = [];

  constructor(world: SimWorld, host: SimHost, prng: Prng) {
    this.#world = world;
    this.#host = host;
    this.#prng = prng;
  }

  /** Power is lost: a prefix of what was not synced is there. */
  crash(): void {
    const kept = this.#unsynced.slice(0, this.#prng.between(0, this.#unsynced.length));
    for (const batch of kept) applyTo(this.#stored, batch);
    this.#rows = new Map(this.#stored);
    this.#unsynced = [];
  }

  /** For the present life of the host: what it has not been told of when that ends, did not happen. */
  open(): LevelDatabase {
    const database = {
      get: async (key: string) => {
        await this.#answer();
        return this.#rows.get(key);
      },
      batch: async (operations: Operation[], options?: { readonly sync?: boolean }) => {
        await this.#answer();
        this.#write(operations, options?.sync ? 'sync' : 'no-sync');
      },
      clear: async (bounds: Bounds) => {
        await this.#answer();
        const doomed = select(this.#rows, bounds).map(([key]): Operation => ({ type: 'del', key }));
        if (doomed.length > 0) this.#write(doomed, 'no-sync');
      },
      snapshot: () => ({ rows: new Map(this.#rows), close: async () => {} }),
      iterator: (bounds: Bounds) => {
        const rows = select(bounds.snapshot?.rows ?? this.#rows, bounds);
        return {
          nextv: async (size: number) => {
            await this.#answer();
            return rows.splice(0, size);
          },
          close: async () => {},
        };
      },
      close: async () => {},
    };
    return database as unknown as LevelDatabase; // the part of it that the state store uses
  }

  #answer(): Promise<void> {
    const delayMs = this.#prng.next() * 2;
    return this.#world.passed(delayMs, { host: this.#host, source: 'disk' });
  }

  #write(operations: readonly Operation[], sync: 'sync' | 'no-sync'): void {
    applyTo(this.#rows, operations);
    this.#unsynced.push(operations);
    if (sync === 'no-sync') return;
    for (const batch of this.#unsynced) applyTo(this.#stored, batch);
    this.#unsynced = [];
  }
}

function applyTo(rows: Map<string, Buffer>, operations: readonly Operation[]): void {
  for (const operation of operations) {
    if (operation.type === 'put') rows.set(operation.key, operation.value);
    else rows.delete(operation.key);
  }
}

function select(rows: ReadonlyMap<string, Buffer>, { gt, gte, lt }: Bounds): Row[] {
  const chosen = [...rows].filter(
    ([key]) => (gt === undefined || key > gt) && (gte === undefined || key >= gte) && (lt === undefined || key < lt),
  );
  return chosen.sort(([a], [b]) => (a < b ? -1 : 1));
}
