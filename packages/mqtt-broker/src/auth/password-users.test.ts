import { describe, expect, it } from '@jest/globals';
import { ReasonCode } from '../codec/reason-codes.js';
import type { Credentials } from './authenticator.js';
import { hashPassword } from './password-hash.js';
import { configuredUsers, PasswordUsers } from './password-users.js';

const credentials = (username: string | undefined, password: string): Credentials => ({
  clientId: 'c',
  username,
  password: Buffer.from(password),
  peer: { address: '127.0.0.1', port: 1, scope: 'loopback' },
  version: 5,
});

describe('PasswordUsers', () => {
  it('accepts what hashPassword() made, and nothing else', async () => {
    const users = new PasswordUsers([configuredUsers({ ann: await hashPassword('secret', Buffer.alloc(16, 7)) })]);
    expect(await users.authenticate(credentials('ann', 'secret'))).toEqual({ kind: 'accepted', username: 'ann' });
    expect(await users.authenticate(credentials('ann', 'wrong'))).toMatchObject({
      kind: 'refused',
      reasonCode: ReasonCode.badUserNameOrPassword,
    });
    expect(await users.authenticate(credentials('bob', 'secret'))).toEqual({ kind: 'unknown' }); // another may know it
    expect(await users.authenticate(credentials(undefined, ''))).toEqual({ kind: 'unknown' });
  });

  it('says "server busy" to a flood, and serves those that wait', async () => {
    const users = new PasswordUsers([
      configuredUsers({ ann: 'scrypt$2$1$1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }),
    ]);
    const results = await Promise.all(Array.from({ length: 300 }, () => users.authenticate(credentials('ann', 'x'))));
    const codes = results.map((result) => (result.kind === 'refused' ? result.reasonCode : undefined));
    expect(codes.filter((code) => code === ReasonCode.badUserNameOrPassword)).toHaveLength(258);
    expect(codes.filter((code) => code === ReasonCode.serverBusy)).toHaveLength(42);
    expect(await users.authenticate(credentials('ann', 'x'))).toMatchObject({
      reasonCode: ReasonCode.badUserNameOrPassword,
    });
  });

  it.each([
    'secret',
    'scrypt$3$8$1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA',
    'scrypt$16777216$8$1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA',
    'scrypt$1024$8$1$$AAAAAAAAAAAAAAAAAAAAAAAA',
  ])('refuses %j as a hash', (hash) => {
    expect(() => configuredUsers({ ann: hash })).toThrow(/user "ann"/);
  });
});
