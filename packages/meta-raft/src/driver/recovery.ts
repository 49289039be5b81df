// From what log and state hold after a start to the core that goes on from there.
//
//   fresh              neither has anything. A founder writes the founding entry, the same on every founder; anybody else
//                      waits to be sent the log.
//   log and state      the state is at some point of the log: the rest is applied again.
//   state beyond log   a snapshot's state was put in force and the log had not been reset to it yet (raft-group, E1): now it is.
//   state before log   the log was cut behind a state that is not there: damaged. Nothing can make up for it.

import type { Prng } from '@robustmq/stdx/prng';
import type { RaftConfig } from '../core/config.js';
import { encodeMembershipChange } from '../core/membership-codec.js';
import { Raft } from '../core/raft.js';
import type { Entry, HardState, NodeId } from '../core/types.js';
import { MetaError } from '../errors.js';
import type { GroupId } from './group-id.js';
import type { LogStore, LogWrite, RecoveredLog } from './log-store.js';
import type { AppliedState } from './state-machine.js';

export interface RecoveryOptions {
  readonly group: GroupId;
  readonly node: NodeId;
  /** Who founds the cluster; this node is a founder when it is among them. */
  readonly founders: readonly NodeId[];
  readonly logStore: LogStore;
  readonly applied: AppliedState;
  readonly config: RaftConfig;
  readonly prng: Prng;
}

const EMPTY_LOG: RecoveredLog = {
  base: { index: 0, term: 0 },
  entries: [],
  hardState: { term: 0, votedFor: undefined, commitIndex: 0 },
};

export async function recoverRaft(options: RecoveryOptions): Promise<Raft> {
  const { group, node, logStore, applied, config, prng } = options;
  const recovered = logStore.takeRecovered(group);
  const log = recovered ? await reconcile(options, recovered) : await begin(options);
  const last = log.entries.at(-1)?.index ?? log.base.index;
  // The commit index is written along with other things only; what is applied was committed.
  const commitIndex = Math.min(last, Math.max(log.hardState.commitIndex, applied.index));
  return new Raft({
    id: node,
    config,
    prng,
    log: { base: log.base, entries: log.entries, commitIndex, appliedIndex: applied.index },
    hardState: log.hardState,
    membership: applied.membership,
  });
}

async function begin(options: RecoveryOptions): Promise<RecoveredLog> {
  const { group, node, founders, applied } = options;
  if (applied.index > 0) {
    throw damaged(`group ${group} has a state (index ${applied.index}) but no log`);
  }
  if (!founders.includes(node)) return EMPTY_LOG;
  const payload = encodeMembershipChange({ kind: 'initial', voters: [...founders].sort((a, b) => a - b) });
  const entries: readonly Entry[] = [{ index: 1, term: 1, kind: 'membership', payload }];
  const hardState: HardState = { term: 1, votedFor: undefined, commitIndex: 1 };
  await write(options, { group, reset: undefined, entries, hardState });
  return { base: EMPTY_LOG.base, entries, hardState };
}

async function reconcile(options: RecoveryOptions, log: RecoveredLog): Promise<RecoveredLog> {
  const { group, applied } = options;
  if (applied.index < log.base.index) {
    throw damaged(
      `group ${group} has its log from index ${log.base.index} on, but a state of index ${applied.index} only`,
    );
  }
  const { index, term } = applied;
  const termInLog = index === log.base.index ? log.base.term : log.entries[index - log.base.index - 1]?.term;
  if (termInLog === term) return log;
  const base = { index, term };
  const hardState: HardState = {
    // A snapshot comes from a leader of at least its term.
    term: Math.max(log.hardState.term, term),
    votedFor: log.hardState.term >= term ? log.hardState.votedFor : undefined,
    commitIndex: index,
  };
  await write(options, { group, reset: base, entries: [], hardState });
  return { base, entries: [], hardState };
}

function write(options: RecoveryOptions, part: LogWrite): Promise<void> {
  return new Promise((resolve, reject) => {
    options.logStore.write([part], (error) => (error ? reject(error) : resolve()));
  });
}

function damaged(what: string): MetaError {
  const advice =
    'Replace this node by one with an empty directory and a new id, or restore the directory from a backup.';
  return new MetaError('DAMAGED', `The data directory is damaged: ${what}. ${advice}`);
}
