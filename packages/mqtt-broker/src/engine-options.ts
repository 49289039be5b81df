// Every limit and interval of the session engine: unit, default, and why that default.

import { MqttError } from './errors.js';
import { SHARE_STRATEGIES, type ShareStrategyName } from './share/share-strategy.js';

export interface EngineOptions {
  /**
   * Separates the messages and sessions of one tenant from those of another: it is part of every shard name
   * and every key. 1 to 64 of `[A-Za-z0-9_-]`. Default `default`.
   */
  readonly tenant?: string;
  /**
   * How many message shards the topics hash to, 1 to 1,024. Default 16: enough for the appends of a node to
   * run side by side, few enough that a session's cursors are 16 numbers. Fixed once data exists: a topic's
   * messages must stay in one shard, so another number is refused at start.
   */
  readonly messageShards?: number;
  /**
   * QoS 1 and 2 messages on their way to one client, 1 to 65,535. Default 1,024: at 64 bytes and a round trip
   * of 1 ms that is a million messages per second; it bounds what a reconnect must resend.
   */
  readonly inflightMax?: number;
  /**
   * QoS 2 packet ids a client may hold between PUBLISH and PUBREL, 1 to 65,535; what the connection tells it
   * as Receive Maximum. Default 1,024. A client beyond it is disconnected with 0x93. [MQTT-3.3.4-9]
   */
  readonly receiveMaximum?: number;
  /** The QoS granted at most. Default 2. */
  readonly maximumQoS?: 0 | 1 | 2;
  /**
   * The longest session expiry, in seconds; what a client of MQTT 3 with cleanSession 0 gets. Default 7 days:
   * longer than a weekend, and a cursor that nobody comes back for holds the log at most that long.
   */
  readonly sessionExpirySecondsMax?: number;
  /** UTF-8 bytes of a topic name or filter, 1 to 65,535. Default 65,535, which is the protocol's. */
  readonly topicBytesMax?: number;
  /** Levels of a topic name or filter, 1 to 65,536. Default 128: bounds the depth of every trie walk. */
  readonly topicLevelsMax?: number;
  /** How the members of a shared subscription take turns. Default `round_robin`; share-strategy.ts has the list. */
  readonly shareStrategy?: ShareStrategyName;
  /** Subscriptions of one session, at least 1. Default 1,000; the next gets 0x97. */
  readonly subscriptionsMax?: number;
  /**
   * Messages that wait in memory for one client without a durable session whose window or socket is full.
   * Default 1,000, and at most `queuedBytesMax`; the next are dropped and counted, because to wait would let
   * one slow subscriber slow its publishers. Durable sessions wait in the log instead.
   */
  readonly queuedMessagesMax?: number;
  /** The bytes of those messages, per client. Default 1 MiB. */
  readonly queuedBytesMax?: number;
  /**
   * Bytes of messages that wait for storage, per node. Default 32 MiB: above it the sockets of publishers
   * are no longer read until half of it is stored. Below the journal's own limit of 64 MiB, beyond which it
   * would refuse.
   */
  readonly appendingBytesMax?: number;
  /** The same in messages. Default 65,536: a fifth of a second of what one core stores. */
  readonly appendingMessagesMax?: number;
  /** Retained messages, at least 0. Default 1,000,000; the next new topic gets 0x97 and is not kept. */
  readonly retainedMessagesMax?: number;
  /** Bytes of retained topics and payloads. Default 1 GiB, because the mirror is in memory. */
  readonly retainedBytesMax?: number;
  /**
   * Retained messages handed to a new subscription in one turn. Default 256: measured well under 1 ms, so a
   * wildcard over 100,000 retained messages never holds the loop.
   */
  readonly retainedPageMessages?: number;
  /**
   * How often moved cursors are committed, in milliseconds. Default 1,000: what a crash may deliver again is
   * what was acknowledged within it.
   */
  readonly cursorCommitIntervalMs?: number;
  /** How often message shards are trimmed below the lowest cursor, in milliseconds. Default 60,000. */
  readonly trimIntervalMs?: number;
  /**
   * The oldest message kept for a session that does not fetch it, in milliseconds; 0 keeps it until everybody has it.
   * Default 7 days, like the longest session: a log that only grows fills a disk.
   */
  readonly messageRetentionMs?: number;
  /**
   * Bytes of messages kept per message shard; beyond it the oldest go, fetched or not. Default 0, which sets no bound:
   * how much is too much only who sized the disk knows.
   */
  readonly messageRetentionBytes?: number;
  /**
   * Entries of the session log (QoS 2 state) after which it is rewritten as a snapshot. Default 50,000: some
   * 2 MB, read in well under a second at start.
   */
  readonly sessionLogEntriesMax?: number;
}

export type ResolvedEngineOptions = Readonly<Required<EngineOptions>>;

const DAY_MS = 24 * 60 * 60 * 1000;
const MIB = 1024 * 1024;

const DEFAULTS: ResolvedEngineOptions = {
  tenant: 'default',
  messageShards: 16,
  inflightMax: 1024,
  receiveMaximum: 1024,
  maximumQoS: 2,
  sessionExpirySecondsMax: (7 * DAY_MS) / 1000,
  topicBytesMax: 65_535,
  topicLevelsMax: 128,
  shareStrategy: 'round_robin',
  subscriptionsMax: 1000,
  queuedMessagesMax: 1000,
  queuedBytesMax: MIB,
  appendingBytesMax: 32 * MIB,
  appendingMessagesMax: 65_536,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 1024 * MIB,
  retainedPageMessages: 256,
  cursorCommitIntervalMs: 1000,
  trimIntervalMs: 60_000,
  messageRetentionMs: 7 * DAY_MS,
  messageRetentionBytes: 0,
  sessionLogEntriesMax: 50_000,
};

/** Legal values, lowest and highest, of the options that are numbers. */
const RANGES: { readonly [Name in keyof EngineOptions]?: readonly [low: number, high: number] } = {
  messageShards: [1, 1024],
  inflightMax: [1, 65_535],
  receiveMaximum: [1, 65_535],
  maximumQoS: [0, 2],
  sessionExpirySecondsMax: [0, 0xffff_ffff],
  topicBytesMax: [1, 65_535],
  topicLevelsMax: [1, 65_536],
  subscriptionsMax: [1, Number.MAX_SAFE_INTEGER],
  queuedMessagesMax: [0, Number.MAX_SAFE_INTEGER],
  queuedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  appendingBytesMax: [1, Number.MAX_SAFE_INTEGER],
  appendingMessagesMax: [1, Number.MAX_SAFE_INTEGER],
  retainedMessagesMax: [0, Number.MAX_SAFE_INTEGER],
  retainedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  retainedPageMessages: [1, 65_536],
  cursorCommitIntervalMs: [1, 60 * 60 * 1000],
  trimIntervalMs: [1, DAY_MS],
  messageRetentionMs: [0, Number.MAX_SAFE_INTEGER],
  messageRetentionBytes: [0, Number.MAX_SAFE_INTEGER],
  sessionLogEntriesMax: [100, Number.MAX_SAFE_INTEGER],
};

/** Fills in the defaults and refuses what is out of range. Errors: INVALID_OPTION. */
export function resolveEngineOptions(given: EngineOptions): ResolvedEngineOptions {
  const resolved = { ...DEFAULTS, ...given };
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(resolved.tenant))
    throw new MqttError('INVALID_OPTION', `tenant "${resolved.tenant}": 1 to 64 of A-Z a-z 0-9 _ - are allowed`);
  if (!SHARE_STRATEGIES.includes(resolved.shareStrategy))
    throw new MqttError(
      'INVALID_OPTION',
      `shareStrategy "${resolved.shareStrategy}" is unknown: ${SHARE_STRATEGIES.join(', ')}`,
    );
  for (const [name, range] of Object.entries(RANGES)) {
    const value = resolved[name as keyof EngineOptions]; // RANGES has only names of options
    const [low, high] = range;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < low || value > high)
      throw new MqttError(
        'INVALID_OPTION',
        `${name} is ${String(value)}: a whole number from ${low} to ${high} is legal`,
      );
  }
  return resolved;
}
