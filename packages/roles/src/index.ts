export type { App } from './app.js';
export { startBrokerRole } from './broker-role.js';
export { runApp } from './command-line.js';
export { reportReady, startGrpc, startHttp, startRegistration } from './listening.js';
export { connectMetaRole, type MetaRole, metaHint, startMetaRole } from './meta-role.js';
export { type Node, takesPart } from './node.js';
export { type StorageRole, startJournalRole, startPlainStorage } from './storage-role.js';
