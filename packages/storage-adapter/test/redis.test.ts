import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '@robustmq/stdx/clock';
import { openRedisStorage } from '../src/external/index.js';
import { parseOffset, type ShardStorage } from '../src/index.js';
import { describeShardStorage } from '../src/suite/index.js';
import { codeOf, record, texts } from '../src/suite/suite-context.js';
import { hasRedis, RedisServer } from './redis-server.js';
import { skipAloud } from './servers.js';

if (!hasRedis) skipAloud('storage in redis', 'redis-server is not installed (apt-get install redis-server)');
const withRedis = hasRedis ? describe : describe.skip;
const SAFE = ['--appendonly', 'yes', '--appendfsync', 'always'];

withRedis('redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start(...SAFE);
  });
  afterAll(() => server.stop());

  const open = (prefix: string) => openRedisStorage({ url: server.url, prefix }, { clock: systemClock });

  describeShardStorage('redis', {
    open: (directory, clock) =>
      openRedisStorage({ url: server.url, prefix: `${path.basename(directory)}:` }, { clock }),
    persistent: true,
    clock: 'given',
    openers: 'many',
  });

  it('says that it is of class bounded-loss', async () => {
    await using storage = await open('class:');
    expect(storage.capabilities.durability).toBe('bounded-loss');
  });

  it('tells the appends of other processes', async () => {
    await using one = await open('two:');
    await using two = await open('two:');
    const shard = await one.createShard('shared', { cleanup: 'keep' });
    const heard = new Promise<number>((resolve) => one.onEnd(shard, resolve));
    await two.append(shard, [record('from elsewhere')]);
    expect(await heard).toBe(1);
  });

  it('loses and doubles nothing when the server is killed between appends that go on', async () => {
    await using storage = await open('kill:');
    const shard = await storage.createShard('shard', { cleanup: 'keep' });
    const appended: string[] = [];
    for (let round = 0; round < 3; round++) {
      const writing = appendUntilKilled(storage, shard, { round, appended });
      await server.kill();
      await server.run();
      await writing;
    }
    const { records } = await storage.read(shard, { from: parseOffset(0), maxRecords: 10_000, maxBytes: 1e9 });
    expect(texts(records)).toEqual(appended);
  });

  async function appendUntilKilled(
    storage: ShardStorage,
    shard: Awaited<ReturnType<ShardStorage['createShard']>>,
    { round, appended }: { round: number; appended: string[] },
  ): Promise<void> {
    for (let i = 0; i < 200; i++) {
      await storage.append(shard, [record(`${round}/${i}`)]);
      appended.push(`${round}/${i}`);
    }
  }

  it('refuses a server whose settings would lose records, and names the setting', async () => {
    const cli = (...args: string[]) => execFileSync('redis-cli', ['-u', server.url, 'config', 'set', ...args]);
    const refusal = async () =>
      await open('x:').then(
        () => 'opened',
        (error: Error) => error.message,
      );
    cli('maxmemory-policy', 'allkeys-lru');
    expect(await codeOf(open('x:'))).toBe('ENGINE_UNFIT');
    expect(await refusal()).toContain('set it to noeviction');
    cli('maxmemory-policy', 'noeviction');
    cli('appendfsync', 'no');
    expect(await refusal()).toContain('appendfsync is no');
    cli('appendfsync', 'always');
    cli('appendonly', 'no');
    expect(await refusal()).toContain('appendonly is no');
    const unchecked = await openRedisStorage({ url: server.url, settingsCheck: 'skipped' }, { clock: systemClock });
    await unchecked.close();
    cli('appendonly', 'yes');
    await (await open('x:')).close();
  });

  it('says DISK_FULL when the server has no memory left, and goes on when it has', async () => {
    await using storage = await open('full:');
    const shard = await storage.createShard('shard', { cleanup: 'keep' });
    const cli = (value: string) => execFileSync('redis-cli', ['-u', server.url, 'config', 'set', 'maxmemory', value]);
    cli('1');
    expect(await codeOf(storage.append(shard, [record('too much')]))).toBe('DISK_FULL');
    cli('0');
    expect(await codeOf(storage.append(shard, [record('fits')]))).toBe('resolved');
  });
});

describe('a redis that is not there', () => {
  it('is UNAVAILABLE, and its password is not told', async () => {
    const opening = openRedisStorage(
      { url: 'redis://me:secret@127.0.0.1:1', connectTimeoutMs: 500 },
      { clock: systemClock },
    );
    const error = await opening.catch((caught: Error & { code: string }) => caught);
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect((error as Error).message).not.toContain('secret');
  });
});
