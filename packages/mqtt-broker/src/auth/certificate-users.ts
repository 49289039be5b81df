import type { Authentication, Authenticator, Credentials } from './authenticator.js';

/** Which of its names a client with a verified certificate goes by. */
export type CertificateName = 'common_name' | 'alternative_name';

/**
 * Takes the name in a verified client certificate for the user name. A name in CONNECT must be the same: a device
 * may not go by another's. A certificate without a name, or with several, says nothing.
 */
export class CertificateUsers implements Authenticator {
  readonly #name: CertificateName;

  constructor(name: CertificateName) {
    this.#name = name;
  }

  authenticate({ peer: { certificate }, username }: Credentials): Authentication {
    if (certificate === undefined) return { kind: 'unknown' };
    const { commonName, alternativeNames } = certificate;
    const name =
      this.#name === 'common_name' ? commonName : alternativeNames.length === 1 ? alternativeNames[0] : undefined;
    if (name === undefined || name === '' || (username !== undefined && username !== name)) return { kind: 'unknown' };
    return { kind: 'accepted', username: name };
  }
}
