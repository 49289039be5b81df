// The table `storage`: where messages are kept, and how the external engines are reached.

import { z } from 'zod';
import { setting } from './setting.js';

const url = (schemes: readonly string[]) =>
  z.string().refine((text) => schemes.some((scheme) => text.startsWith(`${scheme}://`)), {
    message: `must begin with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
  });

const redis = z
  .strictObject({
    url: setting(url(['redis', 'rediss']).optional(), {
      description:
        'With storage.type redis: the server, redis://user:password@host:port/database, or rediss:// for TLS. A single server or the master behind Sentinel; no Redis Cluster.',
      secret: true,
    }),
    prefix: setting(
      z.string().prefault('robustmq:'),
      'What every key begins with. The name of the cluster and the id of the node follow, so that nodes and clusters may share a server.',
    ),
    settings_check: setting(
      z.enum(['required', 'skipped']).prefault('required'),
      'required: a server that evicts, or that writes no append-only file, is refused. skipped: for hosted servers that do not answer CONFIG GET; you answer for their settings.',
    ),
  })
  .prefault({});

export const storage = z
  .strictObject({
    type: setting(
      z.enum(['journal', 'memory', 'level', 'redis']).prefault('journal'),
      'Where messages are kept. journal: on disk, every acknowledged message synced. level: on disk, for small nodes. memory: gone with the process. redis: in a Redis server of yours, which may lose the newest messages when it fails over (docs/guides/external-storage.md).',
    ),
    redis,
  })
  .prefault({});
