// The tables `mqtt.auth` and `mqtt.acl`: who a client is, and what it may do.

import { z } from 'zod';
import { HOUR_MS, setting } from './setting.js';

const users = z.record(
  z.string().min(1, 'must not be empty').max(1024, 'must have at most 1,024 characters'),
  z.string().regex(/^scrypt\$\d+\$\d+\$\d+\$[^$\s]+\$[^$\s]+$/, 'must be scrypt$N$r$p$salt$key'),
);

const text = z.string().min(1, 'must not be empty').optional();

const jwt = z
  .strictObject({
    jwks_url: setting(text, 'Where the public keys of the issuer of tokens are; https, or http on this machine.'),
    key_file: setting(
      text,
      'A PEM file with the public key that tokens are signed with, or a file with the secret of HS256, HS384 and HS512.',
    ),
    algorithms: setting(
      z.array(z.string()).prefault([]),
      'What tokens may be signed with, such as RS256 or ES256. Required with jwks_url or key_file.',
    ),
    issuer: setting(text, 'What the claim iss of a token must be.'),
    audience: setting(text, 'What the claim aud of a token must be, or hold.'),
    username_claim: setting(z.string().min(1).prefault('sub'), 'The claim with the user name.'),
  })
  .prefault({});

const http = z
  .strictObject({
    url: setting(text, 'A service that is asked with POST and JSON who a client is: docs/guides/security.md.'),
    timeout_ms: setting(
      z.int().min(1).max(60_000).prefault(5000),
      'Milliseconds for one answer; a client without one is refused.',
    ),
    cache_ms: setting(z.int().min(0).max(HOUR_MS).prefault(0), 'Milliseconds for which "allow" is remembered.'),
  })
  .prefault({});

export const auth = z
  .strictObject({
    anonymous: setting(
      z.enum(['loopback', 'everywhere', 'nowhere']).prefault('loopback'),
      'Who may connect without a user name. loopback: clients on this machine only.',
    ),
    users: setting(users.prefault({}), {
      description: 'User names and the scrypt hashes of their passwords: scrypt$N$r$p$salt$key.',
      secret: true,
    }),
    password_file: setting(
      text,
      'A file of users, name:hash on each line, as mosquitto_passwd writes it. It is read every 30 seconds.',
    ),
    certificate_username: setting(
      z.enum(['none', 'common_name', 'alternative_name']).prefault('none'),
      'Which name of a verified client certificate is a user name.',
    ),
    order: setting(
      z.array(z.enum(['certificate', 'jwt', 'password', 'http'])).prefault(['certificate', 'jwt', 'password', 'http']),
      'Who is asked first who a client is. The first that knows it decides; what is not configured is passed over.',
    ),
    jwt,
    http,
  })
  .prefault({});

export const acl = z
  .strictObject({
    rules: setting(
      z.array(z.string()).prefault([]),
      'Access rules: allow|deny publish|subscribe|all [user=NAME] [client=ID] <topic filter>. The first that concerns a request decides. Those in the metadata follow.',
    ),
    default: setting(
      z.enum(['deny-with-rules', 'allow', 'deny']).prefault('deny-with-rules'),
      'What holds where no rule does. deny-with-rules: everything is allowed until there is a rule, and then nothing but what rules allow.',
    ),
  })
  .prefault({});
