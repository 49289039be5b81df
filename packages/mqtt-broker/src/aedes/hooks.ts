// The hooks that users of aedes know, as the authenticator and the authorizer that this broker asks.

import type { AedesOptions, Client } from 'aedes';
import type { Authentication } from '../auth/authenticator.js';
import type { Authorizer, ClientIdentity, Verdict } from '../auth/authorizer.js';
import { ReasonCode, reasonOfReturnCode } from '../codec/reason-codes.js';

/**
 * Functions with the signatures of aedes 1.x. They see every client as one of MQTT 3, because aedes does.
 * What differs from aedes:
 *   - a hook that throws, or does not call back in time, refuses;
 *   - authorizeSubscribe may allow or deny, not rewrite: a subscription it returns changed is denied.
 */
export interface AedesHooks {
  /** Asked before anything else. */
  readonly preConnect?: AedesOptions['preConnect'];
  /** Asked after the authenticators, for clients that none of them knows. */
  readonly authenticate?: AedesOptions['authenticate'];
  /** Asked after the authorizer has allowed. The client is null for a will. */
  readonly authorizePublish?: AedesOptions['authorizePublish'];
  readonly authorizeSubscribe?: AedesOptions['authorizeSubscribe'];
}

/** Asks the hook who a client is. Rejects with what the hook throws. */
export function askAuthenticate(
  hook: NonNullable<AedesHooks['authenticate']>,
  client: Client,
  { username, password }: { readonly username: string | undefined; readonly password: Buffer | undefined },
): Promise<Authentication> {
  return new Promise((resolve) => {
    hook(client, username, password, (error, success) => {
      if (error === null && success === true) resolve({ kind: 'accepted', username });
      else {
        const reasonCode =
          error?.returnCode === undefined ? ReasonCode.notAuthorized : reasonOfReturnCode(error.returnCode);
        resolve({ kind: 'refused', reasonCode, why: error?.message ?? 'refused by the authenticate hook' });
      }
    });
  });
}

/** The authorize hooks as an authorizer; undefined where there is none. `clientOf` finds a client that is connected. */
export function authorizerOfHooks(
  { authorizePublish, authorizeSubscribe }: AedesHooks,
  clientOf: (clientId: string) => Client | undefined,
): Authorizer | undefined {
  if (authorizePublish === undefined && authorizeSubscribe === undefined) return undefined;
  return {
    mayPublish: ({ clientId }, topicName, { payload, qos, retain, dup, packetId }) => {
      if (authorizePublish === undefined) return 'allow';
      const packet = { cmd: 'publish', topic: topicName, payload, qos, retain, dup, messageId: packetId } as const;
      return answered((answer) =>
        authorizePublish(clientOf(clientId) ?? null, packet, (error) => answer(error ? 'deny' : 'allow')),
      );
    },
    maySubscribe: ({ clientId }: ClientIdentity, topicFilter, { qos }) => {
      if (authorizeSubscribe === undefined) return 'allow';
      const client = clientOf(clientId);
      if (client === undefined) return 'deny';
      return answered((answer) =>
        authorizeSubscribe(client, { topic: topicFilter, qos }, (error, subscription) => {
          const unchanged = !error && subscription?.topic === topicFilter && subscription.qos === qos;
          answer(unchanged ? 'allow' : 'deny');
        }),
      );
    },
  };
}

/** A hook that calls back at once keeps the message on the fast path; one that does not gets a promise. */
function answered(ask: (answer: (verdict: Verdict) => void) => void): Verdict | Promise<Verdict> {
  let now: Verdict | undefined;
  let later: ((verdict: Verdict) => void) | undefined;
  ask((verdict) => {
    if (later) later(verdict);
    else now ??= verdict;
  });
  if (now !== undefined) return now;
  return new Promise((resolve) => {
    later = resolve;
  });
}
