// The storage a node's broker writes through: the journal, or one of the plain drivers.

import { type EngineStatus, startJournal } from '@robustmq/journal-engine';
import type { MetaClient } from '@robustmq/meta-raft/client';
import { type CheckResult, RuntimeError } from '@robustmq/node-runtime';
import { unreachable } from '@robustmq/stdx/assert';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { LevelShardStorage, MemoryShardStorage, type ShardStorage } from '@robustmq/storage-adapter';
import { type Node, pathOf } from './node.js';

export interface StorageRole extends AsyncDisposable {
  readonly storage: ShardStorage;
}

/** The journal recovers its disk and registers what it found. */
export async function startJournalRole(node: Node, meta: MetaClient): Promise<StorageRole> {
  const { config, clock, prng, disk, log, metrics } = node;
  const options = {
    directory: pathOf(node, 'journal'),
    clusterName: config.cluster_name,
    nodeId: config.node_id,
    segmentBytes: config.journal.segment_bytes,
    segmentAgeMs: config.journal.segment_age_ms,
    tailCacheBytes: config.journal.tail_cache_bytes,
    diskReserveBytes: config.journal.disk_reserve_bytes,
  };
  const journal = await startJournal(options, {
    disk,
    clock,
    meta,
    prng: prng.fork('journal'),
    logger: log.child({ part: 'journal' }),
    metrics,
  });
  node.health.bind('storage', () => checkJournal(journal.status));
  return { storage: journal.storage, [Symbol.asyncDispose]: () => journal.close() };
}

function checkJournal(status: EngineStatus): CheckResult {
  switch (status.kind) {
    case 'writable':
      return { ok: true };
    case 'read-only':
      return { ok: false, reason: `the journal takes no appends: ${status.reason}` };
    case 'failed':
      return { ok: false, reason: `the journal has failed: ${errorMessage(status.cause)}` };
    default:
      return unreachable(status);
  }
}

/** A driver of this node's own, for brokers that need no journal. */
export async function startPlainStorage(node: Node): Promise<StorageRole> {
  const { clock } = node;
  const { type } = node.config.storage;
  if (type === 'journal') throw journalElsewhere(node);
  const storage =
    type === 'memory'
      ? new MemoryShardStorage({ clock })
      : await LevelShardStorage.open({ directory: pathOf(node, 'level') }, { clock });
  node.health.bind('storage', () =>
    storage.state === 'open' ? { ok: true } : { ok: false, reason: `the storage is ${storage.state}` },
  );
  return { storage, [Symbol.asyncDispose]: () => storage.close() };
}

function journalElsewhere({ config }: Node): RuntimeError {
  return new RuntimeError(
    'CONFIG_INVALID',
    `storage.type is journal, and this node has roles ${config.roles.join(', ')}: a broker reaches only the journal of its own node. Add the role journal, or set storage.type to memory or level`,
  );
}
