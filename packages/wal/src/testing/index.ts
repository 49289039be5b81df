export { SECTOR_BYTES } from './sim-content.js';
export { SimDisk, SimDiskFault, type SimFault, type SimOperation, type SimOperationKind } from './sim-disk.js';
