// Clients that show a JSON Web Token as their password.
//
//   W1. Algorithms are pinned by the configuration: never what the token says of itself. A shared secret and a
//       public key are never taken for one another.
//   W2. A token has an end. The connection ends with it, with 0xA0.
//   W3. What cannot be verified, for whatever reason, is refused. Only what is no token at all is another's to judge.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { Authentication, Authenticator, Credentials } from './authenticator.js';

export interface JwtOptions {
  /** Where the keys of the issuer are; https, or http on this machine. Either this or `keyFile`. */
  readonly jwksUrl?: string | undefined;
  /** A PEM file with a public key, or the bytes of a secret for HS256, HS384 and HS512. */
  readonly keyFile?: string | undefined;
  /** What tokens may be signed with, such as RS256 or ES256. Required (W1). */
  readonly algorithms: readonly string[];
  /** What `iss` and `aud` must say. Default: not asked, which is for issuers that serve nobody else. */
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  /** The claim with the user name. Default `sub`. */
  readonly usernameClaim?: string | undefined;
}

const ALGORITHMS = /^(HS|RS|PS)(256|384|512)$|^ES(256|384|512)$|^(EdDSA|Ed25519)$/;
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/;
/** Tokens with many claims have 4 KiB. */
const TOKEN_BYTES_MAX = 16 * 1024;
const JWKS_TIMEOUT_MS = 5000;
/** The same key may sign for this long after it is gone from the set. */
const JWKS_AGE_MS_MAX = 600_000;
/** Clocks of issuers and brokers differ. */
const CLOCK_TOLERANCE_SECONDS = 5;

export class JwtAuthenticator implements Authenticator {
  readonly #options: JwtOptions;
  readonly #clock: Clock;
  readonly #key: JWTVerifyGetKey;

  private constructor(options: JwtOptions, clock: Clock, key: JWTVerifyGetKey) {
    this.#options = options;
    this.#clock = clock;
    this.#key = key;
  }

  /** Errors: INVALID_OPTION for algorithms and keys that do not fit each other. */
  static async open(options: JwtOptions, clock: Clock): Promise<JwtAuthenticator> {
    const { jwksUrl, keyFile, algorithms } = options;
    const wrong = algorithms.find((one) => !ALGORITHMS.test(one));
    if (wrong !== undefined || algorithms.length === 0) {
      throw invalid(
        `jwt.algorithms must name one or more, such as RS256 or ES256${wrong === undefined ? '' : `, not "${wrong}"`}`,
      );
    }
    if ((jwksUrl === undefined) === (keyFile === undefined)) throw invalid('jwt needs either a jwks_url or a key_file');
    const symmetric = algorithms.filter((one) => one.startsWith('HS'));
    if (keyFile !== undefined) {
      const key = await keyOf(keyFile, { symmetric: symmetric.length, all: algorithms.length });
      return new JwtAuthenticator(options, clock, async () => key);
    }
    if (symmetric.length > 0) throw invalid(`jwt: ${symmetric[0]} needs a secret, and jwks_url serves public keys`);
    return new JwtAuthenticator(options, clock, remoteKeys(jwksUrl ?? ''));
  }

  async authenticate({ username, password }: Credentials): Promise<Authentication> {
    const token = password?.toString('latin1') ?? '';
    if (!TOKEN.test(token)) return { kind: 'unknown' };
    if (token.length > TOKEN_BYTES_MAX) return refused(`its token is longer than ${TOKEN_BYTES_MAX} bytes`);
    const { algorithms, issuer, audience, usernameClaim = 'sub' } = this.#options;
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, this.#key, {
        algorithms: [...algorithms], // W1
        requiredClaims: ['exp'], // W2
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(this.#clock.wallTime()),
        ...(issuer === undefined ? {} : { issuer }),
        ...(audience === undefined ? {} : { audience }),
      }));
    } catch (error) {
      const why = `its token does not hold: ${errorMessage(error)}`;
      return error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)
        ? refused(why)
        : { kind: 'refused', reasonCode: ReasonCode.serverUnavailable, why }; // the keys cannot be reached (W3)
    }
    const name = payload[usernameClaim];
    if (typeof name !== 'string' || name === '') return refused(`its token has no ${usernameClaim}`);
    if (username !== undefined && username !== name) return refused('its token is for another user name');
    return { kind: 'accepted', username: name, expiresAtMs: (payload.exp ?? 0) * 1000 };
  }
}

function remoteKeys(text: string): JWTVerifyGetKey {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.hostname === 'localhost' || url?.hostname === '127.0.0.1' || url?.hostname === '[::1]';
  if (url === undefined || !(url.protocol === 'https:' || (url.protocol === 'http:' && isLocal))) {
    throw invalid(`jwt.jwks_url must begin with https://, not "${text}": who can change the keys can be anybody`);
  }
  return createRemoteJWKSet(url, { timeoutDuration: JWKS_TIMEOUT_MS, cacheMaxAge: JWKS_AGE_MS_MAX });
}

async function keyOf(
  file: string,
  count: { readonly symmetric: number; readonly all: number },
): Promise<KeyObject | Uint8Array> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw invalid(`cannot read jwt.key_file ${file}: ${errorMessage(error)}`);
  });
  const isPem = bytes.includes('-----BEGIN');
  // A public key is no secret: whoever knows it could sign with it as one (W1).
  if (isPem ? count.symmetric > 0 : count.symmetric < count.all) {
    throw invalid(`jwt.key_file ${file} is ${isPem ? 'a public key' : 'a secret'}, which jwt.algorithms do not fit`);
  }
  if (!isPem) {
    const secret = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes; // editors end files with a line
    if (secret.length < 32) throw invalid(`jwt.key_file ${file} has ${secret.length} bytes: a secret has at least 32`);
    return secret;
  }
  try {
    return createPublicKey(bytes);
  } catch (error) {
    throw invalid(`jwt.key_file ${file} is no public key: ${errorMessage(error)}`);
  }
}

function invalid(message: string): MqttError {
  return new MqttError('INVALID_OPTION', message);
}

function refused(why: string): Authentication {
  return { kind: 'refused', reasonCode: ReasonCode.notAuthorized, why };
}
