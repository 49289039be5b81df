// Proposals from the call to the result.
//
// Invariants:
//   P1. Every proposal is settled: by the result of the entry at its index, by another entry there, by the loss of
//       leadership, by a failure, by its deadline or its signal.
//   P2. A result goes to the proposal whose index and term both match: the same index in another term is another entry.
//   P3. Queued and appended proposals are bounded in number; the core bounds their bytes.

import type { Raft } from '../core/raft.js';
import type { CommittedSlice } from '../core/ready.js';
import type { Entry, LogIndex, Membership, MembershipChange, NodeId, Term } from '../core/types.js';
import { MetaError } from '../errors.js';
import type { Call } from './call.js';

export interface QueuedProposal<Result> {
  readonly payload: Buffer;
  readonly onlyInTerm: Term | undefined;
  readonly call: AppendedCall<Result>;
}

/** Waits for a command's result, or for the membership in force after a change. */
export type AppendedCall<Result> = Call<Result | Membership>;

interface AppendedProposal<Result> {
  readonly term: Term;
  readonly call: AppendedCall<Result>;
}

export class Proposals<Result> {
  readonly #max: number;
  #queued: QueuedProposal<Result>[] = [];
  readonly #appended = new Map<LogIndex, AppendedProposal<Result>>();

  constructor(max: number) {
    this.#max = max;
  }

  get waiting(): number {
    return this.#queued.length + this.#appended.size;
  }

  enqueue(proposal: QueuedProposal<Result>): void {
    if (this.waiting >= this.#max) {
      const message = `${this.#max} proposals wait already; nothing was done. Send fewer at a time, or retry after a pause.`;
      proposal.call.reject(new MetaError('OVERLOADED', message)); // P3
      return;
    }
    this.#queued.push(proposal);
  }

  /** All that is queued, in batches: the core sends each to the followers as one. */
  giveTo(raft: Raft, batchBytesMax: number): void {
    if (this.#queued.length === 0) return;
    const queued = this.#queued;
    this.#queued = [];
    let batch: QueuedProposal<Result>[] = [];
    let bytes = 0;
    for (const proposal of queued) {
      if (proposal.call.isSettled) continue;
      if (proposal.onlyInTerm !== undefined && proposal.onlyInTerm !== raft.term) {
        proposal.call.reject(notLeader(raft.leader));
        continue;
      }
      batch.push(proposal);
      bytes += proposal.payload.length;
      if (bytes < batchBytesMax) continue;
      this.#giveBatch(raft, batch);
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) this.#giveBatch(raft, batch);
  }

  giveMembership(raft: Raft, change: MembershipChange, call: AppendedCall<Result>): void {
    const outcome = raft.proposeMembership(change);
    if (outcome.outcome === 'appended') {
      this.#appended.set(outcome.firstIndex, { term: outcome.term, call });
    } else if (outcome.outcome === 'illegal') {
      call.reject(new MetaError('INVALID', `The membership stays: ${outcome.reason}.`));
    } else {
      call.reject(refusal(outcome));
    }
  }

  /** `results` has one for each command of the slice. */
  applied(slice: CommittedSlice, results: readonly Result[]): void {
    let next = 0;
    for (const entry of slice.entries) {
      // The state machine gives one result per command.
      const result = entry.kind === 'command' ? (results[next++] as Result) : slice.membership;
      const proposal = this.#appended.get(entry.index);
      if (!proposal) continue;
      this.#appended.delete(entry.index);
      settle(proposal, entry, result);
    }
  }

  /** Leadership of `term` is over: whether its entries survive is another leader's to decide. */
  leadershipLost(term: Term): void {
    for (const [index, proposal] of this.#appended) {
      if (proposal.term > term) continue;
      this.#appended.delete(index);
      const message = 'This node lost its leadership before the outcome was known; the change may still be applied.';
      proposal.call.reject(new MetaError('OUTCOME_UNKNOWN', message));
    }
  }

  expire(nowMs: number): void {
    for (const [index, proposal] of this.#appended) {
      if (proposal.call.expire(nowMs, 'the command was committed')) this.#appended.delete(index);
    }
    for (const proposal of this.#queued) proposal.call.expire(nowMs, 'the command was taken');
  }

  /** Nothing was done about what is queued; what was appended may be in the log of others. */
  fail(error: MetaError): void {
    const unknown =
      error.next === 'unknown'
        ? error
        : new MetaError('OUTCOME_UNKNOWN', `The change may still be applied: ${error.message}`, { cause: error });
    for (const proposal of this.#queued) proposal.call.reject(error);
    for (const proposal of this.#appended.values()) proposal.call.reject(unknown);
    this.#queued = [];
    this.#appended.clear();
  }

  #giveBatch(raft: Raft, batch: readonly QueuedProposal<Result>[]): void {
    const outcome = raft.propose(batch.map((proposal) => proposal.payload));
    if (outcome.outcome !== 'appended') {
      const error = refusal(outcome);
      for (const proposal of batch) proposal.call.reject(error);
      return;
    }
    const { firstIndex, term } = outcome;
    for (const [i, proposal] of batch.entries()) this.#appended.set(firstIndex + i, { term, call: proposal.call });
  }
}

export function notLeader(leader: NodeId | undefined): MetaError {
  const where = leader === undefined ? 'No leader is known now' : `Node ${leader} leads`;
  return new MetaError('NOT_LEADER', `This node does not lead the group; nothing was done. ${where}.`);
}

type Refusal = Exclude<ReturnType<Raft['propose']>, { readonly outcome: 'appended' }>;

function refusal(refused: Refusal): MetaError {
  switch (refused.outcome) {
    case 'overloaded':
      return new MetaError(
        'OVERLOADED',
        'Too much is proposed and not yet committed; nothing was done. Retry after a pause.',
      );
    case 'transferring':
      return new MetaError('UNAVAILABLE', 'Leadership is being handed over; nothing was done. Retry in a moment.');
    case 'not-leader':
      return notLeader(refused.leader);
  }
}

function settle<Result>(proposal: AppendedProposal<Result>, entry: Entry, result: Result | Membership): void {
  if (proposal.term === entry.term) {
    proposal.call.resolve(result); // P2
  } else {
    const message = 'Another leader replaced the command before it was committed; nothing was done. Retry it.';
    proposal.call.reject(new MetaError('UNAVAILABLE', message));
  }
}
