// The half of the engine that knows sessions: who is here, what is kept of them, and how they come and go.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { ShardStorage } from '@robustmq/storage-adapter';
import { DurableDelivery } from './deliver/durable-delivery.js';
import type { EngineMessages, OpenShards } from './engine-messages.js';
import type { ResolvedEngineOptions } from './engine-options.js';
import { CursorKeeper, type CursorOwner } from './session/cursor-keeper.js';
import type { Session } from './session/session.js';
import { SessionFactory } from './session/session-factory.js';
import { SessionLink, type SessionLinkDeps } from './session/session-link.js';
import type { SessionLog } from './session/session-log.js';
import type { SessionState } from './session/session-log-entry.js';
import type { RecoveredSession } from './session/session-log-recovery.js';
import type { SubscriptionPolicy, WillPolicy } from './session/session-port.js';
import { SessionRegistry } from './session/session-registry.js';
import { SessionStore, type StoredSession } from './session/session-store.js';
import { ShareKeeper } from './session/share-keeper.js';
import { SubscriptionDesk } from './session/subscription-desk.js';
import { WillDesk } from './will/will-desk.js';

export interface EngineSessionsDeps {
  readonly options: ResolvedEngineOptions;
  readonly storage: ShardStorage;
  readonly meta: MetaClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly shards: OpenShards;
  readonly messages: EngineMessages;
  readonly sessionLog: SessionLog;
  readonly willPolicy: WillPolicy;
  readonly subscriptionPolicy: SubscriptionPolicy;
}

/** Sessions read at once at a start: enough to keep storage busy. */
const RESTORED_TOGETHER = 256;

export class EngineSessions {
  readonly registry: SessionRegistry;
  readonly cursors: CursorKeeper;
  readonly #deps: EngineSessionsDeps;
  readonly #messages: EngineMessages;
  readonly #sessionLog: SessionLog;
  readonly #shareKeeper: ShareKeeper;
  readonly #desk: SubscriptionDesk;
  readonly #factory: SessionFactory;
  #recovered: ReadonlyMap<string, RecoveredSession> = new Map();

  constructor(deps: EngineSessionsDeps) {
    const { options, storage, meta, clock, logger, shards, messages, sessionLog } = deps;
    const { index, shares, retained, feed, stats, reader } = messages;
    const endOf = (shard: number) => messages.log.endOf(shard);
    this.#deps = deps;
    this.#messages = messages;
    this.#sessionLog = sessionLog;
    const afterCommit = () => this.#snapshotIfDue();
    this.cursors = new CursorKeeper({ storage, clock, logger, options, shards, endOf, afterCommit });
    const { cursors } = this;
    this.#shareKeeper = new ShareKeeper({ index, shares, cursors, logger, ends: () => messages.ends() });
    const sinceFor = (session: Session) => this.#sinceFor(session);
    const shareKeeper = this.#shareKeeper;
    this.#desk = new SubscriptionDesk({ options, logger, index, retained, feed, sinceFor, shareKeeper });
    this.#factory = new SessionFactory({
      options,
      clock,
      logger,
      stats,
      store: new SessionStore(meta, options.tenant),
      reader,
      sessionLog,
      endOf,
      onRoom: (session) => messages.onRoom(session),
      onProgress: (owner) => cursors.moved(owner),
    });
    this.registry = this.#openRegistry(deps);
  }

  /** Sessions as they were kept; their wills and timers come last, when everybody is back. Errors: StorageError. */
  async restore(sessions: readonly StoredSession[], recovered: ReadonlyMap<string, RecoveredSession>): Promise<void> {
    this.#recovered = recovered;
    for (let i = 0; i < sessions.length; i += RESTORED_TOGETHER)
      await Promise.all(sessions.slice(i, i + RESTORED_TOGETHER).map((stored) => this.registry.restore(stored)));
    this.#recovered = new Map(); // every session has taken its own
    await this.#shareKeeper.restore();
    await this.registry.startTimers();
    this.cursors.start(() => this.#cursorOwners());
  }

  /** Two halves, because what is under way must end in between: first nobody is sent anything any more. */
  async closeLinks(): Promise<void> {
    await this.registry.close();
    this.#messages.shares.close();
  }

  async close(): Promise<void> {
    await this.#sessionLog.quiet();
    await this.cursors.close();
  }

  /** Withdraws what the clients that are here may not read any more; what they were sent is not called back. */
  recheckSubscriptions(): void {
    for (const session of this.registry.values()) this.#recheck(session);
  }

  #recheck(session: Session): void {
    const port = session.link?.port;
    if (port === undefined) return; // nobody to ask for: done when it comes back
    const { subscriptionPolicy: policy } = this.#deps;
    this.#desk.withdrawWhere(session, ({ filter }) => policy(port, filter) === 'deny');
  }

  #openRegistry({ options, clock, logger, willPolicy: policy }: EngineSessionsDeps): SessionRegistry {
    const { path: publishPath } = this.#messages;
    const linkDeps: SessionLinkDeps = {
      options,
      logger,
      publishPath,
      desk: this.#desk,
      releaseIncoming: (session, packetId, then) => this.#releaseIncoming(session, packetId, then),
      onStart: (session) => this.#messages.onRoom(session),
      onDetach: (link, reason) => this.registry.detach(link, reason),
    };
    return new SessionRegistry({
      clock,
      logger,
      wills: new WillDesk({ clock, logger, tenant: options.tenant, publishPath, policy }),
      createSession: (clientId, lifetime) => this.#factory.create(clientId, lifetime),
      restoreSession: (stored) => this.#restoreSession(stored),
      createLink: (session, connection) => new SessionLink(session, connection, linkDeps),
      onAttached: (session) => {
        this.#recheck(session);
        if (session.subscriptions.size > 0) this.#messages.dispatcher.connected();
      },
      onDetached: (session, link) => this.#onDetached(session, link),
      onEnded: (session, link) => this.#onEnded(session, link),
    });
  }

  async #onDetached({ delivery }: Session, link: SessionLink): Promise<void> {
    this.#messages.brake.forget(link);
    if (delivery instanceof DurableDelivery) await this.cursors.commit(delivery);
  }

  async #onEnded(session: Session, link: SessionLink | undefined): Promise<void> {
    if (link !== undefined) this.#messages.brake.forget(link);
    this.#desk.withdrawAll(session);
    this.#messages.feed.forget(session);
    if (session.hasRecord) await session.writer.remove();
    if (session.delivery instanceof DurableDelivery) await this.cursors.forget(session.delivery);
  }

  async #restoreSession(stored: StoredSession): Promise<Session> {
    const { clientId, record } = stored;
    const consumer = this.#factory.consumerOf(clientId);
    const positions = record.beginnings.length === 0 ? [] : await this.cursors.read(consumer, record.beginnings);
    const session = this.#factory.restore(stored, { positions, recovered: this.#recovered.get(clientId) });
    if (session.delivery instanceof DurableDelivery) this.cursors.restored(session.delivery, positions);
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
    else {
      const failed = () => {}; // the client is disconnected, and sends PUBREL again
      this.#sessionLog.note(session, { kind: 'released', packetId, at }, { then: release, failed });
    }
  }

  async #snapshotIfDue(): Promise<void> {
    await this.#sessionLog.snapshotIfDue(this.#messages.ends(), () => this.#sessionStates());
  }

  *#sessionStates(): Generator<SessionState> {
    for (const session of this.registry.values()) {
      if (!(session.delivery instanceof DurableDelivery)) continue;
      const kept = [...session.delivery.kept()];
      for (const [packetId, incoming] of session.incoming.entries())
        if (incoming.kind !== 'storing' && incoming.at !== undefined)
          kept.push({ kind: 'inbound', packetId, at: incoming.at });
      if (kept.length > 0) yield { kind: 'state', clientId: session.clientId, epoch: session.epoch, kept };
    }
  }

  *#cursorOwners(): Generator<CursorOwner> {
    for (const { delivery } of this.registry.values()) if (delivery instanceof DurableDelivery) yield delivery;
    yield* this.#shareKeeper.owners();
  }

  /** A new subscription gets nothing that was published before it, also where the session has not read to the end. */
  #sinceFor({ delivery }: Session): ReadonlyMap<number, number> {
    const since = new Map<number, number>();
    if (!(delivery instanceof DurableDelivery)) return since;
    const cursors = delivery.cursors();
    for (const [shard, end] of this.#messages.ends().entries())
      if ((cursors[shard] ?? end) < end) since.set(shard, end);
    return since;
  }
}
