// Makes sessions with the delivery that fits their lifetime.

import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { ReasonCode } from '../codec/reason-codes.js';
import type { DeliveryStats } from '../deliver/delivery-stats.js';
import { DurableDelivery } from '../deliver/durable-delivery.js';
import type { MessageReader } from '../deliver/message-reader.js';
import { TransientDelivery } from '../deliver/transient-delivery.js';
import type { ResolvedEngineOptions } from '../engine-options.js';
import type { CursorOwner } from './cursor-keeper.js';
import { RecordWriter } from './record-writer.js';
import { Session } from './session.js';
import type { SessionLog } from './session-log.js';
import type { RecoveredSession } from './session-log-recovery.js';
import { NO_REVISION, type SessionStore, type StoredSession } from './session-store.js';

export interface SessionFactoryDeps {
  readonly options: ResolvedEngineOptions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stats: DeliveryStats;
  readonly store: SessionStore;
  readonly reader: MessageReader;
  readonly sessionLog: SessionLog;
  readonly endOf: (shard: number) => number;
  readonly onRoom: (session: Session) => void;
  readonly onProgress: (owner: CursorOwner) => void;
}

interface Origin {
  readonly lifetime: Session['lifetime'];
  readonly revision: number;
  readonly positions: readonly number[];
  readonly recovered: RecoveredSession | undefined;
}

export class SessionFactory {
  readonly #deps: SessionFactoryDeps;

  constructor(deps: SessionFactoryDeps) {
    this.#deps = deps;
  }

  /** A new session reads from here on. */
  create(clientId: string, lifetime: Session['lifetime']): Session {
    const positions = lifetime === 'transient' ? [] : this.#ends();
    const session = this.#make(clientId, { lifetime, revision: NO_REVISION, positions, recovered: undefined });
    session.beginnings = positions;
    return session;
  }

  /** A session as it was kept. */
  restore(
    { clientId, record, revision }: StoredSession,
    {
      positions,
      recovered,
    }: { readonly positions: readonly number[]; readonly recovered: RecoveredSession | undefined },
  ): Session {
    // Only its will made a transient session worth keeping.
    const lifetime = record.beginnings.length === 0 ? 'transient' : 'durable';
    const session = this.#make(clientId, { lifetime, revision, positions, recovered });
    for (const [packetId, at] of recovered?.inbound ?? []) session.incoming.set(packetId, { kind: 'restored', at });
    return session;
  }

  /** The consumer group of a session's cursors. */
  consumerOf(clientId: string): string {
    return `mqtt/${this.#deps.options.tenant}/sessions/${clientId}`;
  }

  #make(clientId: string, origin: Origin): Session {
    const { store } = this.#deps;
    return new Session({
      clientId,
      lifetime: origin.lifetime,
      record: origin.revision === NO_REVISION ? 'none' : 'kept',
      writer: (session) =>
        new RecordWriter({
          store,
          clientId,
          revision: origin.revision,
          current: () => session.record(),
          onFenced: () => session.link?.port.disconnect(ReasonCode.sessionTakenOver),
        }),
      delivery: (session) =>
        origin.lifetime === 'transient' ? this.#transient(session) : this.#durable(session, origin),
    });
  }

  #transient(session: Session): TransientDelivery {
    return new TransientDelivery(session, this.#deps);
  }

  #durable(session: Session, { positions, recovered }: Origin): DurableDelivery {
    const { options, stats, clock, logger, reader, sessionLog, endOf, onRoom, onProgress } = this.#deps;
    const delivery: DurableDelivery = new DurableDelivery(
      {
        consumer: this.consumerOf(session.clientId),
        options,
        stats,
        clock,
        logger,
        reader,
        endOf,
        note: (step, outcome) => sessionLog.note(session, step, outcome),
        grantFor: (message, at) => session.grantFor(message, at),
        onRoom: () => onRoom(session),
        onProgress: () => onProgress(delivery),
      },
      { positions, deliveries: [...(recovered?.outbound.values() ?? [])], done: recovered?.done ?? [] },
    );
    return delivery;
  }

  #ends(): number[] {
    return Array.from({ length: this.#deps.options.messageShards }, (_, shard) => this.#deps.endOf(shard));
  }
}
