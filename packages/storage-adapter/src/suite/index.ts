export { describeShardStorage } from './describe-shard-storage.js';
export type { SuiteOptions } from './suite-context.js';
