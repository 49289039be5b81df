// Clients of a simulated cluster: they write, read, keep leases and watch, each on whichever node is up, and write down what
// they were told.

import { assert } from '@robustmq/stdx/assert';
import type { Prng } from '@robustmq/stdx/prng';
import type { WatchBatch } from '../../client/meta-client.js';
import { MetaError } from '../../errors.js';
import type { CommandResult } from '../../state/command.js';
import { History, type RegisterHistory, recordOperation } from '../history.js';
import type { RegisterInput } from '../register-model.js';
import type { ObservedWatch } from '../watch-validators.js';
import type { NodeLife, SimNode } from './sim-node.js';
import type { SimWorld } from './sim-world.js';

export interface SimClientsDeps {
  readonly world: SimWorld;
  readonly prng: Prng;
  readonly nodes: readonly SimNode[];
  readonly clients: number;
  readonly keys: number;
  /** Mean of the pause between two calls of a client, in milliseconds. */
  readonly pauseMs: number;
  /** No clock runs faster than this: leases may end that much earlier by it. */
  readonly fastestRate: number;
  /** Whether the cluster counts on the node, once all is healed. */
  readonly isMember: (node: SimNode) => boolean;
  readonly violated: (error: unknown) => void;
}

interface OpenCall {
  readonly node: SimNode;
  readonly life: number;
  readonly sinceMs: number;
}

type WatchDraft = { -readonly [Field in keyof ObservedWatch]: ObservedWatch[Field] } & {
  readonly batches: WatchBatch[];
};

export const KEY_PREFIX = 'key-';
const WATCH_MS = 4_000;
const LEASE_PREFIX = 'lease/';

export class SimClients {
  readonly #deps: SimClientsDeps;
  readonly history: RegisterHistory = new History();
  readonly watches: WatchDraft[] = [];
  /** The last of each watcher: it goes on to the end. */
  readonly #current = new Map<string, WatchDraft>();
  readonly #open = new Set<OpenCall>();
  /** Until when each lease was promised to live, in simulated milliseconds. */
  readonly #promises = new Map<string, number>();
  readonly #ended = new Map<string, number>();
  #values = 0;
  #leasesEnded = 0;
  #state: 'working' | 'stopped' = 'working';

  constructor(deps: SimClientsDeps) {
    this.#deps = deps;
  }

  get leasesEnded(): number {
    return this.#leasesEnded;
  }

  get openWatches(): Iterable<WatchDraft> {
    return this.#current.values();
  }

  get keys(): readonly string[] {
    return Array.from({ length: this.#deps.keys }, (_, i) => `${KEY_PREFIX}${i}`);
  }

  start(): void {
    for (let i = 0; i < this.#deps.clients; i++)
      this.#run(this.#writeAndRead(`client ${i}`, this.#deps.prng.fork(`client ${i}`)));
    for (let i = 0; i < 2; i++) this.#run(this.#keepLeases(this.#deps.prng.fork(`lease ${i}`)));
    for (let i = 0; i < 2; i++) this.#run(this.#watch(`watch ${i}`, this.#deps.prng.fork(`watch ${i}`)));
  }

  /** No new calls; watches go on. */
  stop(): void {
    this.#state = 'stopped';
  }

  /** A call that has waited for longer than any should, on a node that lives. */
  stranded(longestMs: number): OpenCall | undefined {
    const { nowMs } = this.#deps.world;
    for (const call of this.#open) {
      if (call.life === call.node.host.life && nowMs - call.sinceMs > longestMs) return call;
    }
    return undefined;
  }

  /** Called with what any node applied: no lease ends before its time. */
  applied(results: readonly CommandResult[]): void {
    for (const result of results) {
      if (result.kind !== 'lease-revoked' || this.#ended.has(result.id)) continue;
      this.#ended.set(result.id, this.#deps.world.nowMs);
      this.#leasesEnded++;
      this.#checkLease(result.id);
    }
  }

  /** Leases that are counted on still, by id. */
  get promises(): ReadonlyMap<string, number> {
    return this.#promises;
  }

  async #writeAndRead(name: string, prng: Prng): Promise<void> {
    while (this.#state === 'working') {
      await this.#pause(prng, this.#deps.pauseMs);
      const found = this.#pick(prng);
      if (!found) continue;
      const key = prng.pick(this.keys);
      const input = this.#input(key, prng);
      const call = recordOperation(this.history, { name, client: found.life.client }, { key, input });
      await this.#settled(found, call);
    }
  }

  #input(key: string, prng: Prng): RegisterInput {
    const value = `v${this.#values++}`;
    const drawn = prng.next();
    if (drawn < 0.4) return { op: 'get' };
    if (drawn < 0.75) return { op: 'put', value };
    if (drawn < 0.85) return { op: 'delete' };
    const seen = this.history.records.findLast(
      (record) => record.partition === key && record.output?.op === 'get',
    )?.output;
    return { op: 'cas', expected: seen?.op === 'get' ? seen.seen?.value : undefined, value };
  }

  async #keepLeases(prng: Prng): Promise<void> {
    while (this.#state === 'working') {
      await this.#pause(prng, 1000);
      const found = this.#pick(prng);
      if (!found) continue;
      const ttlMs = prng.between(800, 5000);
      const invokedMs = this.#deps.world.nowMs;
      const lease = await this.#attempt(found, found.life.client.grantLease(ttlMs));
      if (!lease) continue;
      this.#promise(lease.id, invokedMs, ttlMs);
      const key = `${LEASE_PREFIX}${lease.id}`;
      await this.#attempt(found, found.life.client.put(key, Buffer.from(lease.id), { lease: lease.id }));
      for (let i = prng.between(0, 8); i > 0; i--) {
        await this.#pause(prng, ttlMs / 3);
        const keeper = this.#pick(prng);
        if (!keeper) continue;
        const askedMs = this.#deps.world.nowMs;
        const kept = await this.#attempt(keeper, keeper.life.client.keepLeaseAlive(lease.id));
        if (kept) this.#promise(lease.id, askedMs, kept.ttlMs);
      }
    }
  }

  #promise(id: string, fromMs: number, ttlMs: number): void {
    const untilMs = fromMs + ttlMs / this.#deps.fastestRate;
    this.#promises.set(id, Math.max(untilMs, this.#promises.get(id) ?? 0));
    this.#checkLease(id);
  }

  #checkLease(id: string): void {
    const endedMs = this.#ended.get(id);
    const untilMs = this.#promises.get(id);
    if (endedMs === undefined || untilMs === undefined || endedMs >= untilMs) return;
    this.#deps.violated(new Error(`the lease ${id} was to live until ${untilMs} and ended at ${endedMs}`)); // a verdict, not an outcome
  }

  async #watch(name: string, prng: Prng): Promise<void> {
    let watch = this.#observed(name, 1);
    for (;;) {
      const found = this.#pick(prng);
      if (!found) {
        await this.#pause(prng, 100);
        continue;
      }
      const last = watch.batches.at(-1);
      const fromRevision = last ? last.revision + 1 : (watch.fromRevision ?? 1);
      const end = await this.#follow(watch, found, fromRevision);
      if (end !== 'compacted') continue;
      const listed = await this.#attempt(found, found.life.client.range({ prefix: '' }));
      if (listed) watch = this.#observed(name, listed.revision + 1);
    }
  }

  #observed(name: string, fromRevision: number): WatchDraft {
    const watch = { name: `${name} from ${fromRevision}`, fromRevision, selects: () => true, batches: [] };
    this.watches.push(watch);
    this.#current.set(name, watch);
    return watch;
  }

  /** For a while: one that follows a node which was removed would see nothing more. */
  async #follow(watch: WatchDraft, { life }: Found, fromRevision: number): Promise<'compacted' | 'ended'> {
    const ended = Promise.race([life.died, this.#deps.world.passed(WATCH_MS, { source: 'script' })]).then(
      () => undefined,
    );
    const iterator = life.client.watch({ prefix: '' }, { fromRevision })[Symbol.asyncIterator]();
    for (;;) {
      try {
        const next = await Promise.race([iterator.next(), ended]);
        if (next === undefined || next.done) {
          await iterator.return?.();
          return 'ended';
        }
        watch.batches.push(next.value);
      } catch (error) {
        if (!(error instanceof MetaError) || error.code !== 'COMPACTED') throw error;
        return 'compacted';
      }
    }
  }

  /** What it gave; undefined when it was refused, or the process died. */
  async #attempt<T>(found: Found, call: Promise<T>): Promise<T | undefined> {
    const quiet = call.catch((error: unknown) => {
      if (error instanceof MetaError) return undefined;
      throw error;
    });
    return this.#settled(found, quiet);
  }

  async #settled<T>({ node, life }: Found, call: Promise<T>): Promise<T | undefined> {
    const open: OpenCall = { node, life: node.host.life, sinceMs: this.#deps.world.nowMs };
    this.#open.add(open);
    try {
      return await Promise.race([call, life.died.then(() => undefined)]);
    } finally {
      this.#open.delete(open);
    }
  }

  #pick(prng: Prng): Found | undefined {
    const node = prng.pick(this.#deps.nodes);
    if (this.#state === 'stopped' && !this.#deps.isMember(node)) return undefined;
    const { running: life } = node;
    return life && { node, life };
  }

  #pause(prng: Prng, meanMs: number): Promise<void> {
    const drawnMs = -Math.log(1 - prng.next()) * meanMs;
    return this.#deps.world.passed(drawnMs, { source: 'script' });
  }

  #run(client: Promise<void>): void {
    assert(this.#state === 'working', 'clients start once');
    client.catch((error: unknown) => this.#deps.violated(error));
  }
}

interface Found {
  readonly node: SimNode;
  readonly life: NodeLife;
}
