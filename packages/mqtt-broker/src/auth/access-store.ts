// Users and access rules in the meta service: the same on every node, changed while the cluster runs.
//
//   mqtt/<tenant>/users/<name>   →   {"hash": "scrypt$…"}
//   mqtt/<tenant>/acl/<name>     →   {"rules": ["allow all …", …]}      in the order of names, behind the configuration's

import { randomBytes } from 'node:crypto';
import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import { MqttError } from '../errors.js';
import { DENY_ALL } from './acl.js';
import { type AclRule, parseAclRule } from './acl-rule.js';
import { hashPassword, type PasswordHash, parsePasswordHash } from './password-hash.js';
import type { UserSource } from './password-users.js';
import { WatchedPrefix } from './watched-prefix.js';

const usersPrefix = (tenant: string): string => `mqtt/${tenant}/users/`;
const aclPrefix = (tenant: string): string => `mqtt/${tenant}/acl/`;
/** As long as a user name of MQTT may be, and still a key of the meta service. */
const NAME_BYTES_MAX = 1024;

/** Adds, removes and lists users and rules, from any process that reaches the meta service. */
export class AccessStore {
  readonly #meta: MetaClient;
  readonly #tenant: string;

  constructor(meta: MetaClient, tenant = 'default') {
    this.#meta = meta;
    this.#tenant = tenant;
  }

  /** Adds a user, or gives one another password. Errors: INVALID_OPTION; MetaError. */
  async setUser(name: string, password: string): Promise<void> {
    checkName(name);
    if (password === '') throw new MqttError('INVALID_OPTION', 'the password is empty');
    const hash = await hashPassword(password, randomBytes(16));
    await this.#meta.put(usersPrefix(this.#tenant) + name, Buffer.from(JSON.stringify({ hash })));
  }

  removeUser(name: string): Promise<'removed' | 'unknown'> {
    return this.#remove(usersPrefix(this.#tenant) + name);
  }

  async userNames(): Promise<readonly string[]> {
    const prefix = usersPrefix(this.#tenant);
    const { kvs } = await this.#meta.range({ prefix });
    return kvs.map(({ key }) => key.slice(prefix.length));
  }

  /** Replaces the rules under a name. Errors: INVALID_OPTION for a rule that cannot be read; MetaError. */
  async setRules(name: string, rules: readonly string[]): Promise<void> {
    checkName(name);
    for (const rule of rules) parseAclRule(rule);
    await this.#meta.put(aclPrefix(this.#tenant) + name, Buffer.from(JSON.stringify({ rules })));
  }

  removeRules(name: string): Promise<'removed' | 'unknown'> {
    return this.#remove(aclPrefix(this.#tenant) + name);
  }

  /** As written, by name. */
  async rules(): Promise<readonly { readonly name: string; readonly rules: readonly string[] }[]> {
    const prefix = aclPrefix(this.#tenant);
    const { kvs } = await this.#meta.range({ prefix });
    return kvs.map(({ key, value }) => ({ name: key.slice(prefix.length), rules: rulesIn(value) ?? [] }));
  }

  async #remove(key: string): Promise<'removed' | 'unknown'> {
    return (await this.#meta.delete({ key })).deleted > 0 ? 'removed' : 'unknown';
  }
}

interface WatchDeps {
  readonly meta: MetaClient;
  readonly tenant: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The users in meta, for authenticate(). A record that cannot be read is a user whom no password lets in. */
export async function watchUsers({ tenant, ...deps }: WatchDeps): Promise<UserSource & { close(): void }> {
  let hashes = new Map<string, PasswordHash>();
  const onChange = (entries: ReadonlyMap<string, Buffer>): void => {
    hashes = new Map(Array.from(entries, ([name, value]) => [name, hashIn(value)]));
  };
  const watched = await WatchedPrefix.open(usersPrefix(tenant), { ...deps, onChange });
  return {
    get size() {
      return hashes.size;
    },
    hashOf: (username) => hashes.get(username),
    close: () => watched.close(),
  };
}

/** Calls `onRules` with the rules in meta, now and after every change. */
export async function watchRules(
  { tenant, ...deps }: WatchDeps,
  onRules: (rules: readonly AclRule[]) => void,
): Promise<{ close(): void }> {
  const onChange = (entries: ReadonlyMap<string, Buffer>): void => {
    onRules(Array.from(entries, ([name, value]) => readRules(name, value, deps.logger)).flat());
  };
  return await WatchedPrefix.open(aclPrefix(tenant), { ...deps, onChange });
}

function readRules(name: string, value: Buffer, logger: Logger): readonly AclRule[] {
  try {
    const rules = rulesIn(value);
    if (rules !== undefined) return rules.map(parseAclRule);
    logger.error({ name }, 'access rules in the metadata cannot be read: they deny everything');
  } catch (error) {
    logger.error(
      { name, error: errorMessage(error) },
      'access rules in the metadata cannot be read: they deny everything',
    );
  }
  return [DENY_ALL]; // R3 of acl.ts
}

function rulesIn(value: Buffer): readonly string[] | undefined {
  const rules = fieldOf(value, 'rules');
  return Array.isArray(rules) && rules.every((rule) => typeof rule === 'string') ? rules : undefined;
}

function hashIn(value: Buffer): PasswordHash {
  const hash = fieldOf(value, 'hash');
  const parsed = typeof hash === 'string' ? parsePasswordHash(hash) : undefined;
  return parsed ?? IMPOSSIBLE;
}

/** Its key is longer than any derivation that is compared with it could be guessed: random, and forgotten. */
const IMPOSSIBLE: PasswordHash = {
  kind: 'scrypt',
  cost: 2 ** 14,
  blockSize: 8,
  parallelization: 1,
  salt: randomBytes(16),
  key: randomBytes(32),
};

function fieldOf(value: Buffer, name: string): unknown {
  try {
    const record: unknown = JSON.parse(value.toString('utf8'));
    return typeof record === 'object' && record !== null ? Reflect.get(record, name) : undefined;
  } catch {
    return undefined;
  }
}

function checkName(name: string): void {
  if (name === '' || Buffer.byteLength(name) > NAME_BYTES_MAX || /\p{Cc}/u.test(name)) {
    throw new MqttError('INVALID_OPTION', `a name has 1 to ${NAME_BYTES_MAX} bytes, and no control characters`);
  }
}
