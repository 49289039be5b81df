// What can happen to a cluster, each with its end: when it returns, everything runs and every wire is to be healed.

import { appendFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prng } from '@robustmq/stdx/prng';
import { type MetaCluster, NODES, type NodeId } from './meta-cluster.js';
import { pause, type Workload } from './workload.js';

export interface Site {
  readonly cluster: MetaCluster;
  readonly prng: Prng;
  readonly workload: Workload;
  readonly say: (line: string) => void;
}

export type FaultName = keyof typeof FAULTS;

export const FAULTS = {
  kill: async ({ cluster, prng }) => killAndStart(cluster, [prng.pick(NODES)], prng.between(0, 2000)),
  'kill-leader': async ({ cluster, prng }) => {
    await killAndStart(cluster, [await leaderOf(cluster)], prng.between(0, 2000));
  },
  'kill-two': async ({ cluster, prng }) => {
    await killAndStart(cluster, others(prng.pick(NODES)), prng.between(0, 1000));
  },
  'kill-all': async ({ cluster, prng }) => killAndStart(cluster, NODES, prng.between(0, 500)),
  stop: async ({ cluster, prng }) => stopAndContinue(cluster, prng.pick(NODES), prng.between(500, 3000)),
  'stop-leader': async ({ cluster, prng }) => {
    await stopAndContinue(cluster, await leaderOf(cluster), prng.between(500, 3000));
  },
  'isolate-leader': async ({ cluster, prng }) => {
    cluster.isolate(await leaderOf(cluster), prng.pick(['refused', 'silent'] as const));
    await pause(prng.between(1500, 4000));
  },
  isolate: async ({ cluster, prng }) => {
    cluster.isolate(prng.pick(NODES), prng.pick(['refused', 'silent'] as const));
    await pause(prng.between(500, 3000));
  },
  /** Two that do not hear each other, and one that hears both. */
  bridge: async ({ cluster, prng }) => {
    const [a, b] = others(prng.pick(NODES));
    cluster.wires([a], [b], 'silent');
    cluster.wires([b], [a], 'silent');
    await pause(prng.between(1000, 4000));
  },
  /** One that is heard and does not hear. */
  'one-way': async ({ cluster, prng }) => {
    const deaf = prng.pick(NODES);
    cluster.wires(others(deaf), [deaf], 'silent');
    await pause(prng.between(1000, 4000));
  },
  'split-all': async ({ cluster, prng }) => {
    cluster.wires(NODES, NODES, prng.pick(['refused', 'silent'] as const));
    await pause(prng.between(500, 2500));
  },
  'full-disk': async ({ cluster, workload, say }) => {
    const filler = join(cluster.dataPath(3), 'filler');
    fill(filler);
    // Two others have space: they must go on.
    await workload.progress(100, 15_000);
    await pause(1000);
    rmSync(filler, { force: true });
    await pause(500);
    const process = cluster.process(3);
    // It may go on by itself, or end with the reason: whoever supervises it starts it again.
    if (!process?.lines.some(({ msg }) => msg.includes('failed'))) return;
    const { code } = await process.exited;
    say(`node 3 ended with ${code} when its disk was full`);
    await cluster.start(3);
  },
} as const satisfies Readonly<Record<string, (site: Site) => Promise<void>>>;

async function killAndStart(cluster: MetaCluster, victims: readonly NodeId[], downMs: number): Promise<void> {
  await Promise.all(victims.map((id) => cluster.kill(id)));
  await pause(downMs);
  await Promise.all(victims.map((id) => cluster.start(id)));
}

async function stopAndContinue(cluster: MetaCluster, victim: NodeId, stoppedMs: number): Promise<void> {
  cluster.signal(victim, 'SIGSTOP');
  await pause(stoppedMs);
  cluster.signal(victim, 'SIGCONT');
}

function others(id: NodeId): readonly [NodeId, NodeId] {
  const [a, b] = NODES.filter((other) => other !== id);
  if (!a || !b) throw new Error('there are three nodes');
  return [a, b];
}

/** Writes until nothing more fits. */
function fill(file: string): void {
  writeFileSync(file, '');
  for (const size of [1 << 20, 1 << 16, 1 << 12, 1 << 8]) {
    try {
      for (;;) appendFileSync(file, Buffer.alloc(size));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error; // of a file system call
    }
  }
}

/** By what the nodes say of themselves; any node while they do not agree. */
export async function leaderOf(cluster: MetaCluster): Promise<NodeId> {
  for (const id of NODES) {
    const address = (await cluster.process(id)?.ready())?.http;
    const answer =
      address &&
      (await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(500) }).catch(() => undefined));
    const text = answer ? await answer.text() : '';
    const leads = /^meta_raft_leading\{[^}]*\} 1$/m.test(text);
    if (leads) return id;
  }
  return 1;
}
