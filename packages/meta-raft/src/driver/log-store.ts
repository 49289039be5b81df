// The seam to the durable log. One store serves all groups of a node, so that one sync covers what all of
// them wrote in a turn.
//
// What an implementation promises:
//   L1. `onDurable` is called once per write, in the order of the write() calls, never synchronously, and
//       with no argument only after everything in this write and in all earlier ones survives power loss.
//   L2. The first failed write or sync is final: this write, all pending and all later ones are told so.
//   L3. Recovery gives back, for every group, at least everything durable, in a state the sequence of writes
//       went through: a prefix of the writes, each whole or absent (a write that was not yet durable may be there).
//   L4. A damaged log (anything but an incomplete last write) is an error of open(), never a shorter log.
//
// The store need not serve reads while running: the core keeps the entries that were not compacted in memory.

import type { Entry, HardState, LogPosition } from '../core/types.js';
import type { GroupId } from './group-id.js';

/** One group's part of a turn. The fields take effect in the order they are listed here, all or nothing. */
export interface LogWrite {
  readonly group: GroupId;
  /** The log is replaced by an empty one that begins after this position: a snapshot was installed. */
  readonly reset: LogPosition | undefined;
  /**
   * Contiguous. What the log holds at or after the first one's index is replaced: a shorter log can be the
   * result (Raft §5.3). Payloads must not change until durable; they are not copied.
   */
  readonly entries: readonly Entry[];
  /** Present when it changed. */
  readonly hardState: HardState | undefined;
}

export interface RecoveredLog {
  /** The log before and up to here is gone (compacted, or replaced by a snapshot); index 0 when nothing is. */
  readonly base: LogPosition;
  /** Contiguous from base.index + 1. */
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
}

export interface LogStore {
  /** What open() found for the group, once: the store drops its copy. Undefined when it was never written. */
  takeRecovered(group: GroupId): RecoveredLog | undefined;
  /**
   * Queues all parts of one turn as one unit; see L1. Throws when the store has failed, is closed, or holds too many
   * pending bytes; nothing was queued then.
   */
  write(parts: readonly LogWrite[], onDurable: (error?: Error) => void): void;
  /**
   * Entries up to and including `through` are no longer needed: a durable state covers them. Ordered after
   * earlier writes. Resolves when the store has noted it; the space may be reused later.
   */
  compact(group: GroupId, through: LogPosition): Promise<void>;
  /** Bytes of log that a restart would replay: what the driver bounds by compacting. */
  readonly bytesSinceCheckpoint: number;
  /** What was written waits for space on the disk; it becomes durable, in order, when there is some. */
  readonly isFull?: boolean;
  /** Flushes what was accepted. */
  close(): Promise<void>;
}
