// Asks a service over HTTP who a client is.
//
//   POST url        {"clientId", "username", "password", "address", "protocolVersion", "certificateCommonName"}
//   200 and JSON    {"result": "allow" | "deny" | "ignore", "username"?: "…"}
//
// `password` is text where it is UTF-8; what is absent in CONNECT is null. `ignore` leaves the client to the next
// authenticator.
//
//   H1. Anything else is a refusal: another status, another form, a redirect, no answer in time, none at all.
//   H2. Only `allow` is remembered, under a keyed hash of all that was asked, for a short while.

import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { Authentication, Authenticator, Credentials } from './authenticator.js';

export interface HttpAuthOptions {
  readonly url: string;
  /** For one answer, in milliseconds, 1 to 60,000. Default 5,000, below the admission timeout. */
  readonly timeoutMs?: number | undefined;
  /** How long `allow` is remembered, in milliseconds, up to an hour. Default 0: a ban is in force at once. */
  readonly cacheMs?: number | undefined;
}

/** Questions under way at one time; more clients are told that the server is busy. */
const AT_ONCE_MAX = 256;
const REMEMBERED_MAX = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024;

export class HttpAuthenticator implements Authenticator {
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #cacheMs: number;
  readonly #clock: Clock;
  readonly #hashKey = randomBytes(32);
  readonly #remembered = new Map<string, { readonly result: Authentication; readonly untilMs: number }>();
  #underWay = 0;

  /** Errors: INVALID_OPTION. */
  constructor({ url, timeoutMs = 5000, cacheMs = 0 }: HttpAuthOptions, clock: Clock) {
    const { protocol } = URL.canParse(url) ? new URL(url) : { protocol: '' };
    if (protocol !== 'http:' && protocol !== 'https:') {
      throw new MqttError('INVALID_OPTION', `http.url must be an URL with http or https, not "${url}"`);
    }
    if (!(timeoutMs >= 1 && timeoutMs <= 60_000) || !(cacheMs >= 0 && cacheMs <= 3_600_000)) {
      throw new MqttError(
        'INVALID_OPTION',
        'http: 1 to 60,000 ms are legal for an answer, up to an hour for the cache',
      );
    }
    this.#url = url;
    this.#timeoutMs = timeoutMs;
    this.#cacheMs = cacheMs;
    this.#clock = clock;
  }

  async authenticate(credentials: Credentials): Promise<Authentication> {
    const question = JSON.stringify(questionOf(credentials));
    const key = createHmac('sha256', this.#hashKey).update(question).digest('base64');
    const known = this.#remembered.get(key);
    if (known !== undefined && known.untilMs > this.#clock.now()) return known.result;
    if (this.#underWay >= AT_ONCE_MAX) {
      return {
        kind: 'refused',
        reasonCode: ReasonCode.serverBusy,
        why: 'too many questions to the HTTP authenticator',
      };
    }
    this.#underWay++;
    try {
      const result = read(await this.#ask(question), credentials);
      if (result.kind === 'accepted') this.#remember(key, result);
      return result;
    } catch (error) {
      const why = `the HTTP authenticator did not answer: ${errorMessage(error)}`;
      return { kind: 'refused', reasonCode: ReasonCode.serverUnavailable, why }; // H1
    } finally {
      this.#underWay--;
    }
  }

  async #ask(question: string): Promise<unknown> {
    const abort = new AbortController();
    const timer = this.#clock.setTimer(this.#timeoutMs, () => abort.abort());
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: question,
        redirect: 'error', // it would carry the password elsewhere
        signal: abort.signal,
      });
      return JSON.parse(await textOf(response));
    } finally {
      timer.cancel();
    }
  }

  #remember(key: string, result: Authentication): void {
    if (this.#cacheMs === 0) return; // H2
    const { done, value: oldest } = this.#remembered.keys().next();
    if (this.#remembered.size >= REMEMBERED_MAX && done !== true) this.#remembered.delete(oldest);
    this.#remembered.set(key, { result, untilMs: this.#clock.now() + this.#cacheMs });
  }
}

function questionOf({ clientId, username, password, peer, version }: Credentials) {
  return {
    clientId,
    username: username ?? null,
    password: password?.toString('utf8') ?? null,
    address: peer.address,
    protocolVersion: version,
    certificateCommonName: peer.certificate?.commonName ?? null,
  };
}

async function textOf(response: Response): Promise<string> {
  if (response.status !== 200) throw new MqttError('NOT_AUTHORIZED', `status ${response.status}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new MqttError('NOT_AUTHORIZED', `more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function read(answer: unknown, { username }: Credentials): Authentication {
  const { result, username: given } = (typeof answer === 'object' && answer !== null ? answer : {}) as {
    readonly result?: unknown;
    readonly username?: unknown;
  }; // fields of anything are unknown until they are looked at
  if (result === 'ignore') return { kind: 'unknown' };
  if (result === 'deny') {
    return { kind: 'refused', reasonCode: ReasonCode.notAuthorized, why: 'the HTTP authenticator says deny' };
  }
  const isName = given === undefined || (typeof given === 'string' && given !== '');
  if (result !== 'allow' || !isName) throw new MqttError('NOT_AUTHORIZED', 'an answer of another form'); // H1
  return { kind: 'accepted', username: given ?? username };
}
