// Asks an authorizer so that nothing it does lets somebody through by mistake.

import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { PublishPacket, SubscriptionRequest } from '../codec/packets.js';
import type { Authorizer, ClientIdentity, Verdict } from './authorizer.js';

export interface PermissionDeps {
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A question without an answer is 'deny' after this, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * The authorizer, fail closed:
 *   A1. A throw, a rejection, an unknown answer and no answer in time are all 'deny', and are logged.
 *   A2. An answer at once stays an answer at once: no promise on the fast path.
 */
export class Permission {
  readonly #deps: PermissionDeps;

  constructor(deps: PermissionDeps) {
    this.#deps = deps;
  }

  mayPublish(client: ClientIdentity, packet: PublishPacket): Verdict | Promise<Verdict> {
    try {
      const verdict = this.#deps.authorizer.mayPublish(client, packet.topicName, packet);
      return typeof verdict === 'string' ? verdict : this.#settle(verdict, client);
    } catch (error) {
      return this.#failed(error, client); // A1
    }
  }

  maySubscribe(client: ClientIdentity, request: SubscriptionRequest): Verdict | Promise<Verdict> {
    try {
      const verdict = this.#deps.authorizer.maySubscribe(client, withoutShare(request.topicFilter), request);
      return typeof verdict === 'string' ? verdict : this.#settle(verdict, client);
    } catch (error) {
      return this.#failed(error, client); // A1
    }
  }

  #settle(answer: Promise<Verdict>, client: ClientIdentity): Promise<Verdict> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.setTimer(this.#deps.timeoutMs, () =>
        resolve(this.#failed(`no answer within ${this.#deps.timeoutMs} ms`, client)),
      );
      const settled = (verdict: Verdict) => {
        timer.cancel();
        resolve(verdict === 'allow' ? 'allow' : 'deny'); // A1
      };
      answer.then(settled, (error) => settled(this.#failed(error, client)));
    });
  }

  #failed(error: unknown, client: ClientIdentity): 'deny' {
    const { clientId } = client;
    this.#deps.logger.warn({ clientId, error: errorMessage(error) }, 'the authorizer failed: access denied');
    return 'deny';
  }
}

const SHARE = '$share/';

/** The filter whose messages a subscription gets: what permission is asked for. */
export function withoutShare(topicFilter: string): string {
  if (!topicFilter.startsWith(SHARE)) return topicFilter;
  const end = topicFilter.indexOf('/', SHARE.length);
  return end < 0 ? topicFilter : topicFilter.slice(end + 1);
}
