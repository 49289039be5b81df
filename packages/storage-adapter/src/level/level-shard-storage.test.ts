import { describeShardStorage } from '../suite/index.js';
import { LevelShardStorage } from './level-shard-storage.js';

describeShardStorage('level', {
  open: (directory, clock) => LevelShardStorage.open({ directory }, { clock }),
  persistent: true,
  clock: 'given',
});
