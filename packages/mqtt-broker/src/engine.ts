// The session engine: what MQTT means, over storage and meta, without a socket.
//
// Start: message shards, retained messages, sessions; then clients. Close is the reverse.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import type { Offset, ShardConfig, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { DurableDelivery } from './deliver/durable-delivery.js';
import { EngineMessages, type OpenShards } from './engine-messages.js';
import { type EngineOptions, type ResolvedEngineOptions, resolveEngineOptions } from './engine-options.js';
import { EngineSessions } from './engine-sessions.js';
import { MqttError } from './errors.js';
import { RetainedStore } from './retained/retained-store.js';
import { SessionLog } from './session/session-log.js';
import { type RecoveredLog, recoverSessionLog } from './session/session-log-recovery.js';
import type { EngineStats, SessionEngine, SubscriptionPolicy, WillPolicy } from './session/session-port.js';
import { SessionStore, type StoredSession } from './session/session-store.js';

export interface EngineDeps {
  readonly storage: ShardStorage;
  readonly meta: MetaClient;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Everybody may by default: the connection has asked at CONNECT. */
  readonly willPolicy?: WillPolicy;
  /** Asked again for what a session holds, when its client comes back and in recheckSubscriptions(). Default: allow. */
  readonly subscriptionPolicy?: SubscriptionPolicy;
  /** Seeds the random share strategies. */
  readonly seed?: string;
}

/** Opens what is stored and resolves when clients may come. Errors: StorageError, MetaError, MqttError INVALID_OPTION. */
export async function createEngine(given: EngineOptions, deps: EngineDeps): Promise<SessionEngine> {
  const options = resolveEngineOptions(given);
  const logger = deps.logger ?? nullLogger;
  const [shards, retained] = await Promise.all([
    openShards(deps.storage, options),
    RetainedStore.open({ ...deps, logger, options }),
  ]);
  const stored: StoredSession[] = [];
  for await (const session of new SessionStore(deps.meta, options.tenant).load()) stored.push(session);
  const recovered = await recover(stored, { ...deps, logger, options, shards });
  const { storage, meta, clock, willPolicy = () => 'allow' as const, seed = 'share' } = deps;
  const messages: EngineMessages = new EngineMessages({
    options,
    storage,
    clock,
    logger,
    shards,
    retained,
    seed,
    onShareProgress: (backlog) => sessions.cursors.moved(backlog),
    onGap: (shard, from) => onGap(messages, { sessions, shard, from }),
  });
  const sessionLog = new SessionLog({ storage, clock, logger, entriesMax: options.sessionLogEntriesMax }, recovered);
  const sessions = new EngineSessions({
    options,
    storage,
    meta,
    clock,
    logger,
    shards,
    messages,
    sessionLog,
    willPolicy,
    subscriptionPolicy: deps.subscriptionPolicy ?? (() => 'allow'),
  });
  await sessions.restore(stored, recovered.sessions);
  return new Engine(messages, sessions);
}

/** Whoever is live in the shard reads what it was never handed. */
function onGap(
  { shares }: EngineMessages,
  { sessions, shard, from }: { readonly sessions: EngineSessions; readonly shard: number; readonly from: number },
): void {
  for (const { delivery } of sessions.registry.values())
    if (delivery instanceof DurableDelivery) delivery.onGap(shard, from);
  shares.onGap(shard, from);
}

interface Recovered extends RecoveredLog {
  readonly id: ShardId;
  readonly end: Offset;
}

async function recover(
  stored: readonly StoredSession[],
  deps: EngineDeps & {
    readonly logger: Logger;
    readonly options: ResolvedEngineOptions;
    readonly shards: OpenShards;
  },
): Promise<Recovered> {
  const { storage, logger, options, shards } = deps;
  const id = await storage.createShard(`mqtt/${options.tenant}/session-log`, { cleanup: 'keep' });
  const born = new Map(stored.map(({ clientId, record }) => [clientId, record.born]));
  const bornOf = (clientId: string) => born.get(clientId);
  const recovered = await recoverSessionLog(id, { storage, logger, messageShards: shards.ids, bornOf });
  return { ...recovered, id, end: (await storage.describeShard(id)).end };
}

async function openShards(storage: ShardStorage, options: ResolvedEngineOptions): Promise<OpenShards> {
  const prefix = `mqtt/${options.tenant}/messages/`;
  const existing = (await storage.listShards(prefix)).length;
  if (existing > 0 && existing !== options.messageShards)
    throw new MqttError(
      'INVALID_OPTION',
      `messageShards is ${options.messageShards}, but the messages that exist lie in ${existing}: a topic would move, so keep ${existing}`,
    );
  const config: ShardConfig = {
    cleanup: 'delete',
    ...(options.messageRetentionMs > 0 ? { retentionMs: options.messageRetentionMs } : {}),
    ...(options.messageRetentionBytes > 0 ? { retentionBytes: options.messageRetentionBytes } : {}),
  };
  // All at once: a first start creates them, and each costs a change of meta and of the disk.
  const opened = await Promise.all(
    Array.from(
      { length: options.messageShards },
      async (_, n) => await storage.describeShard(await storage.createShard(`${prefix}${n}`, config)),
    ),
  );
  return {
    ids: opened.map(({ shard }) => shard),
    ends: opened.map(({ end }) => end),
    starts: opened.map(({ logStart }) => logStart),
  };
}

class Engine implements SessionEngine {
  readonly #messages: EngineMessages;
  readonly #sessions: EngineSessions;

  constructor(messages: EngineMessages, sessions: EngineSessions) {
    this.#messages = messages;
    this.#sessions = sessions;
  }

  get stats(): EngineStats {
    const { stats, path, index, retained } = this.#messages;
    const { registry } = this.#sessions;
    return {
      sessions: registry.size,
      sessionsOnline: registry.online,
      subscriptions: index.size,
      retainedMessages: retained.size,
      retainedBytes: retained.bytes,
      messagesReceived: path.received,
      messagesDelivered: stats.delivered,
      messagesStored: path.stored,
      messagesDropped: {
        congested: stats.droppedCongested,
        queueFull: stats.droppedQueueFull,
        tooLarge: stats.droppedTooLarge,
        expired: stats.droppedExpired,
      },
    };
  }

  attach: SessionEngine['attach'] = (request) => this.#sessions.registry.attach(request);

  publish: SessionEngine['publish'] = (message) => this.#messages.path.publishLocal(message);

  subscribe: SessionEngine['subscribe'] = (topicFilter, listener) =>
    this.#messages.dispatcher.listen(topicFilter, listener);

  recheckSubscriptions(): void {
    this.#sessions.recheckSubscriptions();
  }

  async close(): Promise<void> {
    await this.#sessions.closeLinks();
    await this.#messages.quiet();
    await this.#sessions.close();
  }
}
