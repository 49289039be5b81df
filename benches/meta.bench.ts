// The metadata service against etcd: three members each, the same client program, rounds taken in turns, 256 B values.
// Goals: puts/s at 64 clients ≥ 1.0 × etcd, linearizable reads/s ≥ 3 × own puts/s, one client's put p50 ≤ 1.25 × etcd's,
// one fdatasync for 16 puts at 64 clients, failover ≤ 1.0 s, restart with 100,000 keys ≤ 2 s.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectMeta, type MetaClient } from '@robustmq/meta-raft/client';
import { partsOf } from './cpu-profile.js';
import { BenchCluster, type ClusterName } from './meta-clusters.js';
import { type BenchContext, quantile, spread, table } from './statistics.js';

const VALUE = Buffer.alloc(256, 'x');
const CLIENTS = 64;
const KEYS = 100_000;
const KEYS_PER_TRANSACTION = 100;

interface Round {
  readonly putsPerSecond: number;
  readonly readsPerSecond: number;
  readonly putP50Ms: number;
  readonly putP99Ms: number;
  readonly loneP50Ms: number;
  readonly syncsPerPut: number;
  readonly leaderCpuPerPut: number;
  readonly leaderCpuPerRead: number;
}

export async function run({ quick, scratch }: BenchContext): Promise<string> {
  const rivals: ClusterName[] = spawnSync('etcd', ['--version']).error ? ['ours'] : ['ours', 'etcd'];
  const clusters: BenchCluster[] = [];
  try {
    for (const name of rivals) clusters.push(await BenchCluster.start(name, scratch));
    const rounds = new Map<ClusterName, Round[]>(rivals.map((name) => [name, []]));
    const failovers = new Map<ClusterName, number[]>(rivals.map((name) => [name, []]));
    const restarts = new Map<ClusterName, number[]>(rivals.map((name) => [name, []]));
    const count = quick ? 1 : 5;
    for (const cluster of clusters) await oneRound(cluster, 1000); // warm
    for (let i = 0; i < count; i++) {
      for (const cluster of inTurns(clusters, i)) {
        rounds.get(cluster.name)?.push(await oneRound(cluster, quick ? 1000 : 3000));
      }
    }
    for (let i = 0; i < (quick ? 1 : 9); i++) {
      for (const cluster of inTurns(clusters, i)) failovers.get(cluster.name)?.push(await failoverMs(cluster));
    }
    for (const cluster of clusters) await load(cluster, quick ? 10_000 : KEYS);
    for (let i = 0; i < count; i++) {
      for (const cluster of inTurns(clusters, i)) restarts.get(cluster.name)?.push(await restartMs(cluster));
    }
    const figures = report({ rivals, rounds, failovers, restarts, keys: quick ? 10_000 : KEYS });
    return `${figures}\n\n${await profiles(clusters, quick ? 2000 : 6000)}`;
  } finally {
    for (const cluster of clusters) await cluster.close();
  }
}

/** Whoever goes first in one round goes last in the next. */
function inTurns(clusters: readonly BenchCluster[], round: number): BenchCluster[] {
  return round % 2 === 0 ? [...clusters] : [...clusters].reverse();
}

async function oneRound(cluster: BenchCluster, forMs: number): Promise<Round> {
  const leader = await cluster.leader();
  const client = connectMeta({ endpoints: await cluster.endpoints(), writeRetries: 'never' });
  try {
    const before = await cluster.usage(leader);
    const puts = await drive(forMs, CLIENTS, (i) => client.put(`bench/${i % 5000}`, VALUE));
    const between = await cluster.usage(leader);
    const reads = await drive(forMs, CLIENTS, (i) => client.get(`bench/${i % 5000}`));
    const after = await cluster.usage(leader);
    const lone = await drive(forMs / 3, 1, (i) => client.put(`bench/${i % 5000}`, VALUE));
    return {
      putsPerSecond: puts.perSecond,
      putP50Ms: quantile(puts.latencies, 0.5),
      putP99Ms: quantile(puts.latencies, 0.99),
      readsPerSecond: reads.perSecond,
      loneP50Ms: quantile(lone.latencies, 0.5),
      syncsPerPut: (between.syncs - before.syncs) / puts.latencies.length,
      leaderCpuPerPut: ((between.cpuSeconds - before.cpuSeconds) / puts.latencies.length) * 1e6,
      leaderCpuPerRead: ((after.cpuSeconds - between.cpuSeconds) / reads.latencies.length) * 1e6,
    };
  } finally {
    await client.close();
  }
}

/** So many clients, each with one call under way, for so long. */
async function drive(forMs: number, clients: number, call: (i: number) => Promise<unknown>) {
  const latencies: number[] = [];
  const from = performance.now();
  let next = 0;
  const client = async () => {
    while (performance.now() - from < forMs) {
      const begun = performance.now();
      await call(next++);
      latencies.push(performance.now() - begun);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { latencies, perSecond: (latencies.length / (performance.now() - from)) * 1000 };
}

/** From kill -9 of the leader to the first acknowledged put that began after it. */
async function failoverMs(cluster: BenchCluster): Promise<number> {
  const leader = await cluster.leader();
  const endpoints = await cluster.endpoints();
  const client = connectMeta({ endpoints, writeRetries: 'never', requestTimeoutMs: 1000, attemptTimeoutMs: 500 });
  try {
    await client.put('failover', VALUE);
    const killedAt = performance.now();
    const killed = cluster.kill(leader);
    await firstPut(client);
    const took = performance.now() - killedAt;
    await killed;
    await cluster.restart(leader);
    return took;
  } finally {
    await client.close();
  }
}

async function firstPut(client: MetaClient): Promise<void> {
  for (;;) {
    try {
      await client.put('failover', VALUE);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function load(cluster: BenchCluster, keys: number): Promise<void> {
  const client = connectMeta({ endpoints: await cluster.endpoints(), requestTimeoutMs: 60_000 });
  try {
    for (let first = 0; first < keys; first += KEYS_PER_TRANSACTION * 4) {
      await Promise.all(
        [0, 1, 2, 3].map((part) => {
          const at = first + part * KEYS_PER_TRANSACTION;
          const puts = Array.from({ length: KEYS_PER_TRANSACTION }, (_, i) => ({
            put: { key: `many/${at + i}`, value: VALUE },
          }));
          return client.transact({ when: [], then: puts });
        }),
      );
    }
  } finally {
    await client.close();
  }
}

async function restartMs(cluster: BenchCluster): Promise<number> {
  const follower = ((await cluster.leader()) + 1) % 3;
  await cluster.kill(follower);
  return cluster.restart(follower);
}

/** What our leader does while it is busiest. */
async function profiles(clusters: readonly BenchCluster[], forMs: number): Promise<string> {
  const cluster = clusters.find(({ name }) => name === 'ours');
  if (!cluster) return '';
  const rows: string[][] = [];
  for (const [what, call] of [
    ['puts', (client: MetaClient, i: number) => client.put(`bench/${i % 5000}`, VALUE)],
    ['reads', (client: MetaClient, i: number) => client.get(`bench/${i % 5000}`)],
  ] as const) {
    const directory = mkdtempSync(join(tmpdir(), 'robustmq-profile-'));
    const leader = await cluster.leader();
    await cluster.stop(leader);
    await cluster.restartProfiled(leader, directory);
    await transferTo(cluster, leader);
    const client = connectMeta({ endpoints: await cluster.endpoints() });
    await drive(forMs, CLIENTS, (i) => call(client, i));
    await client.close();
    await cluster.stop(leader);
    const [file = ''] = readdirSync(directory);
    const parts = partsOf({ profile: join(directory, file), sourceMap: cluster.sourceMap }, { from: 0.5, to: 0.9 });
    const shown = parts.slice(0, 10).map(({ part, percent }) => `${part} ${percent.toFixed(0)} %`);
    rows.push([`64 clients, ${what}`, shown.join('; ')]);
    rmSync(directory, { recursive: true, force: true });
    await cluster.restart(leader);
  }
  return table(['our leader, processor time of its JavaScript thread', 'where'], rows);
}

/** By killing whoever leads instead, until the member leads. */
async function transferTo(cluster: BenchCluster, member: number): Promise<void> {
  for (let leader = await cluster.leader(); leader !== member; leader = await cluster.leader()) {
    await cluster.kill(leader);
    await cluster.restart(leader);
  }
}

interface Measured {
  readonly rivals: readonly ClusterName[];
  readonly rounds: ReadonlyMap<ClusterName, readonly Round[]>;
  readonly failovers: ReadonlyMap<ClusterName, readonly number[]>;
  readonly restarts: ReadonlyMap<ClusterName, readonly number[]>;
  readonly keys: number;
}

function report({ rivals, rounds, failovers, restarts, keys }: Measured): string {
  const median = (values: readonly number[]) => quantile(values, 0.5);
  const lines: string[][] = [];
  const line = (what: string, digits: number, of: (name: ClusterName) => readonly number[]) => {
    const values = rivals.map(of);
    const ratio = median(values[0] ?? []) / median(values[1] ?? []);
    lines.push([what, ...values.map((each) => spread(each, digits)), Number.isNaN(ratio) ? '' : ratio.toFixed(2)]);
  };
  const ofRounds = (field: keyof Round) => (name: ClusterName) => (rounds.get(name) ?? []).map((round) => round[field]);
  line('puts/s, 64 clients, unary', 0, ofRounds('putsPerSecond'));
  line('their p50, ms', 1, ofRounds('putP50Ms'));
  line('their p99, ms', 1, ofRounds('putP99Ms'));
  line('µs CPU of the leader for each', 0, ofRounds('leaderCpuPerPut'));
  line('fdatasyncs of the leader for each', 3, ofRounds('syncsPerPut'));
  line('linearizable reads/s, 64 clients', 0, ofRounds('readsPerSecond'));
  line('µs CPU of the leader for each', 0, ofRounds('leaderCpuPerRead'));
  line('one client: put p50, ms', 2, ofRounds('loneP50Ms'));
  line('kill -9 of the leader to the next acknowledged put, ms', 0, (name) => failovers.get(name) ?? []);
  line(`start of a follower with ${keys} keys to its first answer, ms`, 0, (name) => restarts.get(name) ?? []);
  const own = median((rounds.get('ours') ?? []).map((round) => round.readsPerSecond / round.putsPerSecond));
  const head = ['256 B values, 3 members', ...rivals.map((name) => `${name} (min / median / max)`), 'ours / etcd'];
  return `${table(head, lines)}\n\nOur reads/s are ${own.toFixed(2)} × our puts/s (median of the rounds). The client is a Node program on the same two cores.`;
}
