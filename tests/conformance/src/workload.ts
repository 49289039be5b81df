// Clients at work while things break: each does one operation after the other on a few keys, and all of it is recorded.
// Watches follow from the beginning, give up their place now and then, and take it again.

import { connectMeta, type MetaClient, MetaError, type WatchBatch } from '@robustmq/meta-raft/client';
import {
  acknowledgedPuts,
  checkLinearizability,
  History,
  judgeWatches,
  judgeWrites,
  type ObservedWatch,
  type RegisterHistory,
  type RegisterInput,
  recordOperation,
  registerModel,
  sightingsOf,
} from '@robustmq/meta-raft/testing';
import { systemClock } from '@robustmq/stdx/clock';
import type { Prng } from '@robustmq/stdx/prng';

export interface WorkloadOptions {
  readonly endpoints: readonly string[];
  readonly prng: Prng;
  readonly clients: number;
  readonly watches: number;
  /** A key is left for a new one after so many operations: the search for an order grows with each. */
  readonly operationsPerKey: number;
}

export interface WorkloadReport {
  readonly faults: readonly string[];
  readonly returned: number;
  readonly failed: number;
  readonly unknown: number;
  readonly watched: number;
  readonly keys: number;
  readonly lastRevision: number;
  readonly modelSteps: number;
}

interface Following {
  readonly name: string;
  readonly batches: WatchBatch[];
  readonly fromRevision: number;
  /** Set when it cannot go on. */
  error: unknown;
}

const PREFIX = 'chaos/';
const ATTEMPT_MS = 700;
/** Short, so that calls whose outcome stays unknown are among them. */
const REQUEST_MS = 1500;

export const pause = (ms: number) => new Promise<void>((resolve) => void systemClock.setTimer(ms, resolve));

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #history: RegisterHistory = new History();
  readonly #clients: MetaClient[] = [];
  readonly #workers: Promise<void>[] = [];
  readonly #following: Following[] = [];
  readonly #used = new Map<string, number>();
  readonly #stop = new AbortController();
  #keys: string[] = [];
  #values = 0;
  #made = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#keys = Array.from({ length: 3 }, () => this.#newKey());
  }

  async start(): Promise<void> {
    const { prng, clients, watches } = this.#options;
    const first = (await this.#connect(0).range({ prefix: PREFIX })).revision + 1;
    for (let i = 0; i < watches; i++) {
      const following: Following = { name: `watch ${i}`, batches: [], fromRevision: first, error: undefined };
      this.#following.push(following);
      this.#workers.push(this.#follow(following, this.#connect(i), prng.fork(following.name)));
    }
    for (let i = 0; i < clients; i++) {
      this.#workers.push(this.#work(`client ${i}`, this.#connect(i), prng.fork(`client ${i}`)));
    }
  }

  get returned(): number {
    return this.#history.count('returned');
  }

  /** Resolves when `count` more operations have returned; rejects when that takes too long. */
  async progress(count: number, withinMs: number): Promise<void> {
    const target = this.returned + count;
    const deadline = systemClock.now() + withinMs;
    while (this.returned < target) {
      if (systemClock.now() > deadline) {
        throw new Error(`the cluster serves nothing: ${target - this.returned} of ${count} operations are missing`);
      }
      await pause(20);
    }
  }

  /** Call when everything is healed. Ends the clients, waits for the watches to come to the end, and judges. */
  async finish(): Promise<WorkloadReport> {
    const reader = this.#connect(0);
    this.#stop.abort();
    await this.#idle();
    const { kvs, revision } = await reader.range({ prefix: PREFIX });
    // One more change, so that every watch has an end to come to.
    const mark = await reader.put(`${PREFIX}end`, Buffer.from('end'));
    const late = await this.#caughtUp(mark.revision);
    for (const client of this.#clients) await client.close();
    await Promise.all(this.#workers);
    return this.#judge(kvs, revision, late);
  }

  #judge(
    atTheEnd: Awaited<ReturnType<MetaClient['range']>>['kvs'],
    lastRevision: number,
    late: readonly string[],
  ): WorkloadReport {
    const { records, operations } = this.#history;
    const verdict = checkLinearizability(registerModel, operations, { stepsMax: 3_000_000 });
    const watches: ObservedWatch[] = this.#following.map(({ name, batches, fromRevision }) => ({
      name,
      fromRevision,
      batches,
      selects: (key) => key.startsWith(PREFIX),
      completeTo: lastRevision,
    }));
    const ofKeys = sightingsOf(watches.flatMap(({ batches }) => batches)).filter(({ key }) => key !== `${PREFIX}end`);
    const faults = [
      ...late,
      ...judgeWrites({ records, atTheEnd, sightings: ofKeys }),
      ...judgeWatches(watches, acknowledgedPuts(records)),
    ];
    if (verdict.verdict !== 'linearizable') {
      const { order, ...short } = { order: [], ...verdict };
      faults.push(`not linearizable: ${JSON.stringify({ ...short, lastOrdered: order.slice(-8) })}`);
    }
    return {
      faults,
      returned: this.#history.count('returned'),
      failed: this.#history.count('failed'),
      unknown: this.#history.count('unknown'),
      watched: watches.reduce((sum, { batches }) => sum + batches.reduce((n, { events }) => n + events.length, 0), 0),
      keys: this.#made,
      lastRevision,
      modelSteps: verdict.verdict === 'violated' ? 0 : verdict.steps,
    };
  }

  #connect(at: number): MetaClient {
    const { endpoints } = this.#options;
    const from = at % endpoints.length;
    const client = connectMeta({
      endpoints: [...endpoints.slice(from), ...endpoints.slice(0, from)],
      attemptTimeoutMs: ATTEMPT_MS,
      requestTimeoutMs: REQUEST_MS,
    });
    this.#clients.push(client);
    return client;
  }

  #busy = 0;

  async #work(name: string, client: MetaClient, prng: Prng): Promise<void> {
    this.#busy++;
    try {
      while (!this.#stop.signal.aborted) {
        const key = this.#key(prng);
        await recordOperation(this.#history, { name, client }, { key, input: this.#input(name, prng) });
        await pause(prng.between(0, 10));
      }
    } finally {
      this.#busy--;
    }
  }

  async #idle(): Promise<void> {
    while (this.#busy > 0) await pause(20);
  }

  #input(name: string, prng: Prng): RegisterInput {
    const value = `${name}.${++this.#values}`;
    const draw = prng.next();
    if (draw < 0.4) return { op: 'get' };
    if (draw < 0.75) return { op: 'put', value };
    if (draw < 0.85) return { op: 'delete' };
    return { op: 'cas', expected: prng.chance(0.5) ? undefined : this.#lastSeen(prng), value };
  }

  #lastSeen(prng: Prng): string | undefined {
    const puts =
      this.#following[0]?.batches.at(-1)?.events.flatMap((e) => (e.type === 'put' ? [e.kv.value] : [])) ?? [];
    return puts.length > 0 ? prng.pick(puts).toString() : undefined;
  }

  #newKey(): string {
    return `${PREFIX}k${this.#made++}`;
  }

  #key(prng: Prng): string {
    const at = prng.between(0, this.#keys.length - 1);
    const key = this.#keys[at] ?? this.#newKey();
    const used = (this.#used.get(key) ?? 0) + 1;
    this.#used.set(key, used);
    if (used >= this.#options.operationsPerKey) this.#keys[at] = this.#newKey();
    return key;
  }

  async #follow(following: Following, client: MetaClient, prng: Prng): Promise<void> {
    let next = following.fromRevision;
    for (;;) {
      const place = new AbortController();
      const leaving = systemClock.setTimer(prng.between(1000, 5000), () => place.abort());
      try {
        for await (const batch of client.watch({ prefix: PREFIX }, { fromRevision: next, signal: place.signal })) {
          following.batches.push(batch);
          next = batch.revision + 1;
        }
      } catch (error) {
        if (!(error instanceof MetaError) || error.code !== 'CLOSED') following.error = error;
        return;
      } finally {
        leaving.cancel();
      }
    }
  }

  async #caughtUp(revision: number): Promise<string[]> {
    const deadline = systemClock.now() + 15_000;
    const behind = () =>
      this.#following.filter(({ batches, error }) => error !== undefined || (batches.at(-1)?.revision ?? 0) < revision);
    while (behind().length > 0 && systemClock.now() < deadline) await pause(20);
    return behind().map(
      ({ name, batches, error }) =>
        `${name} came to ${batches.at(-1)?.revision ?? 0} of ${revision}: ${error ?? 'late'}`,
    );
  }
}
