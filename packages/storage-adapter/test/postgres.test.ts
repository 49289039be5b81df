import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '@robustmq/stdx/clock';
import { openPostgresStorage } from '../src/external/index.js';
import { parseOffset } from '../src/index.js';
import { describeShardStorage } from '../src/suite/index.js';
import { codeOf, record, texts } from '../src/suite/suite-context.js';
import { hasPostgres, PostgresServer } from './postgres-server.js';
import { skipAloud } from './servers.js';

if (!hasPostgres) skipAloud('storage in postgres', 'no server in /usr/lib/postgresql (apt-get install postgresql)');
const withPostgres = hasPostgres ? describe : describe.skip;

withPostgres('postgres', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  }, 60_000);
  afterAll(() => server.stop());

  const open = (schema: string) => openPostgresStorage({ url: server.url, schema }, { clock: systemClock });

  describeShardStorage('postgres', {
    open: (directory, clock) => {
      const schema = `s_${Buffer.from(path.basename(directory)).toString('hex')}`;
      return openPostgresStorage({ url: server.url, schema, connectionsMax: 2 }, { clock });
    },
    persistent: true,
    clock: 'given',
    openers: 'many',
  });

  it('is single-fsync without standbys', async () => {
    await using storage = await open('class');
    expect(storage.capabilities.durability).toBe('single-fsync');
  });

  it('loses and doubles nothing when the server dies between appends that go on', async () => {
    await using storage = await open('killed');
    const shard = await storage.createShard('shard', { cleanup: 'keep' });
    const appended: string[] = [];
    for (let round = 0; round < 3; round++) {
      const writing = (async () => {
        for (let i = 0; i < 200; i++) {
          await storage.append(shard, [record(`${round}/${i}`)]);
          appended.push(`${round}/${i}`);
        }
      })();
      await server.kill();
      await server.run();
      await writing;
    }
    const { records } = await storage.read(shard, { from: parseOffset(0), maxRecords: 10_000, maxBytes: 1e9 });
    expect(texts(records)).toEqual(appended);
  });

  it('refuses a server that does not sync, and names the setting', async () => {
    await server.kill('SIGINT');
    await server.run('fsync=off');
    const error = await open('x').catch((caught: Error & { code: string }) => caught);
    await server.kill('SIGINT');
    await server.run();
    expect(error).toMatchObject({ code: 'ENGINE_UNFIT' });
    expect((error as Error).message).toContain('fsync is off');
  });

  it('says what is wrong with a database that does not exist', async () => {
    const url = `${server.url}_of_nobody`;
    expect(await codeOf(openPostgresStorage({ url }, { clock: systemClock }))).toBe('ENGINE_UNFIT');
  });
});

it('is UNAVAILABLE when nobody answers', async () => {
  const url = 'postgres://me:secret@127.0.0.1:1/none';
  expect(await codeOf(openPostgresStorage({ url }, { clock: systemClock }))).toBe('UNAVAILABLE');
});
