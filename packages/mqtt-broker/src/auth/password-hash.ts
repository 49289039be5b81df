// Passwords as they are kept:
//
//   scrypt$N$r$p$salt$key     N, r, p decimal; salt and key in base64url. What hashPassword() makes.
//   $7$iterations$salt$key    PBKDF2 with SHA-512; salt and key in base64. What mosquitto_passwd makes since 2.0.

import { pbkdf2, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { MiB } from '@robustmq/stdx/byte-size';

const deriveScrypt = promisify<Buffer, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(
  scrypt,
);
const derivePbkdf2 = promisify(pbkdf2);

export type PasswordHash =
  | {
      readonly kind: 'scrypt';
      readonly cost: number;
      readonly blockSize: number;
      readonly parallelization: number;
      readonly salt: Buffer;
      readonly key: Buffer;
    }
  | { readonly kind: 'pbkdf2'; readonly iterations: number; readonly salt: Buffer; readonly key: Buffer };

/** OWASP's recommendation for interactive logins (2023): 16 MiB and about 50 ms. */
const COST = { cost: 2 ** 14, blockSize: 8, parallelization: 1 } as const;
const COST_MAX = 2 ** 20;
const ITERATIONS_MAX = 10_000_000;
const KEY_BYTES = 32;

/** No password has it: to spend the time of a check on. */
export const NOBODY: PasswordHash = { kind: 'scrypt', ...COST, salt: Buffer.alloc(16), key: Buffer.alloc(KEY_BYTES) };

/** The text to configure for a password. `salt` is 16 random bytes. */
export async function hashPassword(password: string, salt: Buffer): Promise<string> {
  const { cost, blockSize, parallelization } = COST;
  const key = await derive(Buffer.from(password), { kind: 'scrypt', ...COST, salt, key: Buffer.alloc(KEY_BYTES) });
  return ['scrypt', cost, blockSize, parallelization, salt.toString('base64url'), key.toString('base64url')].join('$');
}

/** Undefined for text of another form. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const hash = text.startsWith('$7$') ? parsePbkdf2(text) : parseScrypt(text);
  return hash !== undefined && hash.salt.length >= 8 && hash.key.length >= 16 ? hash : undefined;
}

export async function verifyPassword(password: Buffer, hash: PasswordHash): Promise<'equal' | 'different'> {
  const key = await derive(password, hash);
  return timingSafeEqual(key, hash.key) ? 'equal' : 'different';
}

function parseScrypt(text: string): PasswordHash | undefined {
  const [scheme, cost, blockSize, parallelization, salt = '', key = '', ...rest] = text.split('$');
  const [N, r, p] = [Number(cost), Number(blockSize), Number(parallelization)];
  const legal = scheme === 'scrypt' && rest.length === 0 && N >= 2 && N <= COST_MAX && (N & (N - 1)) === 0;
  if (!legal || !(r >= 1 && r <= 32) || !(p >= 1 && p <= 16)) return undefined;
  return {
    kind: 'scrypt',
    cost: N,
    blockSize: r,
    parallelization: p,
    salt: Buffer.from(salt, 'base64url'),
    key: Buffer.from(key, 'base64url'),
  };
}

function parsePbkdf2(text: string): PasswordHash | undefined {
  const [, , count = '', salt = '', key = '', ...rest] = text.split('$');
  const iterations = /^\d{1,8}$/.test(count) ? Number(count) : 0;
  if (rest.length > 0 || iterations < 1 || iterations > ITERATIONS_MAX) return undefined;
  return { kind: 'pbkdf2', iterations, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') };
}

function derive(password: Buffer, hash: PasswordHash): Promise<Buffer> {
  const { salt, key } = hash;
  if (hash.kind === 'pbkdf2') return derivePbkdf2(password, salt, hash.iterations, key.length, 'sha512');
  const { cost: N, blockSize: r, parallelization: p } = hash;
  return deriveScrypt(password, salt, key.length, { N, r, p, maxmem: 256 * r * (N + p) + MiB });
}
