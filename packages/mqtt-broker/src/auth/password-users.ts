import { scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { BoundedQueue } from '@robustmq/stdx/bounded-queue';
import { MiB } from '@robustmq/stdx/byte-size';
import { ReasonCode } from '../codec/reason-codes.js';
import { MqttError } from '../errors.js';
import type { Authentication, Authenticator, Credentials } from './authenticator.js';

const derive = promisify<Buffer, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

/**
 * Derivations at one time, and those that wait. They run on the threads that also sync the journal: a flood of
 * logins must not hold them all. At 50 ms each the last that waits is served within the admission timeout.
 */
const DERIVATIONS_AT_ONCE = 2;
const WAITING_MAX = 256;

/**
 * User names and password hashes. A hash is text:
 *
 *   scrypt$N$r$p$salt$key     N, r, p decimal; salt and key in base64url
 *
 *   P1. Verifying costs the same for a name that does not exist, so that names cannot be found out by timing.
 *   P2. At most DERIVATIONS_AT_ONCE run; beyond WAITING_MAX that wait, a login is refused as "server busy".
 */
export class PasswordUsers implements Authenticator {
  readonly #hashes = new Map<string, ScryptHash>();
  readonly #waiting = new BoundedQueue<() => void>(WAITING_MAX);
  #running = 0;

  /** Errors: INVALID_OPTION for a hash of another form. */
  constructor(users: Readonly<Record<string, string>>) {
    for (const [username, hash] of Object.entries(users)) this.#hashes.set(username, parseHash(username, hash));
  }

  async authenticate({ username, password }: Credentials): Promise<Authentication> {
    if (username === undefined) return { kind: 'unknown' };
    const known = this.#hashes.get(username);
    const turn = this.#takeTurn();
    if (turn === undefined)
      return { kind: 'refused', reasonCode: ReasonCode.serverBusy, why: 'too many logins at once' };
    await turn;
    try {
      const verdict = await verify(password ?? Buffer.alloc(0), known ?? NOBODY); // P1
      if (known !== undefined && verdict === 'equal') return { kind: 'accepted', username };
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
    return { kind: 'refused', reasonCode: ReasonCode.badUserNameOrPassword, why: 'wrong user name or password' };
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

interface ScryptHash {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** OWASP's recommendation for interactive logins (2023): 16 MiB and about 50 ms. */
const COST = { cost: 2 ** 14, blockSize: 8, parallelization: 1 } as const;
const COST_MAX = 2 ** 20;
const KEY_BYTES = 32;

const NOBODY: ScryptHash = { ...COST, salt: Buffer.alloc(16), key: Buffer.alloc(KEY_BYTES) };

/** The text to configure for a password. `salt` is 16 random bytes. */
export async function hashPassword(password: string, salt: Buffer): Promise<string> {
  const key = await deriveKey(Buffer.from(password), { ...COST, salt, key: Buffer.alloc(KEY_BYTES) });
  const { cost, blockSize, parallelization } = COST;
  return ['scrypt', cost, blockSize, parallelization, salt.toString('base64url'), key.toString('base64url')].join('$');
}

function parseHash(username: string, text: string): ScryptHash {
  const [scheme, cost, blockSize, parallelization, salt, key, ...rest] = text.split('$');
  const hash = {
    cost: Number(cost),
    blockSize: Number(blockSize),
    parallelization: Number(parallelization),
    salt: Buffer.from(salt ?? '', 'base64url'),
    key: Buffer.from(key ?? '', 'base64url'),
  };
  const { cost: N, blockSize: r, parallelization: p } = hash;
  const legal = scheme === 'scrypt' && rest.length === 0 && N >= 2 && N <= COST_MAX && (N & (N - 1)) === 0;
  if (!legal || !(r >= 1 && r <= 32) || !(p >= 1 && p <= 16) || hash.salt.length < 8 || hash.key.length < 16) {
    throw new MqttError('INVALID_OPTION', `the password hash of user "${username}" is not scrypt$N$r$p$salt$key`);
  }
  return hash;
}

async function verify(password: Buffer, hash: ScryptHash): Promise<'equal' | 'different'> {
  const key = await deriveKey(password, hash);
  return timingSafeEqual(key, hash.key) ? 'equal' : 'different';
}

function deriveKey(
  password: Buffer,
  { cost: N, blockSize: r, parallelization: p, salt, key }: ScryptHash,
): Promise<Buffer> {
  return derive(password, salt, key.length, { N, r, p, maxmem: 256 * r * (N + p) + MiB });
}
