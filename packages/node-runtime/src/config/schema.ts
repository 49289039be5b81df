// Every setting, once: its type, default, legal range, and what it means. The types, the reference
// (docs/reference/configuration.md), the reading of environment and flags, and `config print` all follow
// from this schema.
//
// A new setting is one line here, and `node scripts/write-reference.mjs` in this package.

import { GiB, KiB, MiB } from '@robustmq/stdx/byte-size';
import { z } from 'zod';
import { type Address, isLoopback, parseAddress } from './address.js';

export const ROLES = ['meta', 'broker', 'journal'] as const;
export type Role = (typeof ROLES)[number];

/** Shorter secrets can be guessed by trying. */
const SECRET_LENGTH_MIN = 16;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Extra facts a setting carries into the reference and into printing. */
interface SettingFacts {
  readonly description: string;
  /** Masked wherever settings are shown. */
  readonly secret?: boolean;
  /** Said in the reference when the default is worked out at start. */
  readonly defaultText?: string;
}

/** A setting with its facts; the one way settings are described below. */
function setting<Schema extends z.ZodType>(schema: Schema, facts: SettingFacts | string): Schema {
  return schema.meta(typeof facts === 'string' ? { description: facts } : { ...facts });
}

const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (parsed) return parsed;
  context.addIssue(`must be host:port, such as 127.0.0.1:1883 or [::1]:1883, not "${text}"`);
  return z.NEVER;
});

const listenerAddress = z.string().transform((text, context): Address | 'off' => {
  if (text === 'off') return 'off';
  const parsed = parseAddress(text);
  if (parsed) return parsed;
  context.addIssue(`must be host:port, such as 0.0.0.0:1883, or "off", not "${text}"`);
  return z.NEVER;
});

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

const storage = z
  .strictObject({
    type: setting(
      z.enum(['journal', 'memory', 'level']).prefault('journal'),
      'Where messages are kept. journal: on disk, every acknowledged message synced. level: on disk, for small nodes. memory: gone with the process.',
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
      'Milliseconds a closed segment is kept after its newest record; 0 keeps it for ever.',
    ),
    retention_bytes: setting(
      z.int().min(0).prefault(0),
      'Bytes kept per shard; the oldest closed segments beyond it are removed. 0 sets no limit.',
    ),
  })
  .prefault({});

const listeners = z
  .strictObject({
    tcp: z
      .strictObject({
        bind: setting(listenerAddress.prefault('0.0.0.0:1883'), 'MQTT over TCP; "off" for none.'),
      })
      .prefault({}),
    ws: z
      .strictObject({
        bind: setting(listenerAddress.prefault('0.0.0.0:8083'), 'MQTT over WebSocket; "off" for none.'),
        path: setting(
          z
            .string()
            .regex(/^\/[^\s?#]*$/, 'must begin with / and hold no blank, ? or #')
            .prefault('/mqtt'),
          'The path of the WebSocket upgrade request.',
        ),
      })
      .prefault({}),
  })
  .prefault({});

const users = z.record(
  z.string().min(1, 'must not be empty').max(1024, 'must have at most 1,024 characters'),
  z.string().regex(/^scrypt\$\d+\$\d+\$\d+\$[^$\s]+\$[^$\s]+$/, 'must be scrypt$N$r$p$salt$key'),
);

const auth = z
  .strictObject({
    anonymous: setting(
      z.enum(['loopback', 'everywhere', 'nowhere']).prefault('loopback'),
      'Who may connect without a user name. loopback: clients on this machine only.',
    ),
    users: setting(users.prefault({}), {
      description: 'User names and the scrypt hashes of their passwords: scrypt$N$r$p$salt$key.',
      secret: true,
    }),
  })
  .prefault({});

const limits = z
  .strictObject({
    max_packet_bytes: setting(
      z
        .int()
        .min(KiB)
        .max(256 * MiB)
        .prefault(MiB),
      'Largest MQTT packet accepted, in bytes. A client that sends a larger one is disconnected.',
    ),
    max_connections: setting(
      z.int().min(1).max(10_000_000).prefault(100_000),
      'Connections open at one time. Left at its default, it is lowered to what the limit on open files allows.',
    ),
    max_inflight: setting(
      z.int().min(1).max(65_535).prefault(1024),
      'QoS 1 and 2 messages sent to one client and not yet acknowledged by it.',
    ),
    max_queued_messages: setting(
      z.int().min(1).max(100_000_000).prefault(1000),
      'Messages waiting in memory for one client without a durable session that reads too slowly; more are dropped and counted. Durable sessions wait in storage.',
    ),
    max_subscriptions: setting(z.int().min(1).max(1_000_000).prefault(1000), 'Subscriptions of one session.'),
    max_topic_levels: setting(z.int().min(1).max(65_536).prefault(128), 'Levels of a topic name or filter.'),
    max_retained_messages: setting(
      z.int().min(0).max(1_000_000_000).prefault(1_000_000),
      'Retained messages; a new one beyond it is refused.',
    ),
    max_retained_bytes: setting(
      z.int().min(0).prefault(GiB),
      'Topics and payloads of all retained messages, in bytes.',
    ),
    connect_timeout_ms: setting(
      z.int().min(100).max(HOUR_MS).prefault(10_000),
      'Milliseconds a new connection has until its CONNECT is complete.',
    ),
    session_expiry_max_seconds: setting(
      z
        .int()
        .min(0)
        .max(0xffff_ffff)
        .prefault(7 * 24 * 3600),
      'Longest time the session of a disconnected client is kept, in seconds.',
    ),
  })
  .prefault({});

const mqtt = z.strictObject({ listeners, auth, limits }).prefault({});

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

interface Contradiction {
  readonly path: readonly string[];
  readonly message: string;
}

/** Settings that are legal alone and wrong together. */
function* contradictions(config: Settings): Iterable<Contradiction> {
  const { grpc, meta, node_id } = config;
  if (!isLoopback(grpc.bind.host) && grpc.secret === undefined) {
    yield {
      path: ['grpc', 'secret'],
      message: `is required because grpc.bind (${grpc.bind.host}) can be reached from other machines: set the same secret on every node, or bind to 127.0.0.1`,
    };
  }
  if (meta.election_ms < 4 * meta.heartbeat_ms) {
    yield {
      path: ['meta', 'election_ms'],
      message: `must be at least four times meta.heartbeat_ms (${meta.heartbeat_ms}), so that one lost heartbeat starts no election`,
    };
  }
  const { auth } = config.mqtt;
  if (config.roles.includes('broker') && auth.anonymous === 'nowhere' && Object.keys(auth.users).length === 0) {
    yield {
      path: ['mqtt', 'auth', 'anonymous'],
      message: 'is "nowhere" and mqtt.auth.users names nobody, so that no client could connect: add a user',
    };
  }
  const hasMeta = config.roles.includes('meta');
  if (hasMeta && meta.peers.size > 0 && !meta.peers.has(node_id)) {
    yield {
      path: ['meta', 'peers'],
      message: `does not list this node (node_id ${node_id}), which has the role meta: add it, or take the role away`,
    };
  }
  if (!hasMeta && meta.peers.size === 0) {
    yield {
      path: ['meta', 'peers'],
      message: 'is required without the role meta: name the node that has it, such as meta.peers.1=127.0.0.1:1228',
    };
  }
}
