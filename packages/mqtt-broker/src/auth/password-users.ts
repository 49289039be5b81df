import { BoundedQueue } from '@robustmq/stdx/bounded-queue';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { Authentication, Authenticator, Credentials } from './authenticator.js';
import { NOBODY, type PasswordHash, parsePasswordHash, verifyPassword } from './password-hash.js';

/**
 * Derivations at one time, and those that wait. They run on the threads that also sync the journal: a flood of
 * logins must not hold them all. At 50 ms each the last that waits is served within the admission timeout.
 */
const DERIVATIONS_AT_ONCE = 2;
const WAITING_MAX = 256;

/** Where users and their hashes are kept: the configuration, a file, the metadata. */
export interface UserSource {
  readonly size: number;
  hashOf(username: string): PasswordHash | undefined;
}

/**
 * Users with a password. The first source that has a name decides what its password is.
 *
 *   P1. Verifying costs the same for a name that does not exist, so that names cannot be found out by timing.
 *   P2. At most DERIVATIONS_AT_ONCE run; beyond WAITING_MAX that wait, a login is refused as "server busy".
 */
export class PasswordUsers implements Authenticator {
  readonly #sources: readonly UserSource[];
  readonly #waiting = new BoundedQueue<() => void>(WAITING_MAX);
  #running = 0;

  constructor(sources: readonly UserSource[]) {
    this.#sources = sources;
  }

  get knowsNobody(): boolean {
    return this.#sources.every(({ size }) => size === 0);
  }

  async authenticate({ username, password }: Credentials): Promise<Authentication> {
    if (username === undefined || this.knowsNobody) return { kind: 'unknown' };
    const known = this.#hashOf(username);
    const turn = this.#takeTurn();
    if (turn === undefined)
      return { kind: 'refused', reasonCode: ReasonCode.serverBusy, why: 'too many logins at once' };
    await turn;
    try {
      const verdict = await verifyPassword(password ?? Buffer.alloc(0), known ?? NOBODY); // P1
      if (known === undefined) return { kind: 'unknown' };
      if (verdict === 'equal') return { kind: 'accepted', username };
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
    return { kind: 'refused', reasonCode: ReasonCode.badUserNameOrPassword, why: 'wrong user name or password' };
  }

  #hashOf(username: string): PasswordHash | undefined {
    for (const source of this.#sources) {
      const hash = source.hashOf(username);
      if (hash !== undefined) return hash;
    }
    return undefined;
  }

  /** Resolves when a derivation may begin; undefined when too many wait (P2). */
  #takeTurn(): Promise<void> | undefined {
    if (this.#running < DERIVATIONS_AT_ONCE) {
      this.#running++;
      return Promise.resolve();
    }
    if (this.#waiting.isFull) return undefined;
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        this.#running++;
        resolve();
      });
    });
  }
}

/** Users that are written in the configuration. Errors: INVALID_OPTION for a hash of another form. */
export function configuredUsers(users: Readonly<Record<string, string>>): UserSource {
  const hashes = new Map<string, PasswordHash>();
  for (const [username, text] of Object.entries(users)) {
    const hash = parsePasswordHash(text);
    if (hash === undefined) {
      throw new MqttError('INVALID_OPTION', `the password hash of user "${username}" is not scrypt$N$r$p$salt$key`);
    }
    hashes.set(username, hash);
  }
  return { size: hashes.size, hashOf: (username) => hashes.get(username) };
}
