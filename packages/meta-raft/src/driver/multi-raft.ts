// All Raft groups of one node: one ticker, one turn, one log, one connection per peer.
//
// Invariants:
//   N1. Inputs only enqueue and ask for a turn. A turn steps what has gathered for all groups, sends one frame per peer,
//       and writes one unit to the log store: heartbeats of all groups travel together, and one sync covers all.
//   N2. What a write promises is told after it is durable (core R1); the unit's completions come in order (L1).
//   N3. While the oldest write has waited for longer than an election timeout nothing ticks, and nothing leaves that only a
//       leader says, whoever asked for it: a leader whose disk hangs falls silent and is succeeded, instead of leading
//       without being able to keep anything.

import { assert } from '@robustmq/stdx/assert';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { StorageWrite } from '../core/ready.js';
import type { InstallSnapshot, LogPosition, Membership, Message, NodeId } from '../core/types.js';
import { MetaError } from '../errors.js';
import type { GroupId } from './group-id.js';
import type { LogStore, LogWrite } from './log-store.js';
import type { GroupMessage, PeerReceiver, PeerTransport } from './peer-transport.js';
import { type GroupHost, RaftGroup, type RaftGroupOptions } from './raft-group.js';
import type { TurnOutput } from './ready-executor.js';
import type { StateSnapshot } from './state-machine.js';
import { Ticker } from './ticker.js';
import { TurnScheduler } from './turn-scheduler.js';

export interface MultiRaftOptions {
  readonly node: NodeId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly logStore: LogStore;
  readonly transport: PeerTransport;
  readonly tickMs: number;
  /** N3. */
  readonly diskStallMs: number;
  /** A group is beyond help; the node should end. Called once per group. */
  readonly failed: (group: GroupId, error: MetaError) => void;
  /** Another membership is in force in the group, here; the transport's peers are its owner's to set. */
  readonly membershipChanged?: (group: GroupId, membership: Membership) => void;
}

/** What the driver needs of a group, whatever its state's results are. */
type AnyGroup = Omit<RaftGroup<unknown>, 'propose' | 'changeMembership'>;

interface PendingWrite {
  readonly group: AnyGroup;
  readonly write: StorageWrite;
}

export class MultiRaft implements GroupHost {
  readonly #options: MultiRaftOptions;
  readonly #groups = new Map<GroupId, AnyGroup>();
  readonly #turns: TurnScheduler;
  /** When each unit that is not durable yet was handed to the log store. */
  readonly #writingSinceMs: number[] = [];
  #ticker: Ticker | undefined;
  #disk: 'healthy' | 'stalled' = 'healthy';
  #stalls = 0;

  constructor(options: MultiRaftOptions) {
    this.#options = options;
    this.#turns = new TurnScheduler(options.clock, () => this.#turn());
  }

  /** Pauses of the process that were longer than a tick. */
  get stalls(): number {
    return this.#stalls;
  }

  get writesInFlight(): number {
    return this.#writingSinceMs.length;
  }

  addGroup<Result>(options: Omit<RaftGroupOptions<Result>, 'host' | 'clock'>): RaftGroup<Result> {
    assert(!this.#groups.has(options.group), 'a group is added once');
    const group = new RaftGroup<Result>({ ...options, host: this, clock: this.#options.clock });
    this.#groups.set(options.group, group);
    return group;
  }

  start(): void {
    const { clock, tickMs, transport, logger } = this.#options;
    transport.start(this.#receiver());
    this.#ticker = new Ticker({
      clock,
      tickMs,
      tick: () => this.#tick(),
      stalled: (gapMs) => {
        this.#stalls++;
        logger.debug({ gapMs: Math.round(gapMs) }, 'the event loop stalled; the gap counts as one tick');
      },
    });
    for (const group of this.#groups.values()) group.campaignIfAlone();
    this.requestTurn();
  }

  /** Groups first: what they have accepted is applied and kept. The log store and the transport are their owner's to close. */
  async close(): Promise<void> {
    // What was accepted is finished, if it can be in the time of an election.
    await Promise.all([...this.#groups.values()].map((group) => group.drain(this.#options.diskStallMs)));
    this.#ticker?.stop();
    for (const group of this.#groups.values()) await group.close();
    this.#turns.stop();
  }

  requestTurn(): void {
    this.#turns.request();
  }

  isFull(): boolean {
    return this.#options.logStore.isFull === true;
  }

  failed(group: GroupId, error: MetaError): void {
    this.#options.logger.error(
      { group, error: error.message, cause: errorMessage(error.cause) },
      'a Raft group failed',
    );
    this.#options.failed(group, error);
  }

  membershipChanged(group: GroupId, membership: Membership): void {
    this.#options.membershipChanged?.(group, membership);
  }

  compact(group: GroupId, through: LogPosition): Promise<void> {
    return this.#options.logStore.compact(group, through);
  }

  sendSnapshot(group: GroupId, message: InstallSnapshot, snapshot: StateSnapshot): Promise<void> {
    return this.#options.transport.sendSnapshot(group, message, snapshot);
  }

  #tick(): void {
    const { clock, diskStallMs, logger } = this.#options;
    const nowMs = clock.now();
    const oldestMs = this.#writingSinceMs[0];
    const disk = oldestMs !== undefined && nowMs - oldestMs > diskStallMs ? 'stalled' : 'healthy';
    if (disk !== this.#disk) {
      if (disk === 'stalled') logger.warn('the disk of the Raft log hangs; this node stands still until it answers');
      else logger.info('the disk of the Raft log answers again');
      this.#disk = disk;
    }
    if (disk === 'healthy')
      for (const group of this.#groups.values()) group.tick(nowMs); // N3
    else for (const group of this.#groups.values()) group.expire(nowMs);
    this.requestTurn();
  }

  /** N1. */
  #turn(): void {
    const outgoing = new Map<NodeId, GroupMessage[]>();
    const parts: LogWrite[] = [];
    const pending: PendingWrite[] = [];
    for (const [id, group] of this.#groups) {
      const output: TurnOutput = { messages: [], writes: [] };
      group.turn(output);
      for (const message of output.messages) {
        if (this.#disk === 'stalled' && isLeadersWord(message)) continue; // N3
        const frame = outgoing.get(message.to);
        if (frame) frame.push({ group: id, message });
        else outgoing.set(message.to, [{ group: id, message }]);
      }
      for (const write of output.writes) {
        parts.push(toLogWrite(id, write));
        pending.push({ group, write });
      }
    }
    for (const [peer, frame] of outgoing) this.#options.transport.send(peer, frame);
    if (parts.length > 0) this.#write(parts, pending);
  }

  #write(parts: readonly LogWrite[], pending: readonly PendingWrite[]): void {
    this.#writingSinceMs.push(this.#options.clock.now());
    try {
      this.#options.logStore.write(parts, (error) => {
        this.#writingSinceMs.shift();
        if (error) this.#failAll(error);
        else for (const { group, write } of pending) group.written(write); // N2
      });
    } catch (error) {
      // The core has handed the write out and will not do so again: without it the group cannot go on.
      this.#failAll(error);
    }
  }

  #failAll(error: unknown): void {
    for (const group of this.#groups.values()) group.fail(error);
  }

  #receiver(): PeerReceiver {
    const { node } = this.#options;
    return {
      receive: (messages) => {
        for (const { group, message } of messages) {
          // A message for somebody else, or for a group this version does not know, is the sender's mistake.
          if (message.to === this.#options.node) this.#groups.get(group)?.step(message);
        }
        this.requestTurn();
      },
      receiveSnapshot: async (group, message, chunks) => {
        await this.#groups.get(group)?.receiveSnapshot(message, chunks);
      },
      removed: (by) => {
        const message = `Node ${node} was removed from the cluster, says node ${by}. Stop it; to come back it needs an empty directory and a new id.`;
        this.#failAll(new MetaError('REMOVED', message));
      },
      disconnected: (peer) => {
        for (const group of this.#groups.values()) group.peerDisconnected(peer);
      },
      unreachable: (peer) => {
        for (const group of this.#groups.values()) group.peerUnreachable(peer);
      },
    };
  }
}

/** What tells a follower that its leader lives. It may be lost, as on any wire. */
function isLeadersWord({ type }: Message): boolean {
  return type === 'heartbeat' || type === 'append-request';
}

function toLogWrite(group: GroupId, write: StorageWrite): LogWrite {
  const { snapshot, entries, hardState } = write;
  const reset = snapshot && { index: snapshot.index, term: snapshot.term };
  return { group, reset, entries, hardState };
}
