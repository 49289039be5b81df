import { assert } from '@robustmq/stdx/assert';
import type { Entry, LogPosition, SnapshotMetadata } from '../core/types.js';
import type { AppliedState, ApplyBatch, StateMachine, StateSnapshot } from '../driver/state-machine.js';
import { MetaError } from '../errors.js';
import type { CommandResult } from '../state/command.js';
import { MetaState } from '../state/meta-state.js';
import { WatchHub } from '../state/watch-hub.js';
import type { LevelDatabase } from './level-database.js';
import { LevelStateStore, type StoredRecord } from './level-state-store.js';
import type { StoredHeader } from './state-header.js';
import { decodeStateStream, encodeStateStream } from './state-stream.js';

/** Called after a batch is applied, with what came of each command, in order. */
export type ApplyListener = (results: readonly CommandResult[]) => void;

const BEFORE_THE_LOG: AppliedState = { index: 0, term: 0, membership: undefined };

/**
 * The metadata state behind Raft: applied in memory, written to a LevelDB behind it.
 *
 * An entry's result is given as soon as memory has it: the entry itself is durable in the log of a quorum, and a
 * restart applies it again (M2). What the database holds is always the state after some applied entry.
 */
export class MetaStateMachine implements StateMachine<CommandResult> {
  readonly watches = new WatchHub(() => this.#state.versions);
  readonly #store: LevelStateStore;
  readonly #listeners = new Set<ApplyListener>();
  #state: MetaState;
  #applied: AppliedState = BEFORE_THE_LOG;

  private constructor(store: LevelStateStore) {
    this.#store = store;
    this.#state = new MetaState(store);
  }

  /**
   * Loads and checks what the database holds. Takes the database over: close() closes it. Rejects with MetaError DAMAGED
   * or DIRECTORY_MISMATCH.
   */
  static async open(db: LevelDatabase): Promise<MetaStateMachine> {
    const store = await LevelStateStore.open(db);
    const machine = new MetaStateMachine(store);
    const stored = await store.load();
    if (stored) {
      await loadState(machine.#state, stored.header, stored.records());
      machine.#applied = stored.header.applied;
    }
    return machine;
  }

  get applied(): AppliedState {
    return this.#applied;
  }

  /** Replaced when a snapshot is installed: to be asked for at each use. */
  get state(): MetaState {
    return this.#state;
  }

  /** Bytes applied and not yet written to the database. */
  get pendingBytes(): number {
    return this.#store.pendingBytes;
  }

  onApplied(listener: ApplyListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Synchronous up to the commit: no reader and no batch of the store ever meets half of it (M2). The driver bounds its size. */
  async apply(batch: ApplyBatch): Promise<readonly CommandResult[]> {
    const results: CommandResult[] = [];
    for (const entry of batch.entries) {
      if (entry.index <= this.#applied.index) continue; // a replay
      this.#applyEntry(entry, results);
    }
    this.#applied = { ...position(this.#applied), membership: batch.membership };
    if (results.length > 0) {
      for (const listener of this.#listeners) listener(results);
      this.watches.changed();
    }
    await this.#store.commit(this.#header());
    return results;
  }

  async flush(): Promise<LogPosition> {
    const reached = position(this.#applied);
    await this.#store.flush();
    return reached;
  }

  async snapshot(): Promise<StateSnapshot> {
    const view = await this.#store.view();
    const { index, term, membership } = view.header.applied;
    assert(membership !== undefined, 'a state that was written knows its membership');
    return {
      metadata: { index, term, membership },
      chunks: () => encodeStateStream(view),
      release: () => view.close(),
    };
  }

  async restore(metadata: SnapshotMetadata, chunks: AsyncIterable<Buffer>): Promise<void> {
    const { header, records } = await decodeStateStream(chunks);
    const { index, term } = header.applied;
    if (index !== metadata.index || term !== metadata.term) {
      throw new MetaError(
        'DAMAGED',
        `The snapshot says it is of index ${index}, term ${term}, and was announced as of index ${metadata.index}, term ${metadata.term}.`,
      );
    }
    const applied: AppliedState = { index, term, membership: metadata.membership };
    const next = new MetaState(this.#store);
    next.loadHeader(header.state);
    await this.#store.replace({ ...header, applied }, loadedOnTheWay(next, records), () => finishLoading(next, header));
    this.#state = next;
    this.#applied = applied;
    this.watches.changed();
  }

  async close(): Promise<void> {
    await this.#store.close();
  }

  #applyEntry(entry: Entry, results: CommandResult[]): void {
    assert(entry.index === this.#applied.index + 1, 'entries are applied without a gap');
    if (entry.kind === 'command') results.push(this.#state.apply(entry.payload, entry.index));
    this.#applied = { index: entry.index, term: entry.term, membership: this.#applied.membership };
  }

  #header(): StoredHeader {
    return { applied: this.#applied, state: this.#state.header, digest: this.#state.digest };
  }
}

function position({ index, term }: LogPosition): LogPosition {
  return { index, term };
}

async function loadState(
  state: MetaState,
  header: StoredHeader,
  records: AsyncIterable<readonly StoredRecord[]>,
): Promise<void> {
  state.loadHeader(header.state);
  for await (const rows of records) {
    for (const [key, record] of rows) state.loadRecord(key, record);
  }
  finishLoading(state, header);
}

async function* loadedOnTheWay(
  state: MetaState,
  records: AsyncIterable<readonly StoredRecord[]>,
): AsyncGenerator<readonly StoredRecord[]> {
  for await (const rows of records) {
    for (const [key, record] of rows) state.loadRecord(key, record);
    yield rows;
  }
}

function finishLoading(state: MetaState, header: StoredHeader): void {
  const { records, sum } = state.digest;
  if (records !== header.digest.records || sum !== header.digest.sum) {
    throw new MetaError(
      'DAMAGED',
      `The state holds ${records} records where ${header.digest.records} were written, or others than were written. ` +
        'It cannot be trusted: replace this node by one with an empty data directory and a new id.',
    );
  }
  state.finishLoading(header.state);
}
