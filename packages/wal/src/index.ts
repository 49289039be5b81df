export { directoryHolder } from './disk/directory-lock.js';
export type { Disk, DiskFile, DiskLock } from './disk/disk.js';
export { nodeDisk } from './disk/node-disk.js';
export { isDiskFull, WAL_ERRORS, WalError, type WalErrorCode } from './errors.js';
export type { WalOptions } from './options.js';
export type { OnDurable } from './pending-frames.js';
export type { WalFrame } from './replay.js';
export { Wal, type WalDeps } from './wal.js';
