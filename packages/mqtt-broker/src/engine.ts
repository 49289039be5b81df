// The session engine: what MQTT means, over storage and meta, without a socket.
//
// Start: message shards, retained messages, sessions; then clients. Close is the reverse.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import { type Logger, nullLogger } from '@robustmq/stdx/logger';
import { createPrng } from '@robustmq/stdx/prng';
import type { Offset, ShardId, ShardStorage } from '@robustmq/storage-adapter';
import { DeliveryStats } from './deliver/delivery-stats.js';
import { Dispatcher } from './deliver/dispatcher.js';
import { DurableDelivery } from './deliver/durable-delivery.js';
import { MessageReader } from './deliver/message-reader.js';
import { ShareDispatcher } from './deliver/share-dispatcher.js';
import { type EngineOptions, type ResolvedEngineOptions, resolveEngineOptions } from './engine-options.js';
import { MqttError } from './errors.js';
import { MessageLog } from './publish/message-log.js';
import type { Publication } from './publish/publication.js';
import { PublishPath } from './publish/publish-path.js';
import { PublisherBrake } from './publish/publisher-brake.js';
import { RetainedFeed } from './retained/retained-feed.js';
import { RetainedStore } from './retained/retained-store.js';
import { SubscriptionIndex } from './route/subscription-index.js';
import { CursorKeeper, type CursorOwner } from './session/cursor-keeper.js';
import type { Session } from './session/session.js';
import { SessionFactory } from './session/session-factory.js';
import { SessionLink, type SessionLinkDeps } from './session/session-link.js';
import { SessionLog } from './session/session-log.js';
import type { SessionState } from './session/session-log-entry.js';
import { type RecoveredLog, type RecoveredSession, recoverSessionLog } from './session/session-log-recovery.js';
import type { EngineStats, SessionEngine, WillPolicy } from './session/session-port.js';
import { SessionRegistry } from './session/session-registry.js';
import { SessionStore, type StoredSession } from './session/session-store.js';
import { ShareKeeper } from './session/share-keeper.js';
import { SubscriptionDesk } from './session/subscription-desk.js';
import { createShareStrategy } from './share/share-strategy.js';
import { WillDesk } from './will/will-desk.js';

export interface EngineDeps {
  readonly storage: ShardStorage;
  readonly meta: MetaClient;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Everybody may by default: the connection has asked at CONNECT. */
  readonly willPolicy?: WillPolicy;
  /** Seeds the random share strategies. */
  readonly seed?: string;
}

interface OpenShards {
  readonly ids: readonly ShardId[];
  readonly ends: readonly Offset[];
  readonly starts: readonly Offset[];
}

/** Opens what is stored and resolves when clients may come. Errors: StorageError, MetaError, MqttError INVALID_OPTION. */
export async function createEngine(options: EngineOptions, deps: EngineDeps): Promise<SessionEngine> {
  const resolved = resolveEngineOptions(options);
  const logger = deps.logger ?? nullLogger;
  const shards = await openShards(deps.storage, resolved);
  const retained = await RetainedStore.open({ ...deps, logger, options: resolved });
  const stored: StoredSession[] = [];
  for await (const session of new SessionStore(deps.meta, resolved.tenant).load()) stored.push(session);
  const recovered = await recover(stored, { ...deps, logger, options: resolved, shards });
  const engine = new Engine(resolved, { ...deps, logger, shards, retained, recovered });
  await engine.restore(stored);
  return engine;
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
  const ids: ShardId[] = [];
  const ends: Offset[] = [];
  const starts: Offset[] = [];
  for (let n = 0; n < options.messageShards; n++) {
    const name = `${prefix}${n}`;
    const config = { cleanup: 'delete', retentionMs: options.messageRetentionMs } as const;
    const id = await storage.createShard(name, config);
    const { end, logStart } = await storage.describeShard(id);
    ids.push(id);
    ends.push(end);
    starts.push(logStart);
  }
  return { ids, ends, starts };
}

class Engine implements SessionEngine {
  readonly #options: ResolvedEngineOptions;
  readonly #delivery = new DeliveryStats();
  readonly #index: SubscriptionIndex<Session>;
  readonly #dispatcher: Dispatcher;
  readonly #publishPath: PublishPath;
  readonly #brake: PublisherBrake;
  readonly #log: MessageLog<Publication>;
  readonly #reader: MessageReader;
  readonly #retained: RetainedStore;
  readonly #feed: RetainedFeed;
  readonly #store: SessionStore;
  readonly #desk: SubscriptionDesk;
  readonly #registry: SessionRegistry;
  readonly #shares: ShareDispatcher;
  readonly #shareKeeper: ShareKeeper;
  readonly #sessions: SessionFactory;
  readonly #cursors: CursorKeeper;
  readonly #linkDeps: SessionLinkDeps;
  readonly #sessionLog: SessionLog;
  #recovered: ReadonlyMap<string, RecoveredSession>;

  constructor(
    options: ResolvedEngineOptions,
    deps: EngineDeps & {
      readonly logger: Logger;
      readonly shards: OpenShards;
      readonly retained: RetainedStore;
      readonly recovered: Recovered;
    },
  ) {
    const { storage, meta, clock, logger, shards, retained, recovered } = deps;
    this.#options = options;
    this.#retained = retained;
    this.#recovered = recovered.sessions;
    this.#sessionLog = new SessionLog({ storage, clock, logger, entriesMax: options.sessionLogEntriesMax }, recovered);
    const prng = createPrng(deps.seed ?? 'share');
    this.#index = new SubscriptionIndex<Session>({
      strategyFor: (group, filter) => createShareStrategy(options.shareStrategy, prng.fork(`${group}/${filter}`)),
    });
    this.#reader = new MessageReader({ storage, clock, logger }, shards.ids);
    this.#shares = new ShareDispatcher({
      options,
      stats: this.#delivery,
      clock,
      logger,
      reader: this.#reader,
      endOf: (shard) => this.#log.endOf(shard),
      onProgress: (backlog) => this.#cursors.moved(backlog),
    });
    this.#dispatcher = new Dispatcher({
      index: this.#index,
      shares: this.#shares,
      stats: this.#delivery,
      shards: options.messageShards,
    });
    this.#brake = new PublisherBrake(options.appendingBytesMax, () => this.#log.bytesUnderWay);
    this.#publishPath = new PublishPath({
      options,
      clock,
      logger,
      dispatcher: this.#dispatcher,
      retained,
      brake: this.#brake,
    });
    const path = this.#publishPath;
    this.#log = new MessageLog<Publication>(
      {
        storage,
        clock,
        handler: {
          onStored: (publication, shard, offset) => path.onStored(publication, shard, offset),
          onRepeated: (publication, shard, offset) => path.onRepeated(publication, shard, offset),
          onFollowed: (publication) => path.onFollowed(publication),
          onFailed: (publication, error) => path.onFailed(publication, error),
          onGap: (shard, from) => this.#onGap(shard, from),
        },
      },
      shards.ids.map((id, n) => ({ id, end: shards.ends[n] as Offset })), // one per shard
    );
    path.writeTo(this.#log);
    this.#feed = new RetainedFeed({ retained, stats: this.#delivery, clock, options });
    this.#store = new SessionStore(meta, options.tenant);
    this.#cursors = new CursorKeeper({
      afterCommit: () => this.#snapshotIfDue(),
      storage,
      clock,
      logger,
      options,
      shards,
      endOf: (shard) => this.#log.endOf(shard),
    });
    this.#shareKeeper = new ShareKeeper({
      index: this.#index,
      shares: this.#shares,
      cursors: this.#cursors,
      logger,
      ends: () => this.#ends(),
    });
    this.#desk = new SubscriptionDesk({
      options,
      logger,
      index: this.#index,
      retained,
      feed: this.#feed,
      sinceFor: (session) => this.#sinceFor(session),
      shareKeeper: this.#shareKeeper,
    });
    this.#sessions = new SessionFactory({
      options,
      clock,
      logger,
      stats: this.#delivery,
      store: this.#store,
      reader: this.#reader,
      sessionLog: this.#sessionLog,
      endOf: (shard) => this.#log.endOf(shard),
      onRoom: (session) => this.#onRoom(session),
      onProgress: (owner) => this.#cursors.moved(owner),
    });
    this.#linkDeps = {
      options,
      publishPath: path,
      desk: this.#desk,
      releaseIncoming: (session, packetId, then) => this.#releaseIncoming(session, packetId, then),
      onStart: (session) => this.#onRoom(session),
      onDetach: (link, reason) => this.#registry.detach(link, reason),
    };
    const policy = deps.willPolicy ?? (() => 'allow' as const);
    this.#registry = new SessionRegistry({
      clock,
      logger,
      wills: new WillDesk({ clock, logger, tenant: options.tenant, publishPath: path, policy }),
      createSession: (clientId, lifetime) => this.#sessions.create(clientId, lifetime),
      restoreSession: (stored) => this.#restoreSession(stored),
      createLink: (session, connection) => new SessionLink(session, connection, this.#linkDeps),
      onAttached: (session) => {
        if (session.subscriptions.size > 0) this.#dispatcher.connected();
      },
      onDetached: async (session, port) => {
        this.#brake.forget(port);
        if (session.delivery instanceof DurableDelivery) await this.#cursors.commit(session.delivery);
      },
      onEnded: async (session, port) => {
        if (port !== undefined) this.#brake.forget(port);
        this.#desk.withdrawAll(session);
        this.#feed.forget(session);
        await session.writer.remove();
        if (session.delivery instanceof DurableDelivery) await this.#cursors.forget(session.delivery);
      },
    });
  }

  get stats(): EngineStats {
    const { delivered, droppedCongested, droppedQueueFull, droppedTooLarge, droppedExpired } = this.#delivery;
    return {
      sessions: this.#registry.size,
      sessionsOnline: this.#registry.online,
      subscriptions: this.#index.size,
      retainedMessages: this.#retained.size,
      retainedBytes: this.#retained.bytes,
      messagesReceived: this.#publishPath.received,
      messagesDelivered: delivered,
      messagesStored: this.#publishPath.stored,
      messagesDropped: {
        congested: droppedCongested,
        queueFull: droppedQueueFull,
        tooLarge: droppedTooLarge,
        expired: droppedExpired,
      },
    };
  }

  attach: SessionEngine['attach'] = (request) => this.#registry.attach(request);

  publish: SessionEngine['publish'] = (message) => this.#publishPath.publishLocal(message);

  subscribe: SessionEngine['subscribe'] = (topicFilter, listener) => this.#dispatcher.listen(topicFilter, listener);

  async restore(sessions: readonly StoredSession[]): Promise<void> {
    for (const stored of sessions) await this.#registry.restore(stored);
    this.#recovered = new Map(); // every session has taken its own
    await this.#shareKeeper.restore();
    await this.#registry.startTimers();
    this.#cursors.start(() => this.#cursorOwners());
  }

  async close(): Promise<void> {
    await this.#registry.close();
    this.#shares.close();
    await Promise.all([this.#log.quiet(), this.#sessionLog.quiet(), this.#retained.quiet()]);
    await this.#cursors.close();
  }

  async #restoreSession(stored: StoredSession): Promise<Session> {
    const { clientId, record } = stored;
    const consumer = this.#sessions.consumerOf(clientId);
    const positions = record.beginnings.length === 0 ? [] : await this.#cursors.read(consumer, record.beginnings);
    const session = this.#sessions.restore(stored, { positions, recovered: this.#recovered.get(clientId) });
    if (session.delivery instanceof DurableDelivery) this.#cursors.restored(session.delivery, positions);
    await this.#desk.restore(session, record.subscriptions);
    return session;
  }

  #releaseIncoming(session: Session, packetId: number, then: () => void): void {
    const incoming = session.incoming.get(packetId);
    const at = incoming === undefined || incoming.kind === 'storing' ? undefined : incoming.at;
    const release = () => {
      if (session.incoming.get(packetId) === incoming) session.incoming.take(packetId);
      then();
    };
    // Without a place it was not stored, and a restart knows nothing of it anyway.
    if (at === undefined || session.lifetime === 'transient') release();
    else this.#sessionLog.note(session, { kind: 'released', packetId, at }, release);
  }

  *#sessionStates(): Generator<SessionState> {
    for (const session of this.#registry.values()) {
      if (!(session.delivery instanceof DurableDelivery)) continue;
      const kept = [...session.delivery.kept()];
      for (const [packetId, incoming] of session.incoming.entries())
        if (incoming.kind !== 'storing' && incoming.at !== undefined)
          kept.push({ kind: 'inbound', packetId, at: incoming.at });
      if (kept.length > 0) yield { kind: 'state', clientId: session.clientId, epoch: session.epoch, kept };
    }
  }

  async #snapshotIfDue(): Promise<void> {
    await this.#sessionLog.snapshotIfDue(this.#ends(), () => this.#sessionStates());
  }

  #ends(): number[] {
    return Array.from({ length: this.#options.messageShards }, (_, shard) => this.#log.endOf(shard));
  }

  *#cursorOwners(): Generator<CursorOwner> {
    for (const { delivery } of this.#registry.values()) if (delivery instanceof DurableDelivery) yield delivery;
    yield* this.#shareKeeper.owners();
  }

  #onRoom(session: Session): void {
    this.#feed.resume(session);
    this.#shares.onRoom();
  }

  /** A new subscription gets nothing that was published before it, also where the session has not read to the end. */
  #sinceFor(session: Session): ReadonlyMap<number, number> {
    const since = new Map<number, number>();
    if (!(session.delivery instanceof DurableDelivery)) return since;
    for (let shard = 0; shard < this.#options.messageShards; shard++) {
      const end = this.#log.endOf(shard);
      if (session.delivery.cursor(shard) < end) since.set(shard, end);
    }
    return since;
  }

  #onGap(shard: number, from: number): void {
    for (const { delivery } of this.#registry.values())
      if (delivery instanceof DurableDelivery) delivery.onGap(shard, from);
    this.#shares.onGap(shard, from);
  }
}
