// Who a client is.

import type { ProtocolVersion } from '../codec/packets.js';
import { ReasonCode } from '../codec/reason-codes.js';
import type { PeerAddress } from '../connection/transport.js';

/** What a client shows of itself in CONNECT, and where it comes from. */
export interface Credentials {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  readonly peer: PeerAddress;
  readonly version: ProtocolVersion;
}

export type Authentication =
  /** `username` is what the client proved; undefined for an anonymous one. */
  | {
      readonly kind: 'accepted';
      readonly username: string | undefined;
      /** When the proof ends, in milliseconds since 1970, and the connection with it (0xA0). Default: never. */
      readonly expiresAtMs?: number | undefined;
    }
  | { readonly kind: 'refused'; readonly reasonCode: ReasonCode; readonly why: string }
  /** This authenticator knows nothing of the client: the next one is asked. */
  | { readonly kind: 'unknown' };

/** Whoever asks treats a throw, a rejection and a promise that does not settle in time as a refusal. */
export interface Authenticator {
  authenticate(credentials: Credentials): Authentication | Promise<Authentication>;
  /** True while it can let nobody in, because nobody is configured: a user name is nothing it could check then. */
  readonly knowsNobody?: boolean;
}

/** From where clients may come that prove nothing. */
export type AnonymousPolicy = 'loopback' | 'everywhere' | 'nowhere';

/** The first authenticator that knows the client decides; what none of them knows is anonymous or refused. */
export function authenticateInOrder(
  authenticators: readonly Authenticator[],
  anonymous: AnonymousPolicy,
): (credentials: Credentials) => Promise<Authentication> {
  return async (credentials) => {
    for (const authenticator of authenticators) {
      const result = await authenticator.authenticate(credentials);
      if (result.kind !== 'unknown') return result;
    }
    // A name that nobody can check proves nothing; a name that somebody could check and does not know is wrong.
    if (credentials.username !== undefined && authenticators.some(({ knowsNobody }) => knowsNobody !== true)) {
      return { kind: 'refused', reasonCode: ReasonCode.badUserNameOrPassword, why: 'unknown user name' };
    }
    return acceptAnonymous(credentials, anonymous);
  };
}

function acceptAnonymous({ peer }: Credentials, policy: AnonymousPolicy): Authentication {
  if (policy === 'everywhere' || (policy === 'loopback' && peer.scope === 'loopback')) {
    return { kind: 'accepted', username: undefined };
  }
  const rule =
    policy === 'nowhere'
      ? 'anonymous clients are allowed nowhere (mqtt.auth.anonymous = nowhere)'
      : 'anonymous clients are allowed from this machine only (mqtt.auth.anonymous = loopback)';
  return {
    kind: 'refused',
    reasonCode: ReasonCode.notAuthorized,
    why: `${rule}; to allow them from everywhere, start with --set mqtt.auth.anonymous=everywhere`,
  };
}
