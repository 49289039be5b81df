// Wills: published once when their connection is lost, at the latest when the session ends. [MQTT-3.1.2-8]
//
// Invariants:
//   L1. A will is kept in the session's record from CONNECT until it is published or discarded: one whose
//       broker was killed comes due when a broker starts.
//   L2. It is published with a producer of the session's epoch, so that a broker killed between publishing
//       it and noting so does not publish it again to durable sessions; everybody else lost the connection.
//   L3. The right to publish is asked again when it comes due: it may have gone since CONNECT.

import type { Clock, Timer } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { Will } from '../codec/packets.js';
import type { PublishPath } from '../publish/publish-path.js';
import type { Session } from '../session/session.js';
import type { WillPolicy } from '../session/session-port.js';

export interface WillDeskDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tenant: string;
  readonly publishPath: PublishPath;
  readonly policy: WillPolicy;
}

/** A will that storage does not take is tried again for a minute; a longer outage outlives its use. */
const RETRY_MS = 5000;
const RETRIES_MAX = 12;

export class WillDesk {
  readonly #deps: WillDeskDeps;
  readonly #retries = new Set<Timer>();

  constructor(deps: WillDeskDeps) {
    this.#deps = deps;
  }

  /**
   * The connection is lost: publishes now, or when its delay has passed [MQTT-3.1.3-9]. `elapsedMs` of the
   * delay have passed already. Resolves when a will that was due is published; `onLater` hears of a later one.
   */
  async connectionLost(session: Session, elapsedMs: number, onLater: () => void): Promise<void> {
    const delaySeconds = session.will?.will.properties?.willDelayInterval ?? 0;
    const delayMs = Math.min(delaySeconds, session.expirySeconds) * 1000 - elapsedMs;
    if (delayMs <= 0) {
      await this.publish(session);
      return;
    }
    if (session.will === undefined) return;
    session.willTimer = this.#deps.clock.setTimer(delayMs, () => {
      session.willTimer = undefined;
      this.publish(session).then(onLater, () => {}); // publish() reports its own failures
    });
  }

  /** The client is back, or said good-bye: what was due later is not any more. */
  cancelDelay(session: Session): void {
    session.willTimer?.cancel();
    session.willTimer = undefined;
  }

  /** What could not be published until now is given up. */
  close(): void {
    for (const timer of this.#retries) timer.cancel();
    this.#retries.clear();
  }

  discard(session: Session): void {
    this.cancelDelay(session);
    session.will = undefined;
  }

  /** Publishes the will if there is one; it is gone then, whatever comes of it. */
  async publish(session: Session): Promise<void> {
    this.cancelDelay(session);
    const record = session.will;
    if (record === undefined) return;
    session.will = undefined;
    const { clientId, epoch } = session;
    const { will, username } = record;
    if (this.#deps.policy({ clientId, username }, will) === 'deny') {
      this.#deps.logger.warn(
        { clientId, topic: will.topicName },
        'a will is not published: its client may not any more',
      ); // L3
      return;
    }
    await this.#send({ clientId, epoch, will }, RETRIES_MAX);
  }

  /** L2 lets it be tried again. */
  async #send(
    what: { readonly clientId: string; readonly epoch: number; readonly will: Will },
    retries: number,
  ): Promise<void> {
    const { clientId, epoch, will } = what;
    const { publishPath, logger, clock, tenant } = this.#deps;
    try {
      const producer = { id: `mqtt/${tenant}/will/${clientId}`, epoch, sequence: 0 };
      await publishPath.publishWill(this.#messageOf(clientId, will), producer);
    } catch (error) {
      const fields = { clientId, topic: will.topicName, retries, error: errorMessage(error) };
      if (retries === 0) logger.error(fields, 'a will could not be published, and is given up');
      else {
        logger.warn(fields, 'a will could not be published; trying again');
        const timer = clock.setTimer(RETRY_MS, () => {
          this.#retries.delete(timer);
          void this.#send(what, retries - 1);
        });
        this.#retries.add(timer);
      }
    }
  }

  #messageOf(publisherId: string, will: Will) {
    const { topicName, payload, qos, retain, properties: given } = will;
    const nowMs = this.#deps.clock.wallTime();
    const { messageExpiryInterval, willDelayInterval: _, ...properties } = given ?? {};
    const expiresAtMs = messageExpiryInterval === undefined ? undefined : nowMs + messageExpiryInterval * 1000;
    return { topicName, payload, qos, retain, properties, publisherId, publishedAtMs: nowMs, expiresAtMs };
  }
}
