// Nodes with the real driver, in one thread on one clock: only log, state and wires are of memory.

import { assert } from '@robustmq/stdx/assert';
import { MiB } from '@robustmq/stdx/byte-size';
import { ManualClock } from '@robustmq/stdx/clock';
import { nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import { SimDisk } from '@robustmq/wal/testing';
import type { Entry, LogPosition, NodeId, SnapshotMetadata } from '../core/types.js';
import { GROUP_IDS } from '../driver/group-id.js';
import { MultiRaft } from '../driver/multi-raft.js';
import type { GroupLimits, RaftGroup } from '../driver/raft-group.js';
import { recoverRaft } from '../driver/recovery.js';
import { SnapshotSpool } from '../driver/snapshot-spool.js';
import type { AppliedState, ApplyBatch, StateMachine, StateSnapshot } from '../driver/state-machine.js';
import type { MetaError } from '../errors.js';
import { MemoryLogDisk, MemoryLogStore } from './memory-log-store.js';
import { TEST_CONFIG } from './raft-peer.js';
import { SimWires } from './sim-wires.js';

const TICK_MS = 50;
const WIRE_MS = 2;

const LIMITS: GroupLimits = {
  callTimeoutMs: 5000,
  proposalsMax: 1000,
  readsMax: 1000,
  inboxMax: 4096,
  batchBytesMax: MiB,
  compaction: { entriesMax: 100, bytesMax: MiB, entriesKept: 20 },
};

/** All commands in order; a command's result is what it is preceded by. */
export class ListStateMachine implements StateMachine<string> {
  commands: readonly string[] = [];
  applied: AppliedState = { index: 0, term: 0, membership: undefined };
  #flushed: { commands: readonly string[]; applied: AppliedState } = { commands: [], applied: this.applied };

  async apply(batch: ApplyBatch): Promise<readonly string[]> {
    const last: Entry | undefined = batch.entries.at(-1);
    assert(last && batch.entries[0]?.index === this.applied.index + 1, 'entries are applied without a gap');
    const commands = [...this.commands];
    const results: string[] = [];
    for (const entry of batch.entries) {
      if (entry.kind !== 'command') continue;
      results.push(`after ${commands.at(-1) ?? 'nothing'}`);
      commands.push(entry.payload.toString());
    }
    this.commands = commands;
    this.applied = { index: last.index, term: last.term, membership: batch.membership };
    return results;
  }

  async flush(): Promise<LogPosition> {
    this.#flushed = { commands: this.commands, applied: this.applied };
    return this.applied;
  }

  async snapshot(): Promise<StateSnapshot> {
    const { commands, applied } = this;
    assert(applied.membership, 'a state that is sent has a membership');
    const { index, term, membership } = applied;
    return {
      metadata: { index, term, membership },
      chunks: async function* () {
        for (const command of commands) yield Buffer.from(command);
      },
      release: async () => {},
    };
  }

  async restore(metadata: SnapshotMetadata, chunks: AsyncIterable<Buffer>): Promise<void> {
    const commands: string[] = [];
    for await (const chunk of chunks) commands.push(chunk.toString());
    const { index, term, membership } = metadata;
    this.commands = commands;
    this.applied = { index, term, membership };
    await this.flush();
  }

  async close(): Promise<void> {}

  /** What a crash leaves, for the next life. */
  survivor(): ListStateMachine {
    const next = new ListStateMachine();
    next.commands = this.#flushed.commands;
    next.applied = this.#flushed.applied;
    next.#flushed = this.#flushed;
    return next;
  }
}

export class ClusterNode {
  readonly id: NodeId;
  readonly logDisk = new MemoryLogDisk();
  state = new ListStateMachine();
  readonly #cluster: RaftCluster;
  #running: { readonly raft: MultiRaft; readonly group: RaftGroup<string>; readonly log: MemoryLogStore } | undefined;
  failure: MetaError | undefined;
  #lives = 0;

  constructor(cluster: RaftCluster, id: NodeId) {
    this.#cluster = cluster;
    this.id = id;
  }

  get group(): RaftGroup<string> {
    assert(this.#running, `node ${this.id} runs`);
    return this.#running.group;
  }

  get log(): MemoryLogStore {
    assert(this.#running, `node ${this.id} runs`);
    return this.#running.log;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  async start(founders: readonly NodeId[]): Promise<void> {
    const { clock } = this.#cluster;
    const log = new MemoryLogStore({ disk: this.logDisk, clock });
    const prng = createPrng(`${this.id}/${this.#lives++}`);
    const recovering = recoverRaft({
      group: GROUP_IDS.metadata,
      node: this.id,
      founders,
      logStore: log,
      applied: this.state.applied,
      config: { ...TEST_CONFIG, electionTicks: 10, heartbeatTicks: 2 },
      prng,
    });
    await clock.advanceAndSettle(log.syncMs);
    const spool = await SnapshotSpool.open(new SimDisk(prng.fork('spool')), '/spool');
    const raft = new MultiRaft({
      node: this.id,
      clock,
      logger: nullLogger,
      logStore: log,
      transport: this.#cluster.wires.transport(this.id),
      tickMs: TICK_MS,
      diskStallMs: 10 * TICK_MS,
      failed: (_group, error) => {
        this.failure = error;
      },
    });
    const group = raft.addGroup({
      group: GROUP_IDS.metadata,
      raft: await recovering,
      stateMachine: this.state,
      spool,
      logger: nullLogger,
      limits: LIMITS,
    });
    this.#running = { raft, group, log };
    raft.start();
  }

  async close(): Promise<void> {
    await this.#running?.raft.close();
  }

  /** Power loss: nothing after this moment reaches disk or wires. */
  async kill(): Promise<void> {
    const { raft, log } = this.#running ?? {};
    if (log) log.health = 'crashed';
    this.#cluster.wires.detach(this.id);
    this.#running = undefined;
    this.state = this.state.survivor();
    await this.#cluster.settled(raft?.close() ?? Promise.resolve());
  }
}

export class RaftCluster {
  readonly clock = new ManualClock();
  readonly #nodes = new Map<NodeId, ClusterNode>();
  readonly #founders: readonly NodeId[];
  readonly wires = new SimWires(this.clock, WIRE_MS);

  private constructor(founders: readonly NodeId[]) {
    this.#founders = founders;
  }

  static async start(founders: readonly NodeId[]): Promise<RaftCluster> {
    const cluster = new RaftCluster(founders);
    for (const id of founders) await cluster.add(id);
    return cluster;
  }

  async add(id: NodeId): Promise<ClusterNode> {
    const node = new ClusterNode(this, id);
    this.#nodes.set(id, node);
    await node.start(this.#founders);
    return node;
  }

  async restart(id: NodeId): Promise<void> {
    await this.node(id).start(this.#founders);
  }

  node(id: NodeId): ClusterNode {
    const node = this.#nodes.get(id);
    assert(node, `node ${id} is part of the cluster`);
    return node;
  }

  get nodes(): readonly ClusterNode[] {
    return [...this.#nodes.values()].filter((node) => node.isRunning);
  }

  async pass(ms: number): Promise<void> {
    // In small steps: a turn of the event loop takes no time on a clock that stands still.
    for (let passed = 0; passed < ms; passed++) await this.clock.advanceAndSettle(1);
  }

  /** Time passes until it is true, but not without limit. */
  async until(what: string, holds: () => boolean, limitMs = 20_000): Promise<void> {
    for (let passed = 0; !holds(); passed += TICK_MS) {
      assert(passed < limitMs, `within ${limitMs} ms: ${what}`);
      await this.pass(TICK_MS);
    }
  }

  /** The node whose state is ready to lead, once there is one among those given. */
  async leader(among: readonly ClusterNode[] = this.nodes): Promise<ClusterNode> {
    const leads = (node: ClusterNode) => node.isRunning && node.group.status().role === 'leader';
    await this.until('there is a leader', () => among.some(leads));
    const [newest] = among.filter(leads).sort((a, b) => b.group.status().term - a.group.status().term);
    assert(newest, 'there is a leader');
    return newest;
  }

  /** Lets time pass until the call is settled. */
  async settled<T>(call: Promise<T>): Promise<T> {
    let done = false;
    const watched = call.finally(() => {
      done = true;
    });
    watched.catch(() => {}); // the caller gets it from the returned promise
    await this.until('the call is settled', () => done);
    return watched;
  }
}
