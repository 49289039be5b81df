// The whole service, three times in one thread: the real log on disks that lose what was not synced, the real state and
// clients, on a clock that stands still until told.

import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import { nullMetrics } from '@robustmq/stdx/metrics';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '@robustmq/wal/testing';
import type { CompactionLimits } from '../src/driver/compaction.js';
import type { MetaError, MetaService } from '../src/index.js';
import { MetaNode } from '../src/meta-node.js';
import { resolveMetaOptions } from '../src/options.js';
import type { LevelDatabase } from '../src/storage/level-database.js';
import { openMemoryDatabase } from '../src/testing/level-memory-database.js';
import { SimWires } from '../src/testing/sim-wires.js';

const IDS = [1, 2, 3];
const PEERS = Object.fromEntries(IDS.map((id) => [id, `node-${id}:1`]));

class SimCluster {
  readonly clock = new ManualClock();
  readonly wires = new SimWires(this.clock, 2);
  readonly #prng = createPrng('sim-cluster');
  readonly #disks = new Map(IDS.map((id) => [id, new SimDisk(this.#prng.fork(`disk ${id}`))]));
  readonly #services = new Map<number, MetaService>();
  readonly failures = new Map<number, MetaError>();
  /** Kept across lives only where the log is cut: otherwise the log must have everything. */
  readonly #databases = new Map<number, LevelDatabase>();
  readonly #compaction: CompactionLimits | undefined;
  #lives = 0;

  constructor(compaction?: CompactionLimits) {
    this.#compaction = compaction;
  }

  disk(id: number): SimDisk {
    return this.#disks.get(id) as SimDisk; // every id has one
  }

  service(id: number): MetaService {
    return this.#services.get(id) as MetaService; // asked for while it runs
  }

  /** The newest, once there is one among those not left out. */
  async leader(leftOut = 0): Promise<number> {
    for (let passedMs = 0; passedMs < 10_000; passedMs++) {
      const running = [...this.#services].filter(([id]) => id !== leftOut).map(([, service]) => service.status());
      const [newest] = running.filter(({ role }) => role === 'leader').sort((a, b) => b.term - a.term);
      if (newest) return newest.node;
      await this.clock.advanceAndSettle(1);
    }
    throw new Error('no leader was elected');
  }

  /** Through the leader: handing on to it takes a gRPC of its own, which is tried in three-nodes.test.ts. */
  async put(key: string, value: string, leftOut = 0): Promise<number> {
    const { client } = this.service(await this.leader(leftOut));
    return (await this.settled(client.put(key, Buffer.from(value)))).revision;
  }

  async start(...ids: number[]): Promise<void> {
    const starting = ids.map(async (id) => {
      const options = resolveMetaOptions({ nodeId: id, clusterName: 'sim', dataDirectory: '/data', peers: PEERS });
      const node = await MetaNode.open(
        { ...options, group: { ...options.group, compaction: this.#compaction ?? options.group.compaction } },
        {
          clock: this.clock,
          disk: this.disk(id),
          prng: this.#prng.fork(`life ${this.#lives++}`),
          logger: nullLogger,
          metrics: nullMetrics,
          transport: this.wires.transport(id),
          openDatabase: async () => this.#database(id),
          failed: (error) => this.failures.set(id, error),
        },
      );
      await node.start(undefined);
      this.#services.set(id, node);
    });
    await this.settled(Promise.all(starting));
  }

  /** Power loss. The state's database is of memory: the log must have everything. */
  async kill(id: number): Promise<void> {
    this.wires.detach(id);
    this.disk(id).crash();
    const service = this.#services.get(id);
    this.#services.delete(id);
    await this.settled(service?.close() ?? Promise.resolve());
  }

  async #database(id: number): Promise<LevelDatabase> {
    const kept = this.#databases.get(id);
    if (kept) return kept;
    const database = await openMemoryDatabase();
    if (!this.#compaction) return database;
    // Closing it would forget it: a database of memory has no disk to come back from.
    Object.assign(database, { close: async () => {} });
    this.#databases.set(id, database);
    return database;
  }

  async settled<T>(call: Promise<T>): Promise<T> {
    let done = false;
    const watched = call.finally(() => {
      done = true;
    });
    watched.catch(() => {}); // the caller gets it from the returned promise
    for (let passedMs = 0; !done && passedMs < 30_000; passedMs++) await this.clock.advanceAndSettle(1);
    expect(done).toBe(true);
    return watched;
  }
}

describe('three nodes on simulated disks', () => {
  it('lose nothing they acknowledged, whoever dies', async () => {
    const cluster = new SimCluster();
    await cluster.start(1, 2, 3);
    const acknowledged: string[] = [];
    const put = async (key: string) => {
      await cluster.put(key, key);
      acknowledged.push(key);
    };
    for (const round of [1, 2, 3, 4]) {
      for (const i of IDS) await put(`round ${round}, ${i}`);
      const victim = await cluster.leader();
      await cluster.kill(victim);
      await put(`round ${round} without ${victim}`);
      await cluster.start(victim);
    }
    for (const id of IDS) {
      const { kvs } = await cluster.settled(cluster.service(id).client.range({ prefix: '' }));
      expect(kvs.map(({ key }) => key)).toEqual([...acknowledged].sort());
    }
  }, 30_000);

  it('come back from the loss of power of all at once', async () => {
    const cluster = new SimCluster();
    await cluster.start(1, 2, 3);
    const revision = await cluster.put('k', 'v');
    for (const id of IDS) await cluster.kill(id);
    await cluster.start(1, 2, 3);
    expect(await cluster.settled(cluster.service(3).client.get('k'))).toMatchObject({ modRevision: revision });
  }, 30_000);

  it('read nothing stale from a leader that was cut off', async () => {
    const cluster = new SimCluster();
    await cluster.start(1, 2, 3);
    const old = await cluster.leader();
    await cluster.put('k', 'old');
    cluster.wires.isolate(old);
    const read = cluster.service(old).client.get('k');
    await cluster.put('k', 'new', old);
    const local = await cluster.settled(cluster.service(old).client.get('k', { consistency: 'serializable' }));
    expect(local?.value.toString()).toBe('old');
    await cluster.clock.advanceAndSettle(1300); // two election timeouts: by then it knows that it is alone
    expect(cluster.service(old).isReady()).toBe(false);
    cluster.wires.heal();
    expect((await cluster.settled(read))?.value.toString()).toBe('new');
  }, 30_000);

  it('bring back by a snapshot who was away for longer than the log reaches', async () => {
    const cluster = new SimCluster({ entriesMax: 50, bytesMax: 1 << 20, entriesKept: 10 });
    await cluster.start(1, 2, 3);
    const leader = await cluster.leader();
    const [away = 1] = IDS.filter((id) => id !== leader);
    await cluster.kill(away);
    const lease = await cluster.settled(cluster.service(leader).client.grantLease(60_000));
    for (let i = 0; i < 150; i++) await cluster.put(`key ${i % 40}`, `${i}`);
    expect(cluster.service(leader).status().firstIndex).toBeGreaterThan(50);
    await cluster.start(away);
    const everything = await cluster.settled(cluster.service(leader).client.range({ prefix: '' }));
    expect(await cluster.settled(cluster.service(away).client.range({ prefix: '' }))).toEqual(everything);
    expect(cluster.service(away).status().firstIndex).toBeGreaterThan(50);
    // It can lead with what it got, leases included, and starts again from it.
    await cluster.kill(away);
    await cluster.start(away);
    await cluster.kill(leader);
    await cluster.put('after', 'x');
    expect(
      await cluster.settled(cluster.service(await cluster.leader()).client.keepLeaseAlive(lease.id)),
    ).toMatchObject({
      ttlMs: 60_000,
    });
    expect(cluster.failures.size).toBe(0);
  }, 30_000);

  it('stop at a disk that fails, say so, and go on without it', async () => {
    const cluster = new SimCluster();
    await cluster.start(1, 2, 3);
    const leader = await cluster.leader();
    await cluster.put('k', 'before');
    cluster.disk(leader).failNext('datasync', { code: 'EIO' });
    const lost = cluster.settled(cluster.service(leader).client.put('k', Buffer.from('lost')));
    await expect(lost).rejects.toMatchObject({ next: 'unknown' });
    expect(cluster.failures.get(leader)).toMatchObject({ code: 'FAILED' });
    expect(cluster.service(leader).status().role).toBe('failed');
    expect(cluster.service(leader).isReady()).toBe(false);
    await cluster.put('k', 'after', leader);
  }, 30_000);
});
