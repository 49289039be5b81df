export { History, type HistoryRecord, type OperationEnd, type RegisterHistory, recordOperation } from './history.js';
export {
  checkLinearizability,
  type LinearizabilityOptions,
  type LinearizabilityVerdict,
  type ObservedOperation,
  type SequentialModel,
} from './linearizability.js';
export { createMemoryMeta, type MemoryMeta, type MemoryMetaOptions } from './memory-meta.js';
export { type RegisterInput, type RegisterOutput, type RegisterState, registerModel } from './register-model.js';
export {
  type MetaSimulationOptions,
  type MetaSimulationReport,
  simulateMeta,
} from './simulation/meta-simulation.js';
export { judgeWatches, type ObservedWatch, sightingsOf } from './watch-validators.js';
export { acknowledgedPuts, judgeWrites, type Sighting, type WriteOracleInput } from './write-oracle.js';
