import type { LogIndex } from '../core/types.js';

export interface CompactionLimits {
  /** More applied entries than this in the log, or more bytes, and it is cut. */
  readonly entriesMax: number;
  readonly bytesMax: number;
  /** Of the applied entries the newest stay, for followers that lag a little: sending them is cheaper than the state. */
  readonly entriesKept: number;
}

export interface LogExtent {
  readonly firstIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly bytes: number;
}

/** Up to where the log may be forgotten; undefined when it is short enough. */
export function compactionPoint(limits: CompactionLimits, log: LogExtent): LogIndex | undefined {
  const applied = log.appliedIndex - log.firstIndex + 1;
  if (applied <= 0 || (applied <= limits.entriesMax && log.bytes <= limits.bytesMax)) return undefined;
  // When bytes are what is too much, half of them go, however many entries that is.
  const kept = log.bytes > limits.bytesMax ? Math.min(limits.entriesKept, Math.floor(applied / 2)) : limits.entriesKept;
  const through = log.appliedIndex - kept;
  return through >= log.firstIndex ? through : undefined;
}
