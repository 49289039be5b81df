// The clients over real Raft, real sockets and real disks.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { connectMeta } from '../src/client/connect-meta.js';
import type { MetaClient, WatchBatch } from '../src/client/meta-client.js';
import { MaintenanceClient } from '../src/gen/etcdserverpb/rpc.js';
import { type MetaService, startMeta } from '../src/index.js';
import { type ContractSubject, describeMetaClient } from './meta-client-contract.js';

function listen(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
}

interface Alone {
  readonly clock: ManualClock;
  readonly service: MetaService;
  readonly address: string;
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

async function startAlone(): Promise<Alone> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'meta-alone-'));
  const clock = new ManualClock();
  const server = new Server();
  const address = `127.0.0.1:${await listen(server)}`;
  const service = await startMeta(
    { nodeId: 1, clusterName: 'alone', dataDirectory },
    { clock, rpc: { mount: (definition, implementation) => server.addService(definition, implementation) } },
  );
  return {
    clock,
    service,
    address,
    compact: async (revision) => {
      const { KVClient } = await import('../src/gen/etcdserverpb/rpc.js');
      const kv = new KVClient(address, credentials.createInsecure());
      await new Promise<void>((resolve, reject) =>
        kv.compact({ revision, physical: false }, (error) => (error ? reject(error) : resolve())),
      );
      kv.close();
    },
    close: async () => {
      await service.close();
      server.forceShutdown();
      await rm(dataDirectory, { recursive: true, force: true });
    },
  };
}

describeMetaClient('in the process of a Raft node', async (): Promise<ContractSubject> => {
  const alone = await startAlone();
  const other = connectMeta({ endpoints: [alone.address] });
  return {
    client: alone.service.client,
    other,
    advance: (byMs) => alone.clock.advanceAndSettle(byMs),
    compact: alone.compact,
    close: async () => {
      await other.close();
      await alone.close();
    },
  };
});

describeMetaClient('gRPC to a Raft node', async (): Promise<ContractSubject> => {
  const alone = await startAlone();
  const connect = () => connectMeta({ endpoints: ['127.0.0.1:1', alone.address] });
  const [client, other] = [connect(), connect()];
  return {
    client,
    other,
    advance: (byMs) => alone.clock.advanceAndSettle(byMs),
    compact: alone.compact,
    close: async () => {
      await client.close();
      await other.close();
      await alone.close();
    },
  };
});

interface Member {
  readonly id: number;
  readonly port: number;
  server: Server;
  service: MetaService | undefined;
}

class Cluster {
  readonly members: Member[] = [];
  #directory = '';

  static async start(): Promise<Cluster> {
    const cluster = new Cluster();
    cluster.#directory = await mkdtemp(join(tmpdir(), 'meta-cluster-'));
    for (const id of [1, 2, 3]) {
      const server = new Server();
      cluster.members.push({ id, server, port: await listen(server), service: undefined });
    }
    await Promise.all(cluster.members.map((member) => cluster.#open(member)));
    return cluster;
  }

  get endpoints(): string[] {
    return this.members.map(({ port }) => `127.0.0.1:${port}`);
  }

  get leader(): Member {
    const leader = this.members.find((member) => member.service?.status().role === 'leader');
    if (!leader) throw new Error('nobody leads');
    return leader;
  }

  get followers(): Member[] {
    return this.members.filter((member) => member !== this.leader);
  }

  clientOf(member: Member): MetaClient {
    if (!member.service) throw new Error(`node ${member.id} does not run`);
    return member.service.client;
  }

  /** Its connections break in mid-flight, its state stays on disk. */
  async stop(member: Member): Promise<void> {
    member.server.forceShutdown();
    await member.service?.close();
    member.service = undefined;
  }

  async restart(member: Member): Promise<void> {
    member.server = new Server();
    await listen(member.server, member.port);
    await this.#open(member);
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => this.stop(member)));
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #open(member: Member): Promise<void> {
    const peers = Object.fromEntries(this.members.map(({ id, port }) => [id, `127.0.0.1:${port}`]));
    const dataDirectory = join(this.#directory, String(member.id));
    const { server } = member;
    member.service = await startMeta(
      { nodeId: member.id, clusterName: 'three', dataDirectory, peers },
      { rpc: { mount: (definition, implementation) => server.addService(definition, implementation) } },
    );
  }
}

describe('three nodes', () => {
  let cluster: Cluster | undefined;
  afterEach(async () => {
    await cluster?.close();
    cluster = undefined;
  });

  it('serve reads, writes, leases and watches on a follower as on the leader', async () => {
    cluster = await Cluster.start();
    const [first, second] = cluster.followers.map((member) => cluster?.clientOf(member)) as [MetaClient, MetaClient]; // two of three follow
    const watch = second.watch({ prefix: 'n/' }, { fromRevision: 1 })[Symbol.asyncIterator]();
    const lease = await first.grantLease(5_000);
    const { revision } = await first.put('n/1', Buffer.from('x'), { lease: lease.id });
    expect(await first.get('n/1', { consistency: 'serializable' })).toMatchObject({ modRevision: revision }); // who writes here reads it here
    expect(await second.get('n/1')).toMatchObject({ lease: lease.id });
    expect(await second.keepLeaseAlive(lease.id)).toEqual({ ttlMs: 5_000 });
    await second.revokeLease(lease.id);
    expect(await first.get('n/1')).toBeUndefined();
    await expect(first.keepLeaseAlive(lease.id)).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
    await expect(first.put('n/2', Buffer.from('x'), { lease: lease.id })).rejects.toMatchObject({
      code: 'LEASE_NOT_FOUND',
    });
    const seen: WatchBatch[] = [];
    while ((seen.at(-1)?.revision ?? 0) < revision + 1) {
      const { value } = await watch.next();
      if (value) seen.push(value);
    }
    expect(seen.flatMap((batch) => batch.events.map((event) => event.type))).toEqual(['put', 'delete']);
    await watch.return?.();
    const maintenance = new MaintenanceClient(cluster.endpoints[0] ?? '', credentials.createInsecure());
    const hashes = await Promise.all(
      cluster.endpoints.map((endpoint) => {
        const client = new MaintenanceClient(endpoint, credentials.createInsecure());
        return new Promise<number>((resolve, reject) =>
          client.hashKv({ revision }, (error, answer) => (error ? reject(error) : resolve(answer.hash))),
        ).finally(() => client.close());
      }),
    );
    maintenance.close();
    expect(new Set(hashes).size).toBe(1);
  }, 30_000);

  it('lose no acknowledged write, apply none twice, and leave no gap in a watch, while nodes come and go', async () => {
    cluster = await Cluster.start();
    const client = connectMeta({ endpoints: cluster.endpoints });
    const watcher = connectMeta({ endpoints: [...cluster.endpoints].reverse() });
    const seen: string[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const batch of watcher.watch({ prefix: 'w/' }, { fromRevision: 1, signal: abort.signal })) {
        for (const event of batch.events)
          if (event.type === 'put') seen.push(`${event.kv.modRevision} ${event.kv.key}`);
      }
    })();
    const acknowledged: string[] = [];
    let next = 0;
    let phase: 'writing' | 'done' = 'writing';
    const writers = Array.from({ length: 4 }, async () => {
      while (phase === 'writing') {
        const key = `w/${String(next++).padStart(6, '0')}`;
        const { revision } = await client.put(key, Buffer.from(key));
        acknowledged.push(`${revision} ${key}`);
      }
    });
    for (let round = 0; round < 2; round++) {
      const before = acknowledged.length;
      const leader = cluster.leader;
      await cluster.stop(leader);
      await reaches(() => acknowledged.length > before + 20);
      await cluster.restart(leader);
      await reaches(() => acknowledged.length > before + 40);
    }
    phase = 'done';
    await Promise.all(writers);
    const all = await client.range({ prefix: 'w/' });
    expect(all.kvs.filter((kv) => kv.version !== 1)).toEqual([]); // none was applied twice
    const stored = all.kvs.map((kv) => `${kv.modRevision} ${kv.key}`).sort();
    expect(acknowledged.sort()).toEqual(stored);
    await reaches(() => seen.length >= stored.length);
    abort.abort();
    await watching;
    expect(seen.map((line) => Number(line.split(' ')[0]))).toEqual(
      seen.map((line) => Number(line.split(' ')[0])).sort((a, b) => a - b),
    );
    expect([...seen].sort()).toEqual(stored);
    await client.close();
    await watcher.close();
  }, 60_000);

  /** Looks again now and then: what it waits for comes from other event loops' turns, and tells nobody. */
  async function reaches(test: () => boolean): Promise<void> {
    for (let looks = 0; !test(); looks++) {
      if (looks > 2_000) throw new Error('it does not come');
      await new Promise<void>((resolve) => setTimeout(resolve, 10));
    }
  }
});
