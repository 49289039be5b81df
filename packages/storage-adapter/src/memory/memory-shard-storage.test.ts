import { describeShardStorage } from '../suite/index.js';
import { MemoryShardStorage } from './memory-shard-storage.js';

describeShardStorage('memory', {
  open: async (_directory, clock) => new MemoryShardStorage({ clock }),
  persistent: false,
  clock: 'given',
});
