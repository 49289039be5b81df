// Who is here, and the life of a session: claimed, resumed, left, ended.
//
// Invariants:
//   G1. One live link per client id. Attaches and detaches of one client id follow each other; the old link is
//       retired, and has been told 0x8E, before the new one exists. [MQTT-3.1.4-3]
//   G2. CONNACK follows the durable claim: the session's record carries a new epoch by then (D12).
//   G3. A session that ended leaves nothing: no subscription, no record, no cursor, no timer. Its will is
//       published before.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { type WireProfile, wireProfile } from '../codec/encode.js';
import { SESSION_NEVER_EXPIRES } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { WillDesk } from '../will/will-desk.js';
import type { Session } from './session.js';
import type { SessionLink } from './session-link.js';
import type { AttachOutcome, AttachRequest, DetachReason, SessionPort } from './session-port.js';
import type { SessionRecord } from './session-record.js';
import type { StoredSession } from './session-store.js';

export interface SessionRegistryDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly wills: WillDesk;
  readonly createSession: (clientId: string, lifetime: Session['lifetime']) => Session;
  /** A session read from meta, with its cursors and what is in flight. */
  readonly restoreSession: (stored: StoredSession) => Promise<Session>;
  readonly createLink: (
    session: Session,
    connection: { readonly port: SessionPort; readonly profile: WireProfile },
  ) => SessionLink;
  readonly onAttached: (session: Session) => void;
  /** The connection is gone, the session lives on: its cursors are worth committing. */
  readonly onDetached: (session: Session, link: SessionLink) => Promise<void>;
  /** Takes it out of every index and deletes what is stored of it (G3). */
  readonly onEnded: (session: Session, link: SessionLink | undefined) => Promise<void>;
}

export class SessionRegistry {
  readonly #deps: SessionRegistryDeps;
  readonly #sessions = new Map<string, Session>();
  /** G1: what is under way for a client id. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #state: 'open' | 'closed' = 'open';
  online = 0;

  constructor(deps: SessionRegistryDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#sessions.size;
  }

  values(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId);
  }

  attach(request: AttachRequest): Promise<AttachOutcome> {
    return this.#inTurn(request.connect.clientId, () => this.#attach(request));
  }

  detach(link: SessionLink, reason: DetachReason): Promise<void> {
    return this.#inTurn(link.session.clientId, () => this.#detach(link, reason));
  }

  /** A session that was kept before this start: its subscriptions are in force, its timers not yet. */
  async restore(stored: StoredSession): Promise<void> {
    const session = await this.#deps.restoreSession(stored);
    const { record } = stored;
    session.born = record.born;
    session.beginnings = record.beginnings;
    session.epoch = record.epoch;
    session.expirySeconds = record.expirySeconds;
    session.will = record.will;
    session.offlineSinceMs = record.offlineSinceMs;
    this.#sessions.set(session.clientId, session);
  }

  /**
   * All sessions are back, so a will reaches everybody it should. Those that were connected when the broker
   * died have lost their connection now.
   */
  async startTimers(): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      const nowMs = this.#deps.clock.wallTime();
      const since = session.offlineSinceMs;
      session.offlineSinceMs ??= nowMs;
      const offlineMs = Math.max(0, nowMs - session.offlineSinceMs); // a clock may have gone back
      const hadWill = session.will !== undefined;
      await this.#inTurn(session.clientId, () => this.#goOffline(session, offlineMs));
      const changed = since === undefined || hadWill !== (session.will !== undefined);
      if (changed) await this.#note(session);
    }
  }

  /** Ends all links; sessions and their timers stop here and go on after the next start. */
  async close(): Promise<void> {
    this.#state = 'closed';
    // First nobody is sent anything any more: a will that comes due below waits in the log for its receivers.
    for (const { delivery } of this.#sessions.values()) delivery.detach();
    for (const session of [...this.#sessions.values()]) {
      const link = session.link as SessionLink | undefined; // every link is made by createLink
      if (link !== undefined) {
        link.port.disconnect(ReasonCode.serverShuttingDown);
        await this.detach(link, { kind: 'lost', cause: 'the broker is closing' });
      }
      session.expiryTimer?.cancel();
      session.willTimer?.cancel();
    }
    await Promise.allSettled(this.#turns.values());
    this.#deps.wills.close();
  }

  async #attach({ port, connect, sessionExpirySeconds }: AttachRequest): Promise<AttachOutcome> {
    if (this.#state === 'closed') throw new MqttError('ENGINE_CLOSED', 'the broker is closing');
    const { clientId, cleanStart, will } = connect;
    await this.#takeOver(clientId, cleanStart ? 'discard' : 'resume');
    const known = this.#sessions.get(clientId);
    if (known !== undefined && cleanStart) await this.#end(known, undefined); // [MQTT-3.1.2-4]
    const resumed = this.#sessions.get(clientId);
    const session = resumed ?? this.#deps.createSession(clientId, sessionExpirySeconds > 0 ? 'durable' : 'transient');
    const before = { ...session.record() };
    session.expiryTimer?.cancel();
    this.#deps.wills.cancelDelay(session);
    session.expirySeconds = sessionExpirySeconds;
    session.offlineSinceMs = undefined;
    if (resumed === undefined) session.born = this.#firstEpoch();
    session.epoch = Math.max(session.epoch + 1, session.born);
    session.will = will && { will: { ...will, payload: Buffer.from(will.payload) }, username: port.username };
    this.#sessions.set(clientId, session);
    await this.#claim(session, resumed === undefined ? undefined : before);
    const link = this.#deps.createLink(session, { port, profile: wireProfile(connect) });
    session.link = link;
    session.delivery.attach(link);
    this.online++;
    this.#deps.onAttached(session);
    return { sessionPresent: resumed !== undefined, session: link };
  }

  /**
   * Epochs of a client id rise from one of its sessions to the next, although nothing is kept of an ended one:
   * a will and a QoS 2 handshake of the new session are then never taken for those of the old.
   */
  #firstEpoch(): number {
    return Math.floor(this.#deps.clock.wallTime());
  }

  async #takeOver(clientId: string, next: 'resume' | 'discard'): Promise<void> {
    const session = this.#sessions.get(clientId);
    const link = session?.link as SessionLink | undefined; // every link is made by createLink
    if (session === undefined || link === undefined) return;
    link.port.disconnect(ReasonCode.sessionTakenOver); // G1
    // The will of a session that goes on is due only without a delay: the client is back. (MQTT5 §3.1.3.2.2)
    const delayed = (session.will?.will.properties?.willDelayInterval ?? 0) > 0 && session.expirySeconds > 0;
    if (next === 'resume' && delayed) this.#deps.wills.discard(session);
    await this.#detach(link, { kind: 'lost', cause: 'the session was taken over' });
  }

  /** `before`: what a resumed session was before this connection changed it. */
  async #claim(session: Session, before: SessionRecord | undefined): Promise<void> {
    const worthKeeping = session.lifetime === 'durable' || session.will !== undefined || session.hasRecord;
    if (!worthKeeping) return;
    try {
      await session.writer.save(); // G2
    } catch (error) {
      // The client is refused and tries again; the session is as it was.
      if (before === undefined) {
        this.#sessions.delete(session.clientId);
        session.state = 'ended';
      } else {
        session.expirySeconds = before.expirySeconds;
        session.will = before.will;
        session.offlineSinceMs = before.offlineSinceMs ?? this.#deps.clock.wallTime();
        await this.#goOffline(session, this.#deps.clock.wallTime() - session.offlineSinceMs);
      }
      throw error;
    }
  }

  async #detach(link: SessionLink, reason: DetachReason): Promise<void> {
    const { session } = link;
    if (session.link !== link) return; // another connection has the session
    link.retire();
    session.link = undefined;
    this.online--;
    session.delivery.detach();
    if (reason.kind === 'disconnect') {
      session.expirySeconds = reason.sessionExpirySeconds ?? session.expirySeconds;
      if (reason.keepsWill === 'no') this.#deps.wills.discard(session); // [MQTT-3.14.4-3]
    }
    if (session.lifetime === 'transient' || session.expirySeconds === 0) {
      await this.#end(session, link);
      return;
    }
    await this.#deps.onDetached(session, link);
    session.offlineSinceMs = this.#deps.clock.wallTime();
    await this.#goOffline(session, 0);
    await this.#note(session);
  }

  /** The will comes due and the session's end is set; `offlineMs` have passed already. */
  async #goOffline(session: Session, offlineMs: number): Promise<void> {
    const leftMs = session.expirySeconds * 1000 - offlineMs;
    const expires = session.expirySeconds !== SESSION_NEVER_EXPIRES;
    if (session.lifetime === 'transient' || (expires && leftMs <= 0)) {
      await this.#end(session, undefined);
      return;
    }
    await this.#deps.wills.connectionLost(session, offlineMs, () => this.#note(session));
    if (expires)
      session.expiryTimer = this.#deps.clock.setTimer(leftMs, () => {
        void this.#inTurn(session.clientId, async () => {
          if (session.link === undefined && session.state === 'open') await this.#end(session, undefined);
        });
      });
  }

  async #note(session: Session): Promise<void> {
    if (session.state === 'ended') return;
    try {
      await session.writer.save();
    } catch (error) {
      this.#deps.logger.error(
        { clientId: session.clientId, error: errorMessage(error) },
        'a session could not be noted in meta',
      );
    }
  }

  async #end(session: Session, link: SessionLink | undefined): Promise<void> {
    if (session.state === 'ended') return;
    session.expiryTimer?.cancel();
    await this.#deps.wills.publish(session); // G3, [MQTT-3.1.2-8]
    session.state = 'ended';
    this.#sessions.delete(session.clientId);
    session.delivery.end();
    try {
      await this.#deps.onEnded(session, link);
    } catch (error) {
      // The record is left behind: the next start finds it expired and ends it again.
      this.#deps.logger.error(
        { clientId: session.clientId, error: errorMessage(error) },
        'an ended session could not be removed',
      );
    }
  }

  #inTurn<T>(clientId: string, step: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(clientId);
    const mine = before === undefined ? step() : before.then(step, step);
    this.#turns.set(clientId, mine);
    const leave = () => {
      if (this.#turns.get(clientId) === mine) this.#turns.delete(clientId);
    };
    mine.then(leave, leave);
    return mine;
  }
}
