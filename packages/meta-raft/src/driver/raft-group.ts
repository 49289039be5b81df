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
  LogIndex,
  LogPosition,
  Membership,
  MembershipChange,
  Message,
  NodeId,
} from '../core/types.js';
import { MetaError } from '../errors.js';
import type { CompactionLimits } from './compaction.js';
import { type CallLimits, GroupCalls } from './group-calls.js';
import type { GroupId } from './group-id.js';
import { LeadershipFeed } from './leadership-feed.js';
import { ReadyExecutor, type TurnOutput } from './ready-executor.js';
import type { GroupStatus, Leadership, ProposeOptions, Replication, ReplicationCallOptions } from './replication.js';
import type { SnapshotSpool } from './snapshot-spool.js';
import type { StateMachine, StateSnapshot } from './state-machine.js';

export interface GroupLimits extends CallLimits {
  /** Messages taken in one turn; more are dropped, as a transport may. */
  readonly inboxMax: number;
  readonly compaction: CompactionLimits;
}

/** What the node does for its groups. */
export interface GroupHost {
  requestTurn(): void;
  /** Nothing can be kept for now. */
  isFull(): boolean;
  /** The group is beyond help. Called once. */
  failed(group: GroupId, error: MetaError): void;
  /** Another membership is in force here. */
  membershipChanged(group: GroupId, membership: Membership): void;
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

type Phase =
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly error: MetaError }
  | { readonly kind: 'closed'; readonly error: MetaError };

export class RaftGroup<Result> implements Replication<Result> {
  readonly group: GroupId;
  readonly #options: RaftGroupOptions<Result>;
  readonly #raft: Raft;
  readonly #executor: ReadyExecutor<Result>;
  readonly #calls: GroupCalls<Result>;
  readonly #leadership: LeadershipFeed;
  #phase: Phase = { kind: 'running' };
  #inbox: Message[] = [];
  #droppedMessages = 0;
  #toldMembership: Membership | undefined;

  constructor(options: RaftGroupOptions<Result>) {
    const { group, raft, stateMachine, spool, clock, logger, limits, host } = options;
    this.group = group;
    this.#options = options;
    this.#raft = raft;
    this.#calls = new GroupCalls({ raft, clock, limits, requestTurn: () => host.requestTurn() });
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
    return this.#calls.waitingProposals;
  }

  propose(payload: Buffer, options: ProposeOptions = {}): Promise<Result> {
    if (this.#options.host.isFull()) {
      const message = 'The disk of the metadata is full. Nothing was done; writes resume when it has space.';
      return Promise.reject(new MetaError('NO_SPACE', message));
    }
    return this.#calls.propose(payload, options);
  }

  readBarrier(options: ReplicationCallOptions = {}): Promise<void> {
    return this.#calls.readBarrier(options);
  }

  onLeadership(listener: (leadership: Leadership) => void): () => void {
    return this.#leadership.listen(listener);
  }

  changeMembership(change: MembershipChange, options: ReplicationCallOptions = {}): Promise<Membership> {
    return this.#calls.changeMembership(change, options);
  }

  transferLeadership(to: NodeId, options: ReplicationCallOptions = {}): Promise<void> {
    return this.#calls.transferLeadership(to, options);
  }

  /** See Raft.matchOf(). */
  matchOf(peer: NodeId): LogIndex | undefined {
    return this.#raft.matchOf(peer);
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

  peerDisconnected(peer: NodeId): void {
    this.#complete(() => this.#raft.peerDisconnected(peer));
  }

  async receiveSnapshot(message: InstallSnapshot, chunks: AsyncIterable<Buffer>): Promise<void> {
    this.#checkRunning();
    await this.#executor.receiveSnapshot(message, chunks);
    this.step(message);
    // What was dropped will not be stepped.
    if (this.#inbox.at(-1) !== message) this.#executor.snapshotStepped(message);
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
      this.#calls.tick();
    });
    this.expire(nowMs);
  }

  /** Those who have waited long enough wait no longer. */
  expire(nowMs: number): void {
    this.#calls.expire(nowMs);
  }

  turn(output: TurnOutput): void {
    this.#guarded(() => {
      const inbox = this.#inbox.splice(0);
      for (const message of inbox) {
        this.#checkComplete(message);
        this.#raft.step(message);
      }
      this.#calls.enter();
      const ready = this.#raft.ready();
      this.#executor.execute(ready, output);
      this.#calls.answered(ready?.reads ?? []);
      for (const message of inbox) if (message.type === 'install-snapshot') this.#executor.snapshotStepped(message);
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
    const refusal = new MetaError('CLOSED', 'The node is closing; it takes no more calls.');
    if (this.#phase.kind === 'running') await this.#calls.drain(refusal, timeoutMs);
  }

  /** Everything committed so far is in the state, durably; nothing more is taken. */
  async close(): Promise<void> {
    await this.drain(0);
    if (this.#phase.kind !== 'running') return;
    await this.#executor.close();
    this.#end({ kind: 'closed', error: new MetaError('CLOSED', 'The node is closed.') });
  }

  #applied(slice: CommittedSlice, results: readonly Result[]): void {
    if (this.#phase.kind !== 'running') return; // D2
    this.#calls.applied(slice, results);
    this.campaignIfAlone();
    this.#observe();
    this.#options.host.requestTurn();
  }

  /**
   * A leader tells at most what this node acknowledged to it. A log that is shorter has lost it: this node must vote no more, and
   * a leader that went on would wait for ever.
   */
  #checkComplete(message: Message): void {
    if (message.type !== 'heartbeat' || message.term < this.#raft.term) return;
    const { lastIndex } = this.#raft.log;
    if (message.commitIndex <= lastIndex) return;
    const lost = `this node acknowledged entries up to ${message.commitIndex} to node ${message.from}, and its log ends at ${lastIndex}`;
    const advice = 'Remove it from the cluster and replace it by one with an empty directory and a new id';
    throw new MetaError('DAMAGED', `The log of group ${this.group} has lost entries: ${lost}. ${advice}.`);
  }

  #tellMembership(): void {
    const { membership } = this.#raft.status;
    if (membership === this.#toldMembership) return;
    this.#toldMembership = membership;
    this.#options.host.membershipChanged(this.group, membership);
  }

  /** Tells those who wait what the core's state means for them. */
  #observe(): void {
    this.#tellMembership();
    const { role, term, leader, log } = this.#raft;
    this.#calls.observe();
    const leads = role.kind === 'leader' && log.appliedIndex >= role.firstIndex;
    if (leads) this.#leadership.update({ role: 'leader', term });
    else this.#leadership.update({ role: 'follower', term, leader: role.kind === 'leader' ? undefined : leader });
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
    this.#calls.end(phase.error);
    this.#leadership.update({ role: 'follower', term: this.#raft.term, leader: undefined });
  }
}
