// Every setting, once: its type, default, legal range, and what it means. The types, the reference
// (docs/reference/configuration.md), the reading of environment and flags, and `config print` all follow
// from this schema.
//
// A new setting is one line here, and `node scripts/write-reference.mjs` in this package.

import { GiB, MiB } from '@robustmq/stdx/byte-size';
import { z } from 'zod';
import type { Address } from './address.js';
import { contradictions } from './contradictions.js';
import { mqtt } from './mqtt-settings.js';
import { address, DAY_MS, HOUR_MS, listenerAddress, setting } from './setting.js';
import { storage } from './storage-settings.js';

export const ROLES = ['meta', 'broker', 'journal'] as const;
export type Role = (typeof ROLES)[number];

/** Shorter secrets can be guessed by trying. */
const SECRET_LENGTH_MIN = 16;

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  message: 'must be 1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit',
});

const nodeId = z.int().min(1).max(0xffff_ffff);

const roles = z
  .array(z.enum([...ROLES, 'engine']))
  .min(1, 'must name at least one role')
  .transform((given): readonly Role[] => [...new Set(given.map((role) => (role === 'engine' ? 'journal' : role)))]);

const peers = z
  .record(z.string().regex(/^[1-9]\d{0,9}$/, 'must be node ids: whole numbers from 1 up'), address)
  .transform((byId): ReadonlyMap<number, Address> => new Map(Object.entries(byId).map(([id, at]) => [Number(id), at])));

const grpc = z
  .strictObject({
    bind: setting(address.prefault('127.0.0.1:1228'), 'Where the other nodes of the cluster reach this one.'),
    secret: setting(
      z.string().min(SECRET_LENGTH_MIN, `must have at least ${SECRET_LENGTH_MIN} characters`).optional(),
      {
        description:
          'The secret all nodes of a cluster share; every call between them carries it. Required when grpc.bind is not a loopback address.',
        secret: true,
      },
    ),
  })
  .prefault({});

const http = z
  .strictObject({
    bind: setting(
      listenerAddress.prefault('127.0.0.1:8080'),
      'Health, status and metrics over HTTP; "off" for none. It knows no login: bind it where only operators reach it.',
    ),
  })
  .prefault({});

const meta = z
  .strictObject({
    peers: setting(peers.prefault({}), {
      description:
        'The gRPC addresses of all nodes with the role meta, by node id, this one included. Empty: this node is alone.',
    }),
    join: setting(
      z.boolean().prefault(false),
      'A node without data joins the cluster of the other meta.peers instead of founding one with them: it catches up and then votes. Means nothing once it has data.',
    ),
    heartbeat_ms: setting(
      z.int().min(10).max(10_000).prefault(100),
      'Milliseconds between the heartbeats of the Raft leader.',
    ),
    election_ms: setting(
      z.int().min(50).max(60_000).prefault(600),
      'Milliseconds without a heartbeat after which an election begins; drawn between this and twice this. At least four times heartbeat_ms.',
    ),
  })
  .prefault({});

const journal = z
  .strictObject({
    segment_bytes: setting(
      z
        .int()
        .min(MiB)
        .max(GiB)
        .prefault(256 * MiB),
      'Size at which a segment is closed and the next begins, in bytes. Retention removes whole segments.',
    ),
    segment_age_ms: setting(
      z
        .int()
        .min(1000)
        .max(365 * DAY_MS)
        .prefault(HOUR_MS),
      'Age at which a segment with records is closed, in milliseconds, so that retention by time works.',
    ),
    tail_cache_bytes: setting(
      z
        .int()
        .min(0)
        .max(64 * GiB)
        .prefault(64 * MiB),
      'Memory for the newest records of all shards, in bytes. Readers within it leave the disk alone.',
    ),
    disk_reserve_bytes: setting(
      z
        .int()
        .min(0)
        .prefault(256 * MiB),
      'With less free space than this, in bytes, nothing new is accepted; what is there can still be read.',
    ),
    retention_ms: setting(
      z
        .int()
        .min(0)
        .prefault(7 * DAY_MS),
      'Milliseconds a message is kept for sessions that have not fetched it; 0 sets no limit. Holds for every storage.type; another value takes effect at the next start, for the messages that are there as well.',
    ),
    retention_bytes: setting(
      z.int().min(0).prefault(0),
      'Bytes of messages kept per message shard, of which there are 16; the oldest beyond it are removed, in the journal by whole segments. 0 sets no limit.',
    ),
  })
  .prefault({});

const log = z
  .strictObject({
    level: setting(
      z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).prefault('info'),
      'The least severe lines that are written.',
    ),
    format: setting(z.enum(['auto', 'pretty', 'json']).prefault('auto'), 'auto: pretty on a terminal, JSON otherwise.'),
  })
  .prefault({});

const start = z
  .strictObject({
    deadline_ms: setting(
      z.int().min(1000).max(3_600_000).prefault(60_000),
      'Milliseconds a single start step may take before the start is given up.',
    ),
  })
  .prefault({});

const shutdown = z
  .strictObject({
    deadline_ms: setting(
      z.int().min(100).max(600_000).prefault(20_000),
      'Milliseconds an orderly stop may take before it is cut short.',
    ),
  })
  .prefault({});

const settings = z.strictObject({
  cluster_name: setting(
    name.prefault('robustmq'),
    'The cluster this node belongs to. Written into the data directory.',
  ),
  node_id: setting(
    nodeId.prefault(1),
    'This node in its cluster, a whole number from 1 up. Written into the data directory.',
  ),
  advertise_host: setting(
    z
      .string()
      .regex(/^[^\s/]+$/, 'must be a host name or an address')
      .optional(),
    {
      description: 'The host name or address under which the other nodes reach this one.',
      defaultText:
        "the host of grpc.bind; when that is every interface, this node's host in meta.peers or the host name",
    },
  ),
  roles: setting(roles.prefault([...ROLES]), 'What this node does: meta, broker, journal (also called engine).'),
  data_path: setting(
    z.string().min(1, 'must not be empty').prefault('./data'),
    'The directory of everything this node keeps. Relative to the working directory.',
  ),
  grpc,
  http,
  meta,
  storage,
  journal,
  mqtt,
  log,
  start,
  shutdown,
});

/** Every setting of a node, with what one alone cannot decide checked as well. */
export const configSchema = settings.superRefine((config, context) => {
  for (const { path, message } of contradictions(config))
    context.addIssue({ code: 'custom', path: [...path], message });
});

export type Settings = z.output<typeof settings>;
