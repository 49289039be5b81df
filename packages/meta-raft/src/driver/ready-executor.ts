// Executes what the core hands out: writes in order, committed entries into the state, snapshots in both directions.
//
// Invariants:
//   E1. Writes leave in the order the core handed them out. Behind a snapshot they wait until its state is in force: a state
//       ahead of its log is repaired at the next start (recovery.ts), a log without its state could not be.
//   E2. The state machine has one job at a time, in order (M3).

import { assert } from '@robustmq/stdx/assert';
import type { Logger } from '@robustmq/stdx/logger';
import type { Raft } from '../core/raft.js';
import type { CommittedSlice, Ready, StorageWrite } from '../core/ready.js';
import type { InstallSnapshot, LogPosition, Message } from '../core/types.js';
import { ApplyQueue } from './apply-queue.js';
import { type CompactionLimits, compactionPoint } from './compaction.js';
import { SnapshotExchange } from './snapshot-exchange.js';
import type { SnapshotSpool } from './snapshot-spool.js';
import type { StateMachine, StateSnapshot } from './state-machine.js';

/** What a turn has for the outside. */
export interface TurnOutput {
  readonly messages: Message[];
  readonly writes: StorageWrite[];
}

export interface ReadyExecutorOptions<Result> {
  readonly raft: Raft;
  readonly stateMachine: StateMachine<Result>;
  readonly spool: SnapshotSpool;
  readonly logger: Logger;
  readonly compaction: CompactionLimits;
  readonly requestTurn: () => void;
  readonly failed: (error: unknown) => void;
  readonly compact: (through: LogPosition) => Promise<void>;
  readonly sendSnapshot: (message: InstallSnapshot, snapshot: StateSnapshot) => Promise<void>;
  /** Called when the state holds the slice and the core knows it. */
  readonly applied: (slice: CommittedSlice, results: readonly Result[]) => void;
}

export class ReadyExecutor<Result> {
  readonly #options: ReadyExecutorOptions<Result>;
  readonly #apply: ApplyQueue;
  readonly #snapshots: SnapshotExchange;
  /** Writes behind a snapshot that is being installed (E1). */
  #held: StorageWrite[] | undefined;
  #released: StorageWrite[] = [];
  #compaction: 'idle' | 'running' = 'idle';

  constructor(options: ReadyExecutorOptions<Result>) {
    const { raft, stateMachine, spool, logger, requestTurn, failed, sendSnapshot } = options;
    this.#options = options;
    this.#apply = new ApplyQueue(failed);
    this.#snapshots = new SnapshotExchange({
      stateMachine,
      spool,
      logger,
      send: sendSnapshot,
      ended: (peer, outcome) => {
        raft.snapshotEnded(peer, outcome);
        requestTurn();
      },
    });
  }

  execute(ready: Ready | undefined, output: TurnOutput): void {
    this.#pass(this.#released.splice(0), output);
    if (!ready) return;
    for (const message of ready.messages) {
      if (message.type === 'install-snapshot') void this.#snapshots.send(message);
      else output.messages.push(message);
    }
    if (ready.write) this.#pass([ready.write], output);
    if (ready.committed) this.#applySlice(ready.committed);
  }

  /** Resolves when the state is here whole; the message is to be stepped then. */
  receiveSnapshot(message: InstallSnapshot, chunks: AsyncIterable<Buffer>): Promise<void> {
    return this.#snapshots.receive(message, chunks);
  }

  /** The message was stepped, and what came of it executed. */
  snapshotStepped(message: InstallSnapshot): void {
    // It waits behind one that is being installed (E1).
    if (this.#held?.some(({ snapshot }) => snapshot === message.snapshot)) return;
    this.#snapshots.dropArrived(message.snapshot).catch(this.#options.failed);
  }

  /** Resolves when everything handed out so far is in the state, durably, and nothing more will be. */
  async close(): Promise<void> {
    this.#apply.add(async () => {
      await this.#options.stateMachine.flush();
    });
    await this.#apply.drained();
    this.#apply.end();
  }

  end(): void {
    this.#apply.end();
  }

  /** E1. */
  #pass(writes: readonly StorageWrite[], output: TurnOutput): void {
    for (const write of writes) {
      if (this.#held) this.#held.push(write);
      else if (write.snapshot && this.#options.stateMachine.applied.index < write.snapshot.index) this.#install(write);
      else output.writes.push(write);
    }
  }

  #install(write: StorageWrite): void {
    const { stateMachine, logger, requestTurn } = this.#options;
    const { snapshot } = write;
    assert(snapshot, 'only a write with a snapshot installs one');
    const spooled = this.#snapshots.take(snapshot);
    assert(spooled, 'the core asks for a snapshot it was given, whose state is here');
    this.#held = [write];
    this.#apply.add(async () => {
      await stateMachine.restore(snapshot, spooled.chunks());
      await spooled.discard();
      logger.info({ index: snapshot.index }, 'snapshot installed');
      this.#released = this.#held ?? [];
      this.#held = undefined;
      requestTurn();
    });
  }

  #applySlice(slice: CommittedSlice): void {
    const { raft, stateMachine, applied } = this.#options;
    this.#apply.add(async () => {
      const results = await stateMachine.apply(slice);
      raft.applied(slice);
      applied(slice, results);
      this.#compactWhenDue();
    });
  }

  #compactWhenDue(): void {
    const { raft, stateMachine, compaction, compact } = this.#options;
    const point = compactionPoint(compaction, raft.log);
    if (point === undefined || this.#compaction === 'running') return;
    this.#compaction = 'running';
    this.#apply.add(async () => {
      const durable = await stateMachine.flush();
      const base = raft.compact(Math.min(point, durable.index));
      if (base) await compact(base);
      this.#compaction = 'idle';
    });
  }
}
