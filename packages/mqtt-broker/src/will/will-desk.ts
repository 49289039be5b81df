// Wills: published once when their connection is lost, at the latest when the session ends. [MQTT-3.1.2-8]
//
// Invariants:
//   L1. A will is kept in the session's record from CONNECT until it is published or discarded: one whose
//       broker was killed comes due when a broker starts.
//   L2. It is published with a producer of the session's epoch, so that a broker killed between publishing
//       it and noting so does not publish it again to durable sessions; everybody else lost the connection.
//   L3. The right to publish is asked again when it comes due: it may have gone since CONNECT.

import type { Clock } from '@robustmq/stdx/clock';
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

export class WillDesk {
  readonly #deps: WillDeskDeps;

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
    try {
      const id = `mqtt/${this.#deps.tenant}/will/${clientId}`;
      await this.#deps.publishPath.publishWill(this.#messageOf(clientId, will), { id, epoch, sequence: 0 }); // L2
    } catch (error) {
      this.#deps.logger.error(
        { clientId, topic: will.topicName, error: errorMessage(error) },
        'a will could not be published',
      );
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
