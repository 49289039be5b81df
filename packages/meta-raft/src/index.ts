export { MetaError, type MetaErrorCode } from './errors.js';
export type { MetaService } from './meta-service.js';
export type { MetaOptions } from './options.js';
export { META_SERVICES, type RpcMount } from './rpc-mount.js';
export { type MetaDeps, startMeta } from './start-meta.js';
