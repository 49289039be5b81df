// The archive that people download: small, complete, and it runs where it is unpacked, with nothing but Node.

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mqtt from 'mqtt';
import { repositoryRoot, runCommand, ServerProcess } from '../src/server-process.js';

const run = promisify(execFile);

describe('the archive', () => {
  let scratch: string;
  let archive: string;
  let home: string;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'robustmq-archive-'));
    await run(process.execPath, [join(repositoryRoot, 'scripts/package.mjs'), '--out', scratch]);
    const [name = ''] = await readdir(scratch);
    archive = join(scratch, name);
    const place = join(scratch, 'a place with spaces');
    await run('mkdir', [place]);
    await run('tar', ['-xzf', archive, '-C', place]);
    home = join(place, name.replace(/\.tar\.gz$/, ''));
  }, 60_000);

  afterAll(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  it('is named after version, system and processor, and is under 10 MB', async () => {
    expect(archive).toMatch(new RegExp(`/robustmq-\\d+\\.\\d+\\.\\d+-${process.platform}-${process.arch}\\.tar\\.gz$`));
    expect((await stat(archive)).size).toBeLessThan(10_000_000);
  });

  it('holds the command, its configuration, and the licences', async () => {
    expect(await readdir(home)).toEqual(
      expect.arrayContaining(['LICENSE', 'THIRD-PARTY-NOTICES.txt', 'bin', 'config', 'lib']),
    );
    for (const file of ['robust-server.toml', 'cluster-node.toml']) {
      const check = await runCommand(['config', 'check', '--config', join(home, 'config', file)], {
        launcher: join(home, 'bin/robust-server'),
      });
      expect({ file, code: check.code, stderr: check.stderr }).toEqual({ file, code: 0, stderr: '' });
    }
  }, 30_000);

  it('starts from any directory, through a link, and serves', async () => {
    const link = join(scratch, 'robust-server');
    await run('ln', ['-s', join(home, 'bin/robust-server'), link]);
    const server = new ServerProcess({ launcher: link, cwd: tmpdir(), dataPath: join(scratch, 'data') });
    const { mqtt: address } = await server.ready();
    const client = await mqtt.connectAsync(`mqtt://${address}`, { reconnectPeriod: 0 });
    await client.publishAsync('from/the/archive', 'hello', { qos: 1, retain: true });
    await client.endAsync();
    expect(await server.end()).toBe(0);
  }, 30_000);
});
