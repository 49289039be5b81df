// One Raft group on one node: executes what the core hands out (core/ready.ts), and serves those who propose and read.
//
// Invariants:
//   D1. The core is entered from turns and from completions, never from within a call of the outside.
//   D2. After a failure nothing is told to anybody: no vote, no acknowledgement, no result.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Raft } from '../core/raft.js';
import type { CommittedSlice, StorageWrite } from '../core/ready.js';
import type {
  InstallSnapshot,
  LogPosition,
  Membership,
  MembershipChange,
  Message,
  NodeId,
  Term,
} from '../core/types.js';
import { MetaError } from '../errors.js';
import { Call } from './call.js';
import type { CompactionLimits } from './compaction.js';
import type { GroupId } from './group-id.js';
import { LeadershipFeed } from './leadership-feed.js';
import { type AppendedCall, notLeader, Proposals } from './proposals.js';
import { ReadBarriers } from './read-barriers.js';
import { ReadyExecutor, type TurnOutput } from './ready-executor.js';
import type { GroupStatus, Leadership, ProposeOptions, Replication, ReplicationCallOptions } from './replication.js';
import type { SnapshotSpool } from './snapshot-spool.js';
import type { StateMachine, StateSnapshot } from './state-machine.js';

export interface GroupLimits {
  readonly callTimeoutMs: number;
  readonly proposalsMax: number;
  readonly readsMax: number;
  /** Messages taken in one turn; more are dropped, as a transport may. */
  readonly inboxMax: number;
  /** Of the proposals given to the core at a time. */
  readonly batchBytesMax: number;
  readonly compaction: CompactionLimits;
}

/** What the node does for its groups. */
export interface GroupHost {
  requestTurn(): void;
  /** The group is beyond help. Called once. */
  failed(group: GroupId, error: MetaError): void;
  compact(group: GroupId, through: LogPosition): Promise<void>;
  sendSnapshot(group: GroupId, message: InstallSnapshot, snapshot: StateSnapshot): Promise<void>;
}

export interface RaftGroupOptions<Result> {
  readonly group: GroupId;
  readonly raft: Raft;
  readonly stateMachine: StateMachine<Result>;
  readonly spool: SnapshotSpool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: GroupLimits;
  readonly host: GroupHost;
}

interface CoreRequest {
  readonly call: Pick<Call<unknown>, 'isSettled' | 'reject'>;
  readonly enter: () => void;
}

type Phase =
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly error: MetaError }
  | { readonly kind: 'closed'; readonly error: MetaError };

export class RaftGroup<Result> implements Replication<Result> {
  readonly group: GroupId;
  readonly #options: RaftGroupOptions<Result>;
  readonly #raft: Raft;
  readonly #executor: ReadyExecutor<Result>;
  readonly #proposals: Proposals<Result>;
  readonly #reads: ReadBarriers;
  readonly #leadership: LeadershipFeed;
  #phase: Phase = { kind: 'running' };
  #inbox: Message[] = [];
  /** What callers want of the core besides commands and reads; rare. */
  #requests: CoreRequest[] = [];
  #leadingTerm: Term | undefined;
  #knownLeader: NodeId | undefined;
  /** Set once it takes no more calls. */
  #closing: MetaError | undefined;
  #drained: (() => void) | undefined;
  #transfer: Call<void> | undefined;
  #droppedMessages = 0;

  constructor(options: RaftGroupOptions<Result>) {
    const { group, raft, stateMachine, spool, logger, limits, host } = options;
    this.group = group;
    this.#options = options;
    this.#raft = raft;
    this.#proposals = new Proposals(limits.proposalsMax);
    this.#reads = new ReadBarriers(limits.readsMax);
    this.#leadership = new LeadershipFeed(logger);
    this.#executor = new ReadyExecutor({
      raft,
      stateMachine,
      spool,
      logger,
      compaction: limits.compaction,
      requestTurn: () => host.requestTurn(),
      failed: (error) => this.fail(error),
      compact: (through) => host.compact(group, through),
      sendSnapshot: (message, snapshot) => host.sendSnapshot(group, message, snapshot),
      applied: (slice, results) => this.#applied(slice, results),
    });
  }

  // What others ask of the group.

  status(): GroupStatus {
    const { id, role, term, leader, membership, commitIndex, appliedIndex, firstIndex, lastLog } = this.#raft.status;
    const shown = this.#phase.kind === 'running' ? role : this.#phase.kind;
    const known = this.#phase.kind === 'running' ? leader : undefined;
    const { group } = this;
    return {
      group,
      node: id,
      role: shown,
      term,
      leader: known,
      membership,
      commitIndex,
      appliedIndex,
      firstIndex,
      lastLog,
    };
  }

  get droppedMessages(): number {
    return this.#droppedMessages;
  }

  get waitingProposals(): number {
    return this.#proposals.waiting;
  }

  propose(payload: Buffer, options: ProposeOptions = {}): Promise<Result> {
    const call: AppendedCall<Result> = this.#call(options);
    if (!call.isSettled) {
      this.#proposals.enqueue({ payload, onlyInTerm: options.onlyInTerm, call });
      this.#options.host.requestTurn();
    }
    return call.promise as Promise<Result>; // a command's entry has a result, not a membership
  }

  readBarrier(options: ReplicationCallOptions = {}): Promise<void> {
    const call = this.#call<void>(options);
    if (!call.isSettled) {
      this.#reads.enqueue(call);
      this.#options.host.requestTurn();
    }
    return call.promise;
  }

  onLeadership(listener: (leadership: Leadership) => void): () => void {
    return this.#leadership.listen(listener);
  }

  changeMembership(change: MembershipChange, options: ReplicationCallOptions = {}): Promise<Membership> {
    const call: AppendedCall<Result> = this.#call(options);
    this.#request(call, () => this.#proposals.giveMembership(this.#raft, change, call));
    return call.promise as Promise<Membership>; // a membership entry has a membership
  }

  transferLeadership(to: NodeId, options: ReplicationCallOptions = {}): Promise<void> {
    const call = this.#call<void>(options);
    this.#request(call, () => {
      const outcome = this.#raft.transferLeadership(to);
      if (outcome.outcome === 'started') this.#transfer = call;
      else if (this.#raft.role.kind === 'leader')
        call.reject(new MetaError('INVALID', `Leadership stays here: ${outcome.reason}.`));
      else call.reject(notLeader(this.#raft.leader));
    });
    return call.promise;
  }

  /** To whoever can take over soonest. Resolves at once when this node does not lead or is alone; otherwise as transferLeadership(). */
  handOver(options: ReplicationCallOptions = {}): Promise<void> {
    const { successor } = this.#raft;
    return successor === undefined ? Promise.resolve() : this.transferLeadership(successor, options);
  }

  // What the node tells the group.

  step(message: Message): void {
    if (this.#inbox.length >= this.#options.limits.inboxMax) this.#droppedMessages++;
    else this.#inbox.push(message);
  }

  peerUnreachable(peer: NodeId): void {
    this.#complete(() => this.#raft.peerUnreachable(peer));
  }

  async receiveSnapshot(message: InstallSnapshot, chunks: AsyncIterable<Buffer>): Promise<void> {
    this.#checkRunning();
    await this.#executor.receiveSnapshot(message, chunks);
    this.step(message);
    this.#options.host.requestTurn();
  }

  /** The only voter need not wait to find out that nobody leads. */
  campaignIfAlone(): void {
    const { voters, votersOutgoing } = this.#raft.status.membership;
    const { id, role } = this.#raft.status;
    if (role === 'follower' && voters.length === 1 && voters[0] === id && votersOutgoing.length === 0)
      this.#raft.campaign();
  }

  tick(nowMs: number): void {
    this.#guarded(() => {
      this.#raft.tick();
      this.#reads.tick();
    });
    this.expire(nowMs);
  }

  /** Those who have waited long enough wait no longer. */
  expire(nowMs: number): void {
    this.#proposals.expire(nowMs);
    this.#reads.expire(nowMs);
    if (this.#transfer?.expire(nowMs, 'leadership was transferred')) this.#transfer = undefined;
  }

  turn(output: TurnOutput): void {
    const { limits, host } = this.#options;
    this.#guarded(() => {
      const inbox = this.#inbox.splice(0);
      for (const message of inbox) this.#raft.step(message);
      for (const request of this.#requests.splice(0)) request.enter();
      this.#proposals.giveTo(this.#raft, limits.batchBytesMax);
      const requestId = this.#reads.nextRequest();
      if (requestId !== undefined) this.#raft.readIndex(requestId);
      const ready = this.#raft.ready();
      this.#executor.execute(ready, output);
      for (const read of ready?.reads ?? []) this.#reads.answered(read, this.#raft.log.appliedIndex);
      for (const message of inbox) if (message.type === 'install-snapshot') this.#executor.snapshotStepped(message);
      if (this.#reads.hasRequests) host.requestTurn();
      this.#observe();
    });
  }

  written(write: StorageWrite): void {
    this.#complete(() => this.#raft.written(write));
  }

  /** D2. */
  fail(cause: unknown): void {
    if (this.#phase.kind !== 'running') return;
    const message = `Group ${this.group} of this node failed and serves no more: ${errorMessage(cause)}. Restart the node.`;
    const error = cause instanceof MetaError ? cause : new MetaError('FAILED', message, { cause });
    this.#end({ kind: 'failed', error });
    this.#options.host.failed(this.group, error);
  }

  /** Takes no more calls. Resolves when the proposals under way are settled, or have had their time. */
  async drain(timeoutMs: number): Promise<void> {
    this.#closing ??= new MetaError('CLOSED', 'The node is closing; it takes no more calls.');
    if (this.#phase.kind !== 'running' || this.#proposals.waiting === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.setTimer(timeoutMs, resolve);
      this.#drained = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** Everything committed so far is in the state, durably; nothing more is taken. */
  async close(): Promise<void> {
    await this.drain(0);
    if (this.#phase.kind !== 'running') return;
    await this.#executor.close();
    if (this.#closing) this.#end({ kind: 'closed', error: this.#closing });
  }

  #call<Value>(options: ReplicationCallOptions): Call<Value> {
    const { clock, limits } = this.#options;
    const call = new Call<Value>(options, { nowMs: clock.now(), timeoutMs: limits.callTimeoutMs });
    if (this.#phase.kind !== 'running') call.reject(this.#phase.error);
    else if (this.#closing) call.reject(this.#closing);
    return call;
  }

  #request(call: CoreRequest['call'], enter: () => void): void {
    if (call.isSettled) return;
    this.#requests.push({ call, enter });
    this.#options.host.requestTurn();
  }

  #applied(slice: CommittedSlice, results: readonly Result[]): void {
    if (this.#phase.kind !== 'running') return; // D2
    this.#proposals.applied(slice, results);
    this.campaignIfAlone();
    this.#observe();
    this.#options.host.requestTurn();
  }

  /** Tells those who wait what the core's state means for them. */
  #observe(): void {
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
      if (this.#reads.hasRequests) this.#options.host.requestTurn();
    }
    this.#observeTransfer();
    if (this.#proposals.waiting === 0) this.#drained?.();
    const leads = role.kind === 'leader' && log.appliedIndex >= role.firstIndex;
    if (leads) this.#leadership.update({ role: 'leader', term });
    else this.#leadership.update({ role: 'follower', term, leader: role.kind === 'leader' ? undefined : leader });
  }

  #observeTransfer(): void {
    const transfer = this.#transfer;
    if (!transfer) return;
    const { role } = this.#raft;
    if (role.kind !== 'leader') transfer.resolve();
    else if (role.transfer) return;
    else
      transfer.reject(
        new MetaError('UNAVAILABLE', 'The other node did not take over in time; this one goes on leading.'),
      );
    this.#transfer = undefined;
  }

  /** An input of the core that comes between turns. */
  #complete(enter: () => void): void {
    this.#guarded(enter);
    this.#options.host.requestTurn();
  }

  /** A broken invariant of the core ends the group, not the process. */
  #guarded(enter: () => void): void {
    if (this.#phase.kind !== 'running') return;
    try {
      enter();
    } catch (error) {
      this.fail(error);
    }
  }

  #checkRunning(): void {
    if (this.#phase.kind !== 'running') throw this.#phase.error;
  }

  #end(phase: Exclude<Phase, { kind: 'running' }>): void {
    this.#phase = phase;
    this.#executor.end();
    this.#proposals.fail(phase.error);
    this.#reads.fail(phase.error);
    this.#transfer?.reject(phase.error);
    for (const request of this.#requests.splice(0)) request.call.reject(phase.error);
    this.#leadership.update({ role: 'follower', term: this.#raft.term, leader: undefined });
  }
}
