// The seam to what Raft replicates.
//
// What an implementation promises:
//   M1. apply() is total and deterministic: the same entries give the same state and the same results on every
//       replica, whatever bytes they hold. Garbage is a result. It rejects only when the storage below fails,
//       which ends the group.
//   M2. The effects of an entry and the applied position become visible, and survive, together or not at all.
//       After a crash the state is that of some applied position, at or after the last one flush() returned.
//   M3. Calls never overlap: apply, restore and flush come one after the other. snapshot() and reads may overlap them.

import type { Entry, LogPosition, Membership, SnapshotMetadata } from '../core/types.js';

/** How far the state has come. Before the first entry: index 0, term 0, no membership. */
export interface AppliedState extends LogPosition {
  /** The membership in force after the entry at `index`. */
  readonly membership: Membership | undefined;
}

export interface ApplyBatch {
  /**
   * Committed and durable here, contiguous from applied.index + 1, of every kind: the applied position moves over
   * empty and membership entries too, their payload means nothing to the state.
   */
  readonly entries: readonly Entry[];
  /** The membership in force after the last of them: kept with the state, so that a restart finds it (M2). */
  readonly membership: Membership;
}

/** A point-in-time view of the whole state, unmoved by later apply() calls. */
export interface StateSnapshot {
  readonly metadata: SnapshotMetadata;
  /** The state in the implementation's own format, in chunks of at most 256 KiB. Read once. */
  chunks(): AsyncIterable<Buffer>;
  /** Lets go of what the view pins. Called exactly once, also when chunks() was not read to its end. */
  release(): Promise<void>;
}

export interface StateMachine<Result> {
  readonly applied: AppliedState;
  /** One result for each entry of kind `command`, in order. */
  apply(batch: ApplyBatch): Promise<readonly Result[]>;
  /** Makes all effects so far durable, and resolves with the position they reach. */
  flush(): Promise<LogPosition>;
  snapshot(): Promise<StateSnapshot>;
  /**
   * Replaces the whole state, durably and atomically: a crash leaves the old one or the new one. Rejects with the old
   * state in force when the chunks are damaged or end early.
   */
  restore(metadata: SnapshotMetadata, chunks: AsyncIterable<Buffer>): Promise<void>;
  close(): Promise<void>;
}
