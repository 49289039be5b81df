import type { MetricsRegistry } from '@robustmq/stdx/metrics';
import type { JournalEngine } from './journal-engine.js';

/** The journal's numbers; those of its WAL (sync time, group size) are registered by the WAL as journal_wal_*. */
export function registerJournalMetrics(metrics: MetricsRegistry, engine: JournalEngine): void {
  const { writer, cache, flusher, roller, compactor, shards, guard, state } = engine;
  const counter = (name: string, help: string, read: () => number) => metrics.counter({ name, help }, read);
  const gauge = (name: string, help: string, read: () => number) => metrics.gauge({ name, help }, read);
  counter('journal_batches_total', 'Batches handed to the WAL.', () => writer.appendedBatches);
  counter('journal_append_bytes_total', 'Bytes of those batches.', () => writer.appendedBytes);
  counter('journal_checkpoints_total', 'Times the WAL was released.', () => flusher.checkpoints);
  counter('journal_rolls_total', 'Segments closed while running.', () => roller.rolls);
  counter('journal_compactions_total', 'Shards compacted.', () => compactor.compactions);
  gauge('journal_inflight_bytes', 'Accepted but not yet durable.', () => writer.inflightBytes);
  gauge('journal_unwritten_bytes', 'Durable but not yet in a segment file.', () => writer.unwrittenBytes);
  gauge('journal_tail_cache_bytes', 'Newest batches kept in memory.', () => cache.bytes);
  gauge('journal_shards', 'Shards this node writes.', () => shards.size);
  gauge('journal_disk_free_bytes', 'Free space of the data directory.', () => guard.freeBytes);
  gauge('journal_disk_state', '0 writable, 1 read-only, 2 failed.', () => DISK_STATES[state.status.kind]);
}

const DISK_STATES = { writable: 0, 'read-only': 1, failed: 2 } as const;
