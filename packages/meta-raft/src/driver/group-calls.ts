// The calls of one group, from whoever makes them to the core and back.
//
// A call only waits here; enter() takes all of them into the core in the group's turn (raft-group, D1). Every call is settled:
// proposals.ts and read-barriers.ts say how.

import type { Clock } from '@robustmq/stdx/clock';
import type { Raft } from '../core/raft.js';
import type { CommittedSlice, ReadState } from '../core/ready.js';
import type { Membership, MembershipChange, NodeId, Term } from '../core/types.js';
import { MetaError } from '../errors.js';
import { Call } from './call.js';
import { type AppendedCall, notLeader, Proposals } from './proposals.js';
import { ReadBarriers } from './read-barriers.js';
import type { ProposeOptions, ReplicationCallOptions } from './replication.js';

export interface CallLimits {
  readonly callTimeoutMs: number;
  readonly proposalsMax: number;
  readonly readsMax: number;
  /** Bytes of the proposals given to the core at a time. */
  readonly batchBytesMax: number;
}

export interface GroupCallsOptions {
  readonly raft: Raft;
  readonly clock: Clock;
  readonly limits: CallLimits;
  readonly requestTurn: () => void;
}

interface CoreRequest {
  readonly call: Pick<Call<unknown>, 'isSettled' | 'reject'>;
  readonly enter: () => void;
}

export class GroupCalls<Result> {
  readonly #options: GroupCallsOptions;
  readonly #raft: Raft;
  readonly #proposals: Proposals<Result>;
  readonly #reads: ReadBarriers;
  /** What callers want of the core besides commands and reads; rare. */
  #requests: CoreRequest[] = [];
  #transfer: Call<void> | undefined;
  #leadingTerm: Term | undefined;
  #knownLeader: NodeId | undefined;
  /** Why no more calls are taken. */
  #refusal: MetaError | undefined;
  #drained: (() => void) | undefined;

  constructor(options: GroupCallsOptions) {
    this.#options = options;
    this.#raft = options.raft;
    this.#proposals = new Proposals(options.limits.proposalsMax);
    this.#reads = new ReadBarriers(options.limits.readsMax);
  }

  get waitingProposals(): number {
    return this.#proposals.waiting;
  }

  propose(payload: Buffer, options: ProposeOptions): Promise<Result> {
    const call: AppendedCall<Result> = this.#call(options);
    if (!call.isSettled) {
      this.#proposals.enqueue({ payload, onlyInTerm: options.onlyInTerm, call });
      this.#options.requestTurn();
    }
    return call.promise as Promise<Result>; // a command's entry has a result, not a membership
  }

  readBarrier(options: ReplicationCallOptions): Promise<void> {
    const call = this.#call<void>(options);
    if (!call.isSettled) {
      this.#reads.enqueue(call);
      this.#options.requestTurn();
    }
    return call.promise;
  }

  changeMembership(change: MembershipChange, options: ReplicationCallOptions): Promise<Membership> {
    const call: AppendedCall<Result> = this.#call(options);
    this.#request(call, () => this.#proposals.giveMembership(this.#raft, change, call));
    return call.promise as Promise<Membership>; // a membership entry has a membership
  }

  transferLeadership(to: NodeId, options: ReplicationCallOptions): Promise<void> {
    const call = this.#call<void>(options);
    this.#request(call, () => this.#beginTransfer(to, call));
    return call.promise;
  }

  /** Everything that has gathered goes into the core. */
  enter(): void {
    for (const request of this.#requests.splice(0)) request.enter();
    this.#proposals.giveTo(this.#raft, this.#options.limits.batchBytesMax);
    const requestId = this.#reads.nextRequest();
    if (requestId !== undefined) this.#raft.readIndex(requestId);
  }

  answered(reads: readonly ReadState[]): void {
    for (const read of reads) this.#reads.answered(read, this.#raft.log.appliedIndex);
    if (this.#reads.hasRequests) this.#options.requestTurn();
  }

  applied(slice: CommittedSlice, results: readonly Result[]): void {
    this.#proposals.applied(slice, results);
  }

  /** What the core's state means for those who wait. */
  observe(): void {
    const { role, term, leader, log } = this.#raft;
    if (this.#leadingTerm !== undefined && (role.kind !== 'leader' || term !== this.#leadingTerm)) {
      this.#proposals.leadershipLost(this.#leadingTerm);
      this.#leadingTerm = undefined;
    }
    if (role.kind === 'leader') this.#leadingTerm = term;
    this.#reads.applied(log.appliedIndex);
    if (leader !== this.#knownLeader) {
      this.#knownLeader = leader;
      this.#reads.leaderKnown();
      if (this.#reads.hasRequests) this.#options.requestTurn();
    }
    this.#observeTransfer();
    if (this.#proposals.waiting === 0) this.#drained?.();
  }

  tick(): void {
    this.#reads.tick();
  }

  /** Those who have waited long enough wait no longer. */
  expire(nowMs: number): void {
    this.#proposals.expire(nowMs);
    this.#reads.expire(nowMs);
    if (this.#transfer?.expire(nowMs, 'leadership was transferred')) this.#transfer = undefined;
  }

  /** Takes no more calls. Resolves when the proposals under way are settled, or have had their time. */
  async drain(refusal: MetaError, timeoutMs: number): Promise<void> {
    this.#refusal ??= refusal;
    if (this.#proposals.waiting === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.setTimer(timeoutMs, resolve);
      this.#drained = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Nothing more will come of anything. */
  end(error: MetaError): void {
    this.#refusal = error;
    this.#proposals.fail(error);
    this.#reads.fail(error);
    this.#transfer?.reject(error);
    for (const request of this.#requests.splice(0)) request.call.reject(error);
    this.#drained?.();
  }

  #call<Value>(options: ReplicationCallOptions): Call<Value> {
    const { clock, limits } = this.#options;
    const call = new Call<Value>(options, { nowMs: clock.now(), timeoutMs: limits.callTimeoutMs });
    if (this.#refusal) call.reject(this.#refusal);
    return call;
  }

  #request(call: CoreRequest['call'], enter: () => void): void {
    if (call.isSettled) return;
    this.#requests.push({ call, enter });
    this.#options.requestTurn();
  }

  #beginTransfer(to: NodeId, call: Call<void>): void {
    const outcome = this.#raft.transferLeadership(to);
    if (outcome.outcome === 'started') {
      this.#transfer?.reject(new MetaError('UNAVAILABLE', `Leadership goes to node ${to} instead.`));
      this.#transfer = call;
    } else if (this.#raft.role.kind === 'leader') {
      call.reject(new MetaError('INVALID', `Leadership stays here: ${outcome.reason}.`));
    } else {
      call.reject(notLeader(this.#raft.leader));
    }
  }

  #observeTransfer(): void {
    const transfer = this.#transfer;
    if (!transfer) return;
    const { role } = this.#raft;
    if (role.kind === 'leader' && role.transfer) return;
    this.#transfer = undefined;
    if (role.kind !== 'leader') transfer.resolve();
    else
      transfer.reject(
        new MetaError('UNAVAILABLE', 'The other node did not take over in time; this one goes on leading.'),
      );
  }
}
