import { errorMessage } from '@robustmq/stdx/coded-error';
import type { KeyValue } from '../../client/meta-client.js';
import type { MetaStateMachine } from '../../storage/meta-state-machine.js';
import { checkLinearizability } from '../linearizability.js';
import { registerModel } from '../register-model.js';
import { judgeWatches, sightingsOf } from '../watch-validators.js';
import { acknowledgedPuts, judgeWrites } from '../write-oracle.js';
import { KEY_PREFIX, type SimClients } from './sim-clients.js';
import type { SimNode } from './sim-node.js';

export interface Evidence {
  readonly clients: SimClients;
  /** The state of the leader when all has healed. */
  readonly machine: MetaStateMachine;
  /** All keys of the clients, read then. */
  readonly atTheEnd: readonly KeyValue[];
  /** A lease that was promised until before then should be gone, in simulated milliseconds. */
  readonly leasesEndByMs: number;
}

export interface Verdict {
  /** One sentence for each thing that is wrong. */
  readonly faults: readonly string[];
  /** `given up`: the search for an order reached its bound. */
  readonly linearizability: 'judged' | 'given up';
}

const STEPS_MAX = 2_000_000;

/** Judges what the clients of a simulated cluster saw, once it has healed. */
export function judge({ clients, machine, atTheEnd, leasesEndByMs }: Evidence): Verdict {
  const { history, watches, promises } = clients;
  const { records } = history;
  for (const watch of clients.openWatches) watch.completeTo = machine.state.versions.revision;
  const sightings = sightingsOf(watches.flatMap(({ batches }) => batches));
  // One that nobody was told of has no promise: it was granted before clients stopped, which is long enough ago.
  const overdue = machine.state.leases.all().filter(({ id }) => (promises.get(id) ?? 0) < leasesEndByMs);
  const faults = [
    ...overdue.map(({ id }) => `the lease ${id} ran out and is still there`),
    ...judgeWatches(watches, acknowledgedPuts(records)),
    ...judgeWrites({ records, atTheEnd, sightings: sightings.filter(({ key }) => key.startsWith(KEY_PREFIX)) }),
  ];
  const found = checkLinearizability(registerModel, history.operations, { stepsMax: STEPS_MAX });
  if (found.verdict === 'violated') {
    faults.push(`${found.partition} is not linearizable: no place for ${JSON.stringify(found.stuckAt)}`);
  }
  return { faults, linearizability: found.verdict === 'unknown' ? 'given up' : 'judged' };
}

/** One line on each node, for who has to find out why nothing works. */
export function picture(nodes: readonly SimNode[]): string {
  const lines = nodes.map(({ id, running }) => {
    if (!running) return `${id} is down`;
    const { role, term, leader, commitIndex, lastLog, membership } = running.raft.status;
    const { voters, votersOutgoing, learners } = membership;
    const log = `commit ${commitIndex} last ${lastLog.index}/${lastLog.term} applied ${running.machine.applied.index}`;
    return `${id} ${role} t${term} of ${leader} ${log} voters ${voters}|${votersOutgoing}|${learners}`;
  });
  return lines.join('; ');
}

/** With all its causes. */
export function describe(error: unknown): string {
  const causes: string[] = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) causes.push(cause.message);
  return causes.join(' <- ') || errorMessage(error);
}
