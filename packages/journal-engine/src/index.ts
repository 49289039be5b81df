export { JOURNAL_ERRORS, JournalError, type JournalErrorCode } from './errors.js';
export { JournalShardStorage } from './journal-shard-storage.js';
export type { JournalOptions } from './options.js';
export { type JournalDeps, type RunningJournal, startJournal } from './start-journal.js';
export type { EngineStatus } from './writer/engine-state.js';
