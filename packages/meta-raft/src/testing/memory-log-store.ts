// A log store whose disk is an object: what a crash loses, how long a sync takes and when it fails is the test's to say.

import { assert } from '@robustmq/stdx/assert';
import type { Clock } from '@robustmq/stdx/clock';
import type { Entry, HardState, LogPosition } from '../core/types.js';
import type { GroupId } from '../driver/group-id.js';
import type { LogStore, LogWrite, RecoveredLog } from '../driver/log-store.js';

interface GroupLog {
  base: LogPosition;
  entries: Entry[];
  hardState: HardState;
}

/** What survives a crash; given to the store of the next life. */
export class MemoryLogDisk {
  readonly groups = new Map<GroupId, GroupLog>();
  syncs = 0;
}

export interface MemoryLogStoreOptions {
  readonly disk: MemoryLogDisk;
  readonly clock: Clock;
  readonly syncMs?: number;
}

interface PendingWrite {
  readonly parts: readonly LogWrite[];
  readonly onDurable: (error?: Error) => void;
}

export class MemoryLogStore implements LogStore {
  readonly #disk: MemoryLogDisk;
  readonly #clock: Clock;
  syncMs: number;
  /** `hangs` keeps writes and answers none; `fails` answers all with an error; `crashed` does nothing more. */
  health: 'works' | 'hangs' | 'fails' | 'crashed' = 'works';
  #pending: PendingWrite[] = [];
  #sync: 'idle' | 'running' = 'idle';

  constructor(options: MemoryLogStoreOptions) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.syncMs = options.syncMs ?? 1;
  }

  takeRecovered(group: GroupId): RecoveredLog | undefined {
    const log = this.#disk.groups.get(group);
    return log && { base: log.base, entries: [...log.entries], hardState: log.hardState };
  }

  write(parts: readonly LogWrite[], onDurable: (error?: Error) => void): void {
    this.#pending.push({ parts, onDurable });
    this.#startSync();
  }

  async compact(group: GroupId, through: LogPosition): Promise<void> {
    const log = this.#disk.groups.get(group);
    assert(log, 'a log is compacted after it was written');
    if (this.health === 'crashed' || through.index <= log.base.index) return;
    log.entries = log.entries.filter((entry) => entry.index > through.index);
    log.base = through;
  }

  get bytesSinceCheckpoint(): number {
    return 0;
  }

  /** After a hang: what waited is written. */
  resume(): void {
    this.health = 'works';
    this.#startSync();
  }

  async close(): Promise<void> {
    this.health = 'crashed';
  }

  #startSync(): void {
    if (this.#sync === 'running' || this.health === 'hangs' || this.#pending.length === 0) return;
    this.#sync = 'running';
    const group = this.#pending;
    this.#pending = [];
    this.#clock.setTimer(this.syncMs, () => {
      this.#sync = 'idle';
      if (this.health === 'crashed') return;
      if (this.health === 'hangs') {
        this.#pending = [...group, ...this.#pending];
        return;
      }
      const error = this.health === 'fails' ? new Error('sync failed') : undefined; // as a disk would
      if (!error) this.#store(group);
      for (const write of group) write.onDurable(error);
      this.#startSync();
    });
  }

  #store(group: readonly PendingWrite[]): void {
    this.#disk.syncs++;
    for (const { parts } of group) for (const part of parts) this.#storePart(part);
  }

  #storePart(part: LogWrite): void {
    const none: GroupLog = {
      base: { index: 0, term: 0 },
      entries: [],
      hardState: { term: 0, votedFor: undefined, commitIndex: 0 },
    };
    const log = this.#disk.groups.get(part.group) ?? none;
    this.#disk.groups.set(part.group, log);
    if (part.reset) {
      log.base = part.reset;
      log.entries = [];
    }
    const first = part.entries[0];
    if (first) {
      const kept = log.entries.filter((entry) => entry.index < first.index);
      log.entries = [...kept, ...part.entries.filter((entry) => entry.index > log.base.index)];
      assert((log.entries[0]?.index ?? 0) === log.base.index + 1, 'the log on disk has no hole at its beginning');
      assert(log.entries.at(-1)?.index === log.base.index + log.entries.length, 'the log on disk is contiguous');
    }
    if (part.hardState) log.hardState = part.hardState;
  }
}
