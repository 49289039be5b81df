import { expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage, parseShardId } from '@robustmq/storage-adapter';
import { createEngine } from '../src/engine.js';

it('gives message shards the retention that is set, also those that were there before', async () => {
  const clock = new ManualClock();
  const storage = new MemoryShardStorage({ clock });
  const shard = parseShardId('mqtt/default/messages/0');
  const configWith = async (messageRetentionMs: number, messageRetentionBytes: number) => {
    const options = { messageShards: 1, messageRetentionMs, messageRetentionBytes };
    const engine = await createEngine(options, { storage, clock, meta: createMemoryMeta() });
    const { config } = await storage.describeShard(shard);
    await engine.close();
    return config;
  };
  expect(await configWith(60_000, 0)).toEqual({ cleanup: 'delete', retentionMs: 60_000 });
  expect(await configWith(0, 5000)).toEqual({ cleanup: 'delete', retentionBytes: 5000 });
  expect(await configWith(0, 0)).toEqual({ cleanup: 'delete' });
});
