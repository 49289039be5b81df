// Who may publish and subscribe where.

import type { PublishPacket, SubscriptionRequest } from '../codec/packets.js';
import type { PeerAddress } from '../connection/transport.js';

/** What is known of a connected client when it asks for something. */
export interface ClientIdentity {
  readonly clientId: string;
  /** Who the client proved to be; undefined for an anonymous one. */
  readonly username: string | undefined;
  readonly peer: PeerAddress;
  /** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
  readonly version: 3 | 4 | 5;
}

export type Verdict = 'allow' | 'deny';

/**
 * Asked on every PUBLISH and for every filter of a SUBSCRIBE. An answer at once keeps the message on the
 * fast path; a promise holds back what the client sent after it, so that its order is kept. Whoever asks
 * treats a throw, a rejection and a promise that does not settle in time as 'deny'.
 */
export interface Authorizer {
  /** `topicName` is final: aliases and rewrites are resolved. Also asked for a will, at CONNECT and when it fires. */
  mayPublish(client: ClientIdentity, topicName: string, packet: PublishPacket): Verdict | Promise<Verdict>;
  /** `topicFilter` is without `$share/<group>/`. */
  maySubscribe(client: ClientIdentity, topicFilter: string, request: SubscriptionRequest): Verdict | Promise<Verdict>;
}

/**
 * The rule that always holds, before any other: topics that begin with `$` are the server's [MQTT-4.7.2-1].
 * Clients read `$SYS`, and publish to none of them.
 */
export const reservedTopicsAuthorizer: Authorizer = {
  mayPublish: (_client, topicName) => (topicName.charCodeAt(0) === 0x24 ? 'deny' : 'allow'),
  maySubscribe: (_client, topicFilter) =>
    topicFilter.charCodeAt(0) !== 0x24 || topicFilter === '$SYS' || topicFilter.startsWith('$SYS/') ? 'allow' : 'deny',
};

/** Asks `first`, and `then` only when it allows. */
export function both(first: Authorizer, then: Authorizer): Authorizer {
  return {
    mayPublish: (client, topicName, packet) =>
      chain(first.mayPublish(client, topicName, packet), () => then.mayPublish(client, topicName, packet)),
    maySubscribe: (client, topicFilter, request) =>
      chain(first.maySubscribe(client, topicFilter, request), () => then.maySubscribe(client, topicFilter, request)),
  };
}

function chain(
  verdict: Verdict | Promise<Verdict>,
  next: () => Verdict | Promise<Verdict>,
): Verdict | Promise<Verdict> {
  if (verdict === 'deny') return verdict;
  if (verdict === 'allow') return next();
  return verdict.then((settled) => (settled === 'allow' ? next() : 'deny'));
}
