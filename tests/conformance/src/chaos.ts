// One run of chaos: clients work, one thing after the other breaks and is healed, and at the end everything that was
// seen must make sense. The seed decides what breaks; the processes and the machine decide the rest, so a seed repeats
// the plan and not the run.

import type { ServerProcess } from '@robustmq/e2e/server-process';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type DamageReport, damage } from './damage.js';
import { FAULTS, type FaultName, type Site } from './faults.js';
import { MetaCluster, NODES, type NodeId } from './meta-cluster.js';
import { Workload, type WorkloadReport } from './workload.js';

export interface ChaosOptions {
  readonly directory: string;
  readonly seed: number | string;
  /** In this order; drawn by the seed when absent, until `until` says that it is enough. */
  readonly faults?: readonly FaultName[];
  readonly until?: () => boolean;
  /** Fills the disk of node 3, which then has so few MiB; needs root. */
  readonly smallDiskMebibytes?: number;
  /** Flips bits of one node's files at the end: that node may refuse to run, and the others must go on. */
  readonly damages?: readonly ('log' | 'state')[];
  readonly say?: (line: string) => void;
  readonly launcher?: string;
}

export interface ChaosReport extends WorkloadReport {
  readonly inflicted: readonly FaultName[];
  readonly damaged: readonly DamageReport[];
  /** Processes that ended by themselves, with the last of what they said. */
  readonly ended: readonly string[];
}

/** What must work again after each fault before the next, and how long that may take. */
const OPERATIONS_BETWEEN = 50;
const SERVICE_WITHIN_MS = 20_000;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const prng = createPrng(options.seed);
  const say = options.say ?? (() => {});
  const small = options.smallDiskMebibytes;
  const cluster = await MetaCluster.start({
    directory: options.directory,
    ...(options.launcher === undefined ? {} : { launcher: options.launcher }),
    ...(small === undefined ? {} : { small: { node: 3, mebibytes: small } }),
  });
  try {
    const workload = new Workload({
      endpoints: cluster.endpoints,
      prng: prng.fork('workload'),
      clients: 6,
      watches: 3,
      operationsPerKey: 300,
    });
    await workload.start();
    await workload.progress(OPERATIONS_BETWEEN, SERVICE_WITHIN_MS);
    const site: Site = { cluster, prng: prng.fork('faults'), workload, say };
    const inflicted = await inflictAll(site, options);
    const damaged: DamageReport[] = [];
    const victim = prng.fork('victim').pick(NODES);
    for (const what of options.damages ?? []) {
      damaged.push(await damage(cluster, { victim, what, prng: prng.fork(what) }));
      say(JSON.stringify(damaged.at(-1)));
      await workload.progress(OPERATIONS_BETWEEN, SERVICE_WITHIN_MS);
      if (damaged.at(-1)?.outcome !== 'ready') break;
    }
    const report = await workload.finish();
    return { ...report, inflicted, damaged, ended: await endedAlone(cluster, damaged.length > 0 ? victim : undefined) };
  } catch (error) {
    for (const id of NODES) say(`node ${id} said last:\n${lastOf(cluster.process(id))}`);
    throw error;
  } finally {
    await cluster.close();
  }
}

async function inflictAll(site: Site, { faults, until, smallDiskMebibytes }: ChaosOptions): Promise<FaultName[]> {
  const inflicted: FaultName[] = [];
  const planned = faults && [...faults];
  for (;;) {
    const name = planned ? planned.shift() : until?.() ? undefined : draw(site.prng, smallDiskMebibytes);
    if (name === undefined) return inflicted;
    site.say(name);
    inflicted.push(name);
    await FAULTS[name](site);
    site.cluster.heal();
    await site.workload.progress(OPERATIONS_BETWEEN, SERVICE_WITHIN_MS);
  }
}

function draw(prng: Prng, smallDiskMebibytes: number | undefined): FaultName {
  const names = Object.keys(FAULTS) as FaultName[]; // its own keys
  const name = prng.pick(names);
  return name === 'full-disk' && smallDiskMebibytes === undefined ? 'kill' : name;
}

function lastOf(process: ServerProcess | undefined): string {
  return process ? process.transcript().split('\n').slice(-12).join('\n') : 'it was not started again';
}

async function endedAlone(cluster: MetaCluster, except: NodeId | undefined): Promise<string[]> {
  const ended: string[] = [];
  for (const id of NODES) {
    const process = cluster.process(id);
    if (!process || id === except) continue;
    const outcome = await Promise.race([process.exited, Promise.resolve('runs')]);
    if (outcome !== 'runs') ended.push(`node ${id}: ${lastOf(process)}`);
  }
  return ended;
}

export { canMount } from './meta-cluster.js';
