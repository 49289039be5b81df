// Who may come in and what they may do, put together from the options.

import type { MetaClient } from '@robustmq/meta-raft/client';
import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import { MqttError } from '../errors.js';
import { watchRules, watchUsers } from './access-store.js';
import { Acl } from './acl.js';
import { parseAclRule } from './acl-rule.js';
import { AUTH_METHODS, type AuthMethod, type AuthOptions } from './auth-options.js';
import type { Authenticator } from './authenticator.js';
import { CertificateUsers } from './certificate-users.js';
import { HttpAuthenticator } from './http-authenticator.js';
import { JwtAuthenticator } from './jwt-authenticator.js';
import { PasswordFile } from './password-file.js';
import { configuredUsers, PasswordUsers, type UserSource } from './password-users.js';

export interface AccessDeps {
  readonly meta: MetaClient;
  readonly tenant: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Access {
  readonly authenticators: readonly Authenticator[];
  readonly acl: Acl;
  /** Calls back after every change of the rules. */
  onRules(listener: () => void): void;
  close(): void;
}

/** Errors: INVALID_OPTION, with what is wrong; MetaError. */
export async function openAccess(options: AuthOptions, deps: AccessDeps): Promise<Access> {
  const { order = AUTH_METHODS, acl: { rules = [], default: byDefault = 'deny-with-rules' } = {} } = options;
  const acl = new Acl(rules.map(parseAclRule), byDefault);
  const listeners: (() => void)[] = [];
  const closers: { close(): void }[] = [];
  const close = (): void => {
    for (const closer of closers) closer.close();
  };
  try {
    closers.push(
      await watchRules(deps, (found) => {
        acl.set(found);
        for (const listener of listeners) listener();
      }),
    );
    const authenticators: Authenticator[] = [];
    for (const method of orderOf(order, options)) authenticators.push(await open(method, { options, deps, closers }));
    return { authenticators, acl, close, onRules: (listener) => listeners.push(listener) };
  } catch (error) {
    close();
    throw error;
  }
}

/** Methods that are configured, in the order of the options. One that is left out there would be a door left shut. */
function orderOf(order: readonly AuthMethod[], options: AuthOptions): readonly AuthMethod[] {
  const configured: Readonly<Record<AuthMethod, boolean>> = {
    certificate: options.certificate !== undefined,
    jwt: options.jwt !== undefined,
    password: true, // users may be added to the metadata at any time
    http: options.http !== undefined,
  };
  const left = AUTH_METHODS.find((method) => configured[method] && !order.includes(method));
  if (left !== undefined && left !== 'password') {
    throw new MqttError('INVALID_OPTION', `auth.${left} is configured, and auth.order does not name it`);
  }
  return [...new Set(order)].filter((method) => configured[method]);
}

interface Opening {
  readonly options: AuthOptions;
  readonly deps: AccessDeps;
  readonly closers: { close(): void }[];
}

async function open(method: AuthMethod, { options, deps, closers }: Opening): Promise<Authenticator> {
  const { certificate, jwt, http, users = {}, passwordFile } = options;
  if (method === 'certificate' && certificate !== undefined) return new CertificateUsers(certificate);
  if (method === 'jwt' && jwt !== undefined) return await JwtAuthenticator.open(jwt, deps.clock);
  if (method === 'http' && http !== undefined) return new HttpAuthenticator(http, deps.clock);
  const sources: UserSource[] = [configuredUsers(users)];
  if (passwordFile !== undefined) {
    const file = await PasswordFile.open(passwordFile, deps);
    closers.push(file);
    sources.push(file);
  }
  const kept = await watchUsers(deps);
  closers.push(kept);
  return new PasswordUsers([...sources, kept]);
}
