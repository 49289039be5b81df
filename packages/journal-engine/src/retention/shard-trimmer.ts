// Takes the oldest records of a shard away: by request, by age, by size.
//
// Invariants:
//   M1. logStart moves in meta first, then in memory, then files go. A crash in between leaves a file with a
//       tombstone, never a record below logStart that is still promised. [I11]
//   M2. Files go as whole closed segments; the open one stays whatever its age. logStart may lie within one.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { JournalRegistry } from '../registry/journal-registry.js';
import type { SegmentRecord } from '../registry/records.js';
import { type Segment, sidecarFileName } from '../segment/segment.js';
import type { SegmentFiles } from '../segment/segment-files.js';
import type { SegmentIndexes } from '../segment/segment-indexes.js';
import type { ShardLog } from '../shard/shard-log.js';
import type { ShardHandle } from '../shard/shard-map.js';
import type { ShardReader } from '../shard/shard-reader.js';

export interface ShardTrimmerDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files: SegmentFiles;
  readonly indexes: SegmentIndexes;
  readonly reader: ShardReader;
  readonly registry: JournalRegistry;
}

export class ShardTrimmer {
  readonly #deps: ShardTrimmerDeps;

  constructor(deps: ShardTrimmerDeps) {
    this.#deps = deps;
  }

  /** Moves logStart up to `before`; JournalError UNAVAILABLE or FENCED. Durable on return. */
  async trim({ log, registration }: ShardHandle, before: number): Promise<void> {
    if (before <= log.logStart) return;
    let gone: Segment[] = [];
    await registration.change((record) => {
      gone = leadingClosed(log, (segment) => segment.endOffset <= before);
      return {
        to: { ...record, logStart: Math.max(record.logStart, before) },
        put: [],
        drop: gone.map(({ epoch }) => ({ epoch }) as SegmentRecord), // a deletion needs the key only
        tombstones: gone.map(({ fileName }) => fileName),
      };
    });
    log.logStart = Math.max(log.logStart, before); // M1
    log.segments = log.segments.filter((segment) => !gone.includes(segment));
    await this.removeFiles(gone);
  }

  /** What the shard's own retention asks for now. */
  async enforce(handle: ShardHandle): Promise<void> {
    const { cleanup, retentionMs, retentionBytes } = handle.log.config;
    if (cleanup !== 'delete') return;
    const before = Math.max(
      retentionBytes === undefined ? 0 : withinBytes(handle.log, retentionBytes),
      retentionMs === undefined ? 0 : await this.#youngerThan(handle.log, retentionMs),
    );
    if (before > handle.log.logStart) await this.trim(handle, before);
  }

  /** By the record: a short retention is kept whatever the size of segments. */
  async #youngerThan(log: ShardLog, retentionMs: number): Promise<number> {
    return await this.#deps.reader.offsetAtTime(log, this.#deps.clock.wallTime() - retentionMs);
  }

  /** Removes files that have a tombstone. What fails stays for the next start. */
  async removeFiles(segments: readonly Segment[]): Promise<void> {
    if (segments.length === 0) return;
    const { files, indexes, registry, logger } = this.#deps;
    const names = segments.map(({ fileName }) => fileName);
    for (const segment of segments) indexes.forget(segment);
    try {
      await files.remove(names.flatMap((name) => [name, sidecarFileName(name)]));
      await registry.clearTombstones(names);
    } catch (error) {
      logger.warn({ files: names }, `segment files wait for the next start to be removed: ${errorMessage(error)}`);
    }
  }
}

/** Where the shard may begin so that it is no larger: behind whole closed segments (M2). */
function withinBytes(log: ShardLog, retentionBytes: number): number {
  let bytes = log.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const gone = leadingClosed(log, (segment) => {
    const tooMuch = bytes > retentionBytes;
    bytes -= segment.bytes;
    return tooMuch;
  });
  return gone.at(-1)?.endOffset ?? log.logStart;
}

function leadingClosed(log: ShardLog, goes: (segment: Segment) => boolean): Segment[] {
  const stays = log.segments.findIndex(
    (segment) => segment.state !== 'closed' || segment.writtenBytes < segment.bytes || !goes(segment),
  );
  return log.segments.slice(0, stays < 0 ? log.segments.length : stays);
}
