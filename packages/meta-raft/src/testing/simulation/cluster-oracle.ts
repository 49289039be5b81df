// What must be true of the nodes of a cluster at every moment, whatever goes wrong (Raft §5, figure 3).
//
//   O1. Election safety: a term has one leader.
//   O2. Log matching: two logs with the same entry at some position are the same before it.
//   O3. Leader completeness: who leads has every entry that was committed in an earlier term.
//   O4. State-machine safety: at the same applied index all states are equal, for ever.
//   O5. What is committed at an index never changes.
//   O6. A node votes for one candidate in a term, over all its lives.
//   O7. What a node has acknowledged in a term, it has after a crash.
//   O8. Within a life term, commit index and applied index never fall.
//   O9. Who leads is a voter of the membership it has applied.
//   O10. Who cannot write does not lead: no heartbeats while a sync hangs for longer than an election timeout.
//   O11. A leader moves its commit index to entries of its own term only (Raft §5.4.2).
//   O12. What a leader commits was acknowledged by a majority of the membership in force, of both halves of a joint one.
//   O13. No change of the membership is begun while another is not applied.

import { assert } from '@robustmq/stdx/assert';
import { crc32 } from '@robustmq/stdx/crc32';
import { isVoter } from '../../core/membership.js';
import type { Raft } from '../../core/raft.js';
import type { Entry, LogPosition, Membership, Message, NodeId, Term } from '../../core/types.js';
import type { MetaStateMachine } from '../../storage/meta-state-machine.js';

interface CommittedEntry {
  readonly term: Term;
  /** The term of who committed it first: only later ones need have it. */
  readonly committedIn: Term;
  readonly sum: number;
}

/** What was seen of a node last. */
interface Seen {
  readonly raft: Raft;
  role: 'leader' | 'other';
  membership: Membership;
  last: number;
  term: Term;
  commit: number;
  applied: number;
}

interface Observed {
  readonly id: NodeId;
  readonly running: { readonly raft: Raft; readonly machine: MetaStateMachine } | undefined;
}

/** Entries compared between two logs at a time: where they part is near their ends. */
const COMPARED_ENTRIES = 100;

export class ClusterOracle {
  readonly #leaders = new Map<Term, NodeId>();
  readonly #committed: (CommittedEntry | undefined)[] = [];
  readonly #states = new Map<number, string>();
  readonly #votes = new Map<string, NodeId>();
  readonly #acknowledged = new Map<NodeId, LogPosition>();
  /** By node and term: the highest index. */
  readonly #acknowledgedIn = new Map<string, number>();
  readonly #seen = new Map<NodeId, Seen>();
  readonly #stallMs: number;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  get leaders(): number {
    return this.#leaders.size;
  }

  get committed(): number {
    return this.#committed.length;
  }

  /** After recovery, before anything runs. */
  observeBoot(node: NodeId, raft: Raft): void {
    const acknowledged = this.#acknowledged.get(node);
    const { term, lastLog } = raft.status;
    if (!acknowledged) return;
    const { index, term: inTerm } = acknowledged;
    assert(term >= inTerm, `O7: node ${node} acknowledged in term ${inTerm} and came back in term ${term}`);
    const kept = term > inTerm || lastLog.index >= index;
    assert(kept, `O7: node ${node} acknowledged ${index} in term ${inTerm} and came back with ${lastLog.index}`);
  }

  /** Called for every message that leaves a node. */
  observeSent(from: NodeId, message: Message, syncingForMs: number): void {
    if (message.type === 'vote-response' && message.verdict === 'granted')
      this.#observeVote(from, message.term, message.to);
    if (message.type === 'vote-request') this.#observeVote(from, message.term, from);
    if (message.type === 'append-response' && message.outcome.result === 'accepted') {
      const known = this.#acknowledged.get(from);
      const { matchIndex: index } = message.outcome;
      const key = `${from}@${message.term}`;
      this.#acknowledgedIn.set(key, Math.max(index, this.#acknowledgedIn.get(key) ?? 0));
      if (!known || message.term > known.term || (message.term === known.term && index > known.index)) {
        this.#acknowledged.set(from, { index, term: message.term });
      }
    }
    if (message.type === 'heartbeat' || message.type === 'append-request') {
      assert(syncingForMs <= this.#stallMs, `O10: node ${from} leads, and its disk hangs for ${syncingForMs} ms`);
    }
  }

  /** Called after what a node may have done. Cheap where nothing changed. */
  check({ id, running }: Observed): void {
    if (!running) return;
    const { raft, machine } = running;
    let seen = this.#seen.get(id);
    if (seen?.raft !== raft) {
      seen = {
        raft,
        role: 'other',
        membership: raft.status.membership,
        last: 0,
        term: raft.term,
        commit: raft.log.base.index,
        applied: raft.log.base.index,
      };
      this.#seen.set(id, seen);
    }
    assert(raft.term >= seen.term, `O8: the term of node ${id} fell`);
    assert(raft.log.commitIndex >= seen.commit, `O8: the commit index of node ${id} fell`);
    this.#checkLeader(id, raft);
    const leads = raft.role.kind === 'leader';
    const { membership } = raft.status;
    if (leads && seen.role === 'leader' && seen.term === raft.term && raft.log.commitIndex > seen.commit) {
      const term = raft.log.termAt(raft.log.commitIndex);
      assert(term === raft.term, `O11: the leader of term ${raft.term} commits up to an entry of term ${term}`);
      if (membership === seen.membership) this.#checkQuorum(raft, membership);
    }
    if (leads && seen.last !== raft.log.lastIndex) checkPendingChanges(raft);
    if (raft.log.commitIndex > seen.commit) this.#checkCommitted(raft, seen.commit);
    const { index } = machine.applied;
    if (index !== seen.applied) this.#checkState(id, machine, seen.applied);
    seen.membership = membership;
    seen.last = raft.log.lastIndex;
    seen.role = leads ? 'leader' : 'other';
    seen.term = raft.term;
    seen.commit = raft.log.commitIndex;
    seen.applied = index;
  }

  /** O2; from time to time. */
  checkLogs(nodes: readonly Observed[]): void {
    const rafts = nodes.flatMap(({ running }) => (running ? [running.raft] : []));
    for (const [i, a] of rafts.entries()) for (const b of rafts.slice(i + 1)) compareLogs(a, b);
  }

  #observeVote(voter: NodeId, term: Term, candidate: NodeId): void {
    const key = `${voter}@${term}`;
    const known = this.#votes.get(key);
    // A candidate asks before its own vote counts, and may crash before it is kept: then it has told nobody of a vote.
    if (voter === candidate && known === undefined) return;
    assert(
      known === undefined || known === candidate,
      `O6: node ${voter} voted for ${known} and ${candidate} in term ${term}`,
    );
    this.#votes.set(key, candidate);
  }

  #checkLeader(id: NodeId, raft: Raft): void {
    if (raft.role.kind !== 'leader') return;
    assert(isVoter(raft.status.membership, id), `O9: node ${id} leads and is no voter`);
    const known = this.#leaders.get(raft.term);
    assert(known === undefined || known === id, `O1: nodes ${known} and ${id} lead term ${raft.term}`);
    if (known !== undefined) return;
    this.#leaders.set(raft.term, id);
    for (let index = raft.log.base.index + 1; index < this.#committed.length; index++) {
      const entry = this.#committed[index];
      if (!entry || entry.committedIn >= raft.term) continue;
      assert(raft.log.termAt(index) === entry.term, `O3: node ${id} leads term ${raft.term} without entry ${index}`);
    }
  }

  #checkQuorum(raft: Raft, { voters, votersOutgoing }: Membership): void {
    const { commitIndex } = raft.log;
    for (const half of [voters, votersOutgoing]) {
      const having = half.filter((voter) => {
        const index = this.#acknowledgedIn.get(`${voter}@${raft.term}`) ?? 0;
        return voter === raft.status.id || index >= commitIndex;
      });
      const reached = half.length === 0 || having.length > half.length / 2;
      assert(reached, `O12: entry ${commitIndex} was committed by ${having} of ${half}`);
    }
  }

  #checkCommitted(raft: Raft, from: number): void {
    for (let index = Math.max(from, raft.log.base.index) + 1; index <= raft.log.commitIndex; index++) {
      const entry = raft.log.entryAt(index);
      assert(entry, 'what is committed is kept or compacted');
      const known = this.#committed[index];
      const sum = sumOf(entry);
      const same = !known || (known.term === entry.term && known.sum === sum);
      assert(
        same,
        `O5: entry ${index} of node ${raft.status.id} (term ${entry.term}) is not what was committed (term ${known?.term})`,
      );
      this.#committed[index] ??= { term: entry.term, committedIn: raft.term, sum };
    }
  }

  #checkState(id: NodeId, machine: MetaStateMachine, before: number): void {
    const { index } = machine.applied;
    assert(index >= before, `O8: the applied index of node ${id} fell from ${before} to ${index}`);
    const { digest, versions, leases } = machine.state;
    const state = `${digest.records}/${digest.sum}/${versions.revision}/${leases.all().length}`;
    const known = this.#states.get(index);
    assert(known === undefined || known === state, `O4: the state of node ${id} at ${index} is ${state}, not ${known}`);
    this.#states.set(index, state);
  }
}

function checkPendingChanges(raft: Raft): void {
  const { log, term } = raft;
  let earlier = 0;
  for (let index = log.appliedIndex + 1; index <= log.lastIndex; index++) {
    const entry = log.entryAt(index);
    if (entry?.kind !== 'membership') continue;
    assert(entry.term < term || earlier === 0, `O13: change ${index} was begun while ${earlier} is not applied`);
    earlier = index;
  }
}

function compareLogs(a: Raft, b: Raft): void {
  const last = Math.min(a.log.lastIndex, b.log.lastIndex);
  const first = Math.max(a.log.firstIndex, b.log.firstIndex, last - COMPARED_ENTRIES);
  let agreed = false;
  for (let index = last; index >= first; index--) {
    const ours = a.log.entryAt(index);
    const theirs = b.log.entryAt(index);
    assert(ours && theirs, 'both logs reach here');
    const same = ours.term === theirs.term;
    assert(same || !agreed, `O2: the logs of ${a.status.id} and ${b.status.id} agree after ${index} but not there`);
    if (same && ours !== theirs) assert(sumOf(ours) === sumOf(theirs), `O2: one position, two entries (${index})`);
    agreed ||= same;
  }
}

function sumOf(entry: Entry): number {
  return crc32(entry.payload) ^ entry.kind.length;
}
