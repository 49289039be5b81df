import { assert } from '@robustmq/stdx/assert';
import type { RangeAnswer, RangeQuery, SortTarget } from './command.js';
import type { KeyBytes, KeyRange } from './key-range.js';
import { OrderedIndex } from './ordered-index.js';
import { type Draft, encodeVersion, type LeaseId, type LiveVersion, type Version, versionRecordKey } from './record.js';
import type { RecordLedger } from './record-ledger.js';

/** All changes of one revision, in order of their sub number. */
export type Change = readonly Version[];

/**
 * Every version of every key since the last compaction, in memory: by key for reads, by revision for watches.
 *
 * Why in memory: a control plane's state is small and is read far more often than written, start-up reads all
 * of it anyway to check it, and a read then is a hash lookup instead of a trip to another thread. The limit is
 * the heap: about 250 bytes per version beside its key and value.
 *
 * Invariants:
 *   V1. revision rises by one per change that writes; all versions of a change share it and are numbered from sub 0.
 *   V2. #changes[r - #changesFrom] is the change of revision r, for every r in [changesFrom, revision].
 *   V3. A key's versions rise in (modRevision, sub); there is at least one.
 *   V4. Of the versions at or below compactedRevision a key keeps the newest, and that only if it is no deletion or
 *       is of exactly that revision: so reads at, and watches from, compactedRevision itself are complete.
 */
export class VersionStore {
  readonly #ledger: RecordLedger;
  readonly #keys = new OrderedIndex<Version[]>();
  /** The empty store is revision 1, as in etcd. */
  #changes: Version[][] = [[]];
  #changesFrom = 1;
  #revision = 1;
  #compactedRevision = 0;
  #liveKeys = 0;

  constructor(ledger: RecordLedger) {
    this.#ledger = ledger;
  }

  /** Of the newest change; 1 before the first. */
  get revision(): number {
    return this.#revision;
  }

  /** Reads below this revision, and watches from below it, are refused. */
  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** Keys that exist now. */
  get liveKeys(): number {
    return this.#liveKeys;
  }

  current(key: KeyBytes): LiveVersion | undefined {
    const newest = this.#keys.get(key)?.at(-1);
    return newest && isLive(newest) ? newest : undefined;
  }

  /** The version that was in force at a revision, if the key existed then and its history reaches back so far. */
  at(key: KeyBytes, revision: number): LiveVersion | undefined {
    const versions = this.#keys.get(key);
    return versions && newestUpTo(versions, revision);
  }

  /** Visits the keys of a range that exist at a revision (0: now), in order. */
  walk(range: KeyRange, revision: number, visit: (version: LiveVersion) => 'go-on' | 'stop'): void {
    this.#keys.walk(range, (versions) => {
      const version = newestUpTo(versions, revision === 0 ? Number.MAX_SAFE_INTEGER : revision);
      return version ? visit(version) : 'go-on';
    });
  }

  /** The caller has checked that the revision is neither compacted nor in the future. */
  range(query: RangeQuery): RangeAnswer {
    const { limit } = query;
    const matching: LiveVersion[] = [];
    // Without sorting and bounds the first `limit` keys are the answer, and the rest only counts.
    const keepAll = query.sort !== undefined || limit === 0;
    let count = 0;
    let beyond = 0;
    this.walk(query.range, query.revision, (version) => {
      count++;
      if (query.returns === 'count' || !withinBounds(version, query)) return 'go-on';
      if (keepAll || matching.length < limit) matching.push(version);
      else beyond++;
      return 'go-on';
    });
    if (query.sort) sortVersions(matching, query.sort.by, query.sort.order);
    const kvs = limit > 0 ? matching.slice(0, limit) : matching;
    const answered = query.returns === 'keys' ? kvs.map((kv) => ({ ...kv, value: NO_VALUE })) : kvs;
    return { kvs: answered, count, more: beyond > 0 || matching.length > kvs.length };
  }

  /** The change of a revision, or undefined when it has not happened or is compacted. */
  change(revision: number): Change | undefined {
    return this.#changes[revision - this.#changesFrom];
  }

  /** Begins a change; whatever the writer writes has one revision. Without a write nothing has happened. */
  write(): ChangeWriter {
    return new ChangeWriter(this.#revision + 1, {
      current: (key) => this.current(key),
      append: (draft) => this.#append(draft),
    });
  }

  /** Forgets what a read at `revision` does not need. The caller has checked compacted < revision <= newest. */
  compact(revision: number): void {
    assert(revision > this.#compactedRevision && revision <= this.#revision, 'compaction moves forward within history');
    const touched = new Set<KeyBytes>();
    for (let r = this.#changesFrom; r <= revision; r++) {
      for (const version of this.change(r) ?? []) touched.add(version.key);
    }
    this.#compactedRevision = revision;
    for (const key of touched) this.#prune(key, revision);
    this.#changes.splice(0, revision - this.#changesFrom); // the change of `revision` itself stays (V4)
    this.#changesFrom = revision;
  }

  /** Takes over one stored version; they come in order of their record keys. */
  load(version: Version): void {
    assert(version.modRevision >= this.#revision, 'stored versions come in order');
    this.#ledger.count(version.crc);
    this.#index(version);
    this.#revision = version.modRevision;
    if (version.modRevision >= this.#changesFrom) this.#record(version);
  }

  /** To be called before the first load(). */
  loadCompacted(revision: number): void {
    this.#compactedRevision = revision;
    this.#changesFrom = Math.max(1, revision);
    this.#changes = [];
    this.#revision = 0;
  }

  /** To be called after the last load(): the newest revisions may have left no record of their own. */
  finishLoading(revision: number): void {
    assert(revision >= this.#revision, 'no stored version is newer than the stored revision');
    this.#revision = revision;
    while (this.#changes.length < revision - this.#changesFrom + 1) this.#changes.push([]); // V2
  }

  #append(draft: Draft<Version>): Version {
    const record = encodeVersion(draft);
    const version: Version = { ...draft, crc: record.crc };
    this.#ledger.put(versionRecordKey(version.modRevision, version.sub), record);
    this.#index(version);
    this.#revision = version.modRevision; // V1
    this.#record(version);
    return version;
  }

  #record(version: Version): void {
    const at = version.modRevision - this.#changesFrom;
    const change = this.#changes[at];
    if (change) {
      change.push(version);
      return;
    }
    // After a load, revisions whose every version was compacted away have left no record.
    while (this.#changes.length < at) this.#changes.push([]);
    this.#changes.push([version]); // V2
  }

  #index(version: Version): void {
    const versions = this.#keys.get(version.key);
    const before = versions?.at(-1);
    if (versions) versions.push(version);
    else this.#keys.set(version.key, [version]);
    const existed = before !== undefined && isLive(before);
    if (isLive(version) !== existed) this.#liveKeys += existed ? -1 : 1;
  }

  #prune(key: KeyBytes, revision: number): void {
    const versions = this.#keys.get(key);
    assert(versions !== undefined && versions.length > 0, 'V3: a key of a change has versions');
    let keep = 0;
    while (keep + 1 < versions.length && (versions[keep + 1] as Version).modRevision <= revision) keep++; // within
    const first = versions[keep] as Version; // within
    const gone = first.modRevision < revision && !isLive(first); // V4
    for (const version of versions.splice(0, keep + (gone ? 1 : 0))) {
      this.#ledger.delete(versionRecordKey(version.modRevision, version.sub), version.crc);
    }
    if (versions.length === 0) this.#keys.delete(key);
  }
}

interface ChangeTarget {
  readonly current: (key: KeyBytes) => LiveVersion | undefined;
  readonly append: (draft: Draft<Version>) => Version;
}

/** Writes of one change. Each is visible to reads at once. */
export class ChangeWriter {
  readonly revision: number;
  readonly #target: ChangeTarget;
  #sub = 0;

  constructor(revision: number, target: ChangeTarget) {
    this.revision = revision;
    this.#target = target;
  }

  get writes(): number {
    return this.#sub;
  }

  put(key: KeyBytes, value: Buffer, lease: LeaseId | undefined): Version {
    const before = this.#target.current(key);
    return this.#target.append({
      key,
      modRevision: this.revision,
      sub: this.#sub++,
      createRevision: before?.createRevision ?? this.revision,
      version: (before?.version ?? 0) + 1,
      lease,
      value,
    });
  }

  /** The key exists: the caller has looked. */
  delete(key: KeyBytes): Version {
    const sub = this.#sub++;
    return this.#target.append({
      key,
      modRevision: this.revision,
      sub,
      createRevision: 0,
      version: 0,
      lease: undefined,
      value: undefined,
    });
  }
}

const NO_VALUE = Buffer.alloc(0);

export function isLive(version: Version): version is LiveVersion {
  return version.value !== undefined;
}

/** The newest version at or below a revision, unless that is a deletion. */
function newestUpTo(versions: readonly Version[], revision: number): LiveVersion | undefined {
  for (let i = versions.length - 1; i >= 0; i--) {
    const version = versions[i] as Version; // within
    if (version.modRevision <= revision) return isLive(version) ? version : undefined;
  }
  return undefined;
}

function withinBounds(version: LiveVersion, query: RangeQuery): boolean {
  return inside(version.modRevision, query.modRevision) && inside(version.createRevision, query.createRevision);
}

function inside(revision: number, bounds: { readonly min: number; readonly max: number } | undefined): boolean {
  if (!bounds) return true;
  return (bounds.min === 0 || revision >= bounds.min) && (bounds.max === 0 || revision <= bounds.max);
}

function sortVersions(versions: LiveVersion[], by: SortTarget, order: 'ascending' | 'descending'): void {
  const direction = order === 'ascending' ? 1 : -1;
  versions.sort((a, b) => direction * compareBy(by, a, b));
}

function compareBy(by: SortTarget, a: LiveVersion, b: LiveVersion): number {
  if (by === 'value') return Buffer.compare(a.value, b.value);
  if (by === 'key') return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
  return a[by] - b[by];
}
