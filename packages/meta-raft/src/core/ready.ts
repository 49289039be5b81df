// What the core hands out, and the duties of whoever takes it.
//
//   1. `messages` may be sent at once, in any order; losing them is allowed.
//   2. `write` is made durable: the snapshot's state first (with the log reset to it), then entries, then the hard
//      state. Writes are made in the order they were handed out; when one is durable, Raft.written() is told. Several
//      may be under way at once.
//   3. `committed` is applied to the state in order; then Raft.applied() is told. One slice is out at a time. A slice
//      that is under way when a write brings a snapshot is finished before the snapshot's state is put in its place.
//   4. `reads` are answered when the state has reached their index.
//
// What the core promises in return:
//   R1. A message that promises something (a vote, an accepted append) leaves only after the write that makes it
//       true: it is held back until Raft.written() and comes with a later Ready. Append requests of a leader do not
//       wait for its own disk.

import type { Entry, HardState, LogIndex, LogPosition, Membership, Message, SnapshotMetadata, Term } from './types.js';

export interface StorageWrite {
  /** The term the write was made in: when it has passed, what the write would have acknowledged is void. */
  readonly term: Term;
  /** The end of the log, this write included. */
  readonly last: LogPosition;
  readonly snapshot: SnapshotMetadata | undefined;
  readonly entries: readonly Entry[];
  readonly hardState: HardState | undefined;
}

export interface CommittedSlice {
  /** Contiguous, never empty. */
  readonly entries: readonly Entry[];
  /** In force after the last of them. */
  readonly membership: Membership;
}

export interface ReadState {
  /** As it was given to Raft.readIndex(). */
  readonly requestId: number;
  /** Undefined: no leader could confirm it; ask again. */
  readonly index: LogIndex | undefined;
}

export interface Ready {
  readonly messages: readonly Message[];
  readonly write: StorageWrite | undefined;
  readonly committed: CommittedSlice | undefined;
  readonly reads: readonly ReadState[];
}
