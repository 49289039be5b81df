export { MetaError, type MetaErrorCode } from '../errors.js';
export type { ConnectMetaOptions } from '../options.js';
export { type ConnectMetaDeps, connectMeta } from './connect-meta.js';
export type {
  CallOptions,
  Compare,
  KeySelector,
  KeyValue,
  Lease,
  LeaseId,
  MetaClient,
  Operation,
  OperationResult,
  RangeOptions,
  RangeResult,
  Transaction,
  TransactionResult,
  WatchBatch,
  WatchEvent,
  WatchOptions,
} from './meta-client.js';
