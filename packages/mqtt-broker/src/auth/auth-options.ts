// The options of who is let in and what they may do; resolved by openAccess().

import type { AclDefault } from './acl.js';
import type { AnonymousPolicy } from './authenticator.js';
import type { CertificateName } from './certificate-users.js';
import type { HttpAuthOptions } from './http-authenticator.js';
import type { JwtOptions } from './jwt-authenticator.js';

/** Ways to prove who one is, in the order in which they are asked unless another is configured. */
export const AUTH_METHODS = ['certificate', 'jwt', 'password', 'http'] as const;
export type AuthMethod = (typeof AUTH_METHODS)[number];

export interface AuthOptions {
  /** From where clients may come that prove nothing. Default `loopback`: safe on a machine with an address. */
  readonly anonymous?: AnonymousPolicy;
  /** User name to `scrypt$N$r$p$salt$key`, as hashPassword() makes it. Default: nobody. */
  readonly users?: Readonly<Record<string, string>>;
  /** A file of `name:hash` lines, read every 30 seconds. Default: none. Users in the metadata come after it. */
  readonly passwordFile?: string | undefined;
  /** Which name of a verified client certificate is a user name. Default: none, it opens the listener and no more. */
  readonly certificate?: CertificateName | undefined;
  /** Default: tokens are passwords like any other. */
  readonly jwt?: JwtOptions | undefined;
  /** A service that is asked. Default: none. */
  readonly http?: HttpAuthOptions | undefined;
  /**
   * Who is asked first; the first that knows the client decides. Default certificate, jwt, password, http: what
   * costs nothing to check comes first.
   */
  readonly order?: readonly AuthMethod[];
  readonly acl?: AclOptions;
}

export interface AclOptions {
  /** `allow publish devices/${clientid}/#`; the first that concerns a request decides. Those in the metadata follow. */
  readonly rules?: readonly string[];
  /** What holds where no rule does. Default `deny-with-rules`: everything is allowed until there is a first rule. */
  readonly default?: AclDefault;
}
