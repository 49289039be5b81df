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

const postgres = z
  .strictObject({
    url: setting(url(['postgres', 'postgresql']).optional(), {
      description:
        'With storage.type postgres: the database, postgres://user:password@host:port/database; sslmode and the like as its parameters.',
      secret: true,
    }),
    schema: setting(
      z
        .string()
        .regex(/^[a-z_][a-z0-9_]{0,50}$/, 'must be 1 to 51 of a-z 0-9 _, no digit first')
        .prefault('robustmq'),
      'What the name of the schema begins with; an underscore and the id of the node follow. Another one for each cluster that shares the database.',
    ),
  })
  .prefault({});

export const storage = z
  .strictObject({
    type: setting(
      z.enum(['journal', 'memory', 'level', 'postgres', 'redis']).prefault('journal'),
      'Where messages are kept. journal: on disk, every acknowledged message synced. level: on disk, for small nodes. memory: gone with the process. postgres: in a PostgreSQL database of yours. redis: in a Redis server of yours, which may lose the newest messages when it fails over (docs/guides/external-storage.md).',
    ),
    redis,
    postgres,
  })
  .prefault({});
