// One node of a simulated group: the real core with a disk and a state that can lose exactly what real ones may.
// Every step is a separate call, so that a test or a seed decides the order of everything.

import { assert } from '@robustmq/stdx/assert';
import type { Prng } from '@robustmq/stdx/prng';
import type { RaftConfig } from '../core/config.js';
import { encodeMembershipChange } from '../core/membership-codec.js';
import { Raft } from '../core/raft.js';
import type { CommittedSlice, ReadState, StorageWrite } from '../core/ready.js';
import type { Entry, HardState, LogPosition, Membership, Message, NodeId } from '../core/types.js';

/** The replicated state of these tests: the list of all commands, with where they stand in the log. */
export interface PeerState extends LogPosition {
  readonly membership: Membership | undefined;
  readonly commands: readonly string[];
}

/** A message as it travels: a snapshot brings its state along. */
export interface Parcel {
  readonly message: Message;
  readonly state: PeerState | undefined;
}

export const TEST_CONFIG: RaftConfig = {
  electionTicks: 10,
  heartbeatTicks: 1,
  appendBytesMax: 1024,
  inflight: { messagesMax: 8, bytesMax: 8192 },
  uncommittedBytesMax: 64 * 1024,
  applyBytesMax: 4096,
  readsMax: 64,
};

const EMPTY_STATE: PeerState = { index: 0, term: 0, membership: undefined, commands: [] };

/** The log every founding node begins with: the same first entry everywhere. */
export function foundingEntry(voters: readonly NodeId[]): Entry {
  return { index: 1, term: 1, kind: 'membership', payload: encodeMembershipChange({ kind: 'initial', voters }) };
}

export interface RaftPeerOptions {
  readonly id: NodeId;
  readonly prng: Prng;
  readonly config: RaftConfig;
  /** Undefined: a node that joins later and begins with nothing. */
  readonly founders: readonly NodeId[] | undefined;
}

export class RaftPeer {
  readonly id: NodeId;
  readonly #config: RaftConfig;
  readonly #prng: Prng;
  raft: Raft;
  state: PeerState = EMPTY_STATE;
  /** What a crash leaves of the state at the least. */
  #flushed: PeerState = EMPTY_STATE;
  #disk: { base: LogPosition; entries: Entry[]; hardState: HardState };
  readonly #writes: StorageWrite[] = [];
  #toApply: CommittedSlice | undefined;
  readonly #incoming = new Map<number, PeerState>();
  readonly reads: ReadState[] = [];
  readonly outbox: Parcel[] = [];

  constructor(options: RaftPeerOptions) {
    this.id = options.id;
    this.#config = options.config;
    this.#prng = options.prng;
    const founding = options.founders ? [foundingEntry(options.founders)] : [];
    const hardState = { term: founding.length, votedFor: undefined, commitIndex: founding.length };
    this.#disk = { base: { index: 0, term: 0 }, entries: founding, hardState };
    this.raft = this.#boot();
  }

  get diskHardState(): HardState {
    return this.#disk.hardState;
  }

  get diskLast(): LogPosition {
    return this.#disk.entries.at(-1) ?? this.#disk.base;
  }

  get pendingWrites(): number {
    return this.#writes.length;
  }

  get hasEntriesToApply(): boolean {
    return this.#toApply !== undefined;
  }

  receive(parcel: Parcel): void {
    const { message, state } = parcel;
    if (message.type === 'install-snapshot') {
      assert(state, 'a snapshot travels with its state');
      this.#incoming.set(message.snapshot.index, state);
    }
    this.raft.step(message);
  }

  /** Takes what the core has to say. False when it had nothing. */
  takeReady(): boolean {
    const ready = this.raft.ready();
    if (!ready) return false;
    for (const message of ready.messages) this.outbox.push(this.#pack(message));
    if (ready.write) this.#writes.push(ready.write);
    if (ready.committed) {
      assert(!this.#toApply, 'one slice is applied at a time');
      this.#toApply = ready.committed;
    }
    this.reads.push(...ready.reads);
    return true;
  }

  /** The oldest write reaches the disk. */
  completeWrite(): boolean {
    const write = this.#writes.shift();
    if (!write) return false;
    if (write.snapshot) this.applyNext();
    this.#store(write);
    if (write.snapshot) {
      const state = this.#incoming.get(write.snapshot.index);
      assert(state, 'a snapshot is installed from a state that came with it');
      this.state = state;
      this.#flushed = state;
    }
    this.raft.written(write);
    return true;
  }

  applyNext(): boolean {
    const slice = this.#toApply;
    if (!slice) return false;
    this.#toApply = undefined;
    const { entries, membership } = slice;
    const last = entries.at(-1) ?? this.state;
    assert(entries[0]?.index === this.state.index + 1, 'entries are applied without a gap');
    const commands = entries
      .filter((entry) => entry.kind !== 'membership')
      .map((entry) => `${entry.index}/${entry.term} ${entry.payload.toString()}`);
    this.state = {
      index: last.index,
      term: last.term,
      membership,
      commands: [...this.state.commands, ...commands],
    };
    this.raft.applied(slice);
    return true;
  }

  flush(): void {
    this.#flushed = this.state;
  }

  compact(index: number): void {
    this.flush();
    const base = this.raft.compact(index);
    if (!base) return;
    this.#disk.base = base;
    this.#disk.entries = this.#disk.entries.filter((entry) => entry.index > base.index);
  }

  /** Power loss and restart: of the pending writes a prefix survives, of the unflushed state all or nothing. */
  crash(keptWrites: number, keptState: 'flushed' | 'applied'): void {
    for (const write of this.#writes.splice(0).slice(0, keptWrites)) {
      if (write.snapshot) break; // its state is installed first, and was not
      this.#store(write);
    }
    if (keptState === 'flushed') this.state = this.#flushed;
    else this.#flushed = this.state;
    this.#toApply = undefined;
    this.#incoming.clear();
    this.outbox.length = 0;
    this.reads.length = 0;
    this.raft = this.#boot();
  }

  #boot(): Raft {
    const { base, entries, hardState } = this.#disk;
    const last = entries.at(-1)?.index ?? base.index;
    const commitIndex = Math.min(last, Math.max(hardState.commitIndex, this.state.index));
    return new Raft({
      id: this.id,
      config: this.#config,
      prng: this.#prng,
      log: { base, entries, commitIndex, appliedIndex: this.state.index },
      hardState,
      membership: this.state.membership,
    });
  }

  #store(write: StorageWrite): void {
    const disk = this.#disk;
    if (write.snapshot) {
      disk.base = { index: write.snapshot.index, term: write.snapshot.term };
      disk.entries = [];
    }
    const first = write.entries[0];
    if (first) {
      // What was compacted meanwhile is durable elsewhere already.
      const kept = disk.entries.filter((entry) => entry.index < first.index);
      disk.entries = [...kept, ...write.entries.filter((entry) => entry.index > disk.base.index)];
    }
    if (write.hardState) disk.hardState = write.hardState;
  }

  #pack(message: Message): Parcel {
    if (message.type !== 'install-snapshot') return { message, state: undefined };
    const { index, term, membership } = this.state;
    assert(membership, 'a state that is sent has a membership');
    return { message: { ...message, snapshot: { index, term, membership } }, state: this.state };
  }
}
