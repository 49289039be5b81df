export { MetaError, type MetaErrorCode } from './errors.js';
export { META_SERVICES, type RpcMount } from './rpc-mount.js';
export { type MetaDeps, type MetaOptions, type MetaService, startMeta } from './start-meta.js';
