import { jest } from '@jest/globals';
import { createMemoryMeta, type MemoryMeta } from '@robustmq/meta-raft/testing';
import { describeShardStorage } from '@robustmq/storage-adapter/suite';
import { nodeDisk } from '@robustmq/wal';
import { startJournal } from './start-journal.js';

// A busy machine takes its time over hundreds of syncs; nothing here waits for time to pass.
jest.setTimeout(60_000);

/** Meta outlives the journal: one per directory. */
const metas = new Map<string, MemoryMeta>();

describeShardStorage('the journal, one node', {
  persistent: true,
  clock: 'given',
  open: async (directory, clock) => {
    const meta = metas.get(directory) ?? createMemoryMeta({ clock });
    metas.set(directory, meta);
    const options = { directory, segmentBytes: 256, indexIntervalBytes: 64, offsetCommitIntervalMs: 0 };
    const journal = await startJournal(options, { disk: nodeDisk(), clock, meta: meta.connect() });
    return journal.storage;
  },
});
