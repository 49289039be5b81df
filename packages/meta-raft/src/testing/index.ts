export { createMemoryMeta, type MemoryMeta, type MemoryMetaOptions } from './memory-meta.js';
