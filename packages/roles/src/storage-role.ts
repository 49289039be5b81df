// The storage a node's broker writes through: the journal, or one of the plain drivers.

import { type EngineStatus, startJournal } from '@robustmq/journal-engine';
import type { MetaClient } from '@robustmq/meta-raft/client';
import { type CheckResult, RuntimeError } from '@robustmq/node-runtime';
import { unreachable } from '@robustmq/stdx/assert';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { LevelShardStorage, MemoryShardStorage, type ShardStorage } from '@robustmq/storage-adapter';
import { openPostgresStorage, openRedisStorage } from '@robustmq/storage-adapter/external';
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

/** A driver that needs no journal: in this process, on its disk, or in an engine that runs elsewhere. */
export async function startPlainStorage(node: Node): Promise<StorageRole> {
  const storage = await openPlainStorage(node);
  node.health.bind('storage', () =>
    storage.state === 'open' ? { ok: true } : { ok: false, reason: `the storage is ${storage.state}` },
  );
  return { storage, [Symbol.asyncDispose]: () => storage.close() };
}

/** A broker is the only writer of its shards: nodes that share an engine get places of their own in it. */
const namespaceOf = ({ config }: Node): string => `${config.cluster_name}/${config.node_id}`;

async function openPlainStorage(node: Node): Promise<ShardStorage> {
  const { clock, log } = node;
  const { storage } = node.config;
  const deps = { clock, logger: log.child({ part: 'storage' }) };
  switch (storage.type) {
    case 'journal':
      throw journalElsewhere(node);
    case 'memory':
      return new MemoryShardStorage(deps);
    case 'level':
      return await LevelShardStorage.open({ directory: pathOf(node, 'level') }, deps);
    case 'redis': {
      const { url = '', prefix, settings_check: settingsCheck } = storage.redis; // without a url it was refused
      return await openRedisStorage({ url, prefix: `${prefix}${namespaceOf(node)}:`, settingsCheck }, deps);
    }
    case 'postgres': {
      const { url = '', schema } = storage.postgres; // without a url it was refused
      return await openPostgresStorage({ url, schema: `${schema}_${node.config.node_id}` }, deps);
    }
    default:
      return unreachable(storage.type);
  }
}

function journalElsewhere({ config }: Node): RuntimeError {
  return new RuntimeError(
    'CONFIG_INVALID',
    `storage.type is journal, and this node has roles ${config.roles.join(', ')}: a broker reaches only the journal of its own node. Add the role journal, or set storage.type to memory, level, or an external engine`,
  );
}
