import { expect, it } from '@jest/globals';
import { loadClient } from './load-client.js';

it('names the package that is missing, and how it gets there', async () => {
  const missing = 'a-client-nobody-has-installed';
  const loading = loadClient({ name: 'ioredis', range: '^6' }, () => import(missing));
  await expect(loading).rejects.toMatchObject({
    code: 'CLIENT_MISSING',
    message:
      'this storage needs the package ioredis, which is not installed: run `npm install "ioredis@^6"` in the folder of the program or in one above it, and start again',
  });
});

it('tells a package that is broken from one that is missing', async () => {
  const loading = loadClient({ name: 'pg', range: '^8.11' }, () => Promise.reject(new TypeError('its own fault')));
  await expect(loading).rejects.toMatchObject({
    code: 'CLIENT_MISSING',
    message: 'the package pg cannot be loaded: its own fault',
  });
});

it('gives what was loaded', async () => {
  expect(await loadClient({ name: 'path', range: '*' }, () => import('node:path'))).toHaveProperty('join');
});
