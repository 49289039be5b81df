// What must be true of every write, whatever order explains it. Needs no search: every write puts a value of its own,
// and every change has a revision.
//
//   W1. No phantom: a value that is seen was put by somebody, whose call had begun and was not refused.
//   W2. At most once: a value is seen at one revision only, and at the one its writer was told.
//   W3. Nothing acknowledged is lost: at the end, every acknowledged put is there or was changed after it.
//   W4. Revisions follow time: what begins after a change was acknowledged has, or sees, a revision that is higher.
//   W5. Revisions are told apart: two acknowledged changes never have the same.

import type { KeyValue } from '../client/meta-client.js';
import type { HistoryRecord } from './history.js';
import type { RegisterInput, RegisterOutput } from './register-model.js';

type WriteRecord = HistoryRecord<RegisterInput, RegisterOutput>;

export interface WriteOracleInput {
  readonly records: readonly WriteRecord[];
  /** Every key of the history at the end, read when all was healed. */
  readonly atTheEnd: readonly KeyValue[];
  /** What else was seen of values and their revisions, as by a watch. */
  readonly sightings?: readonly Sighting[];
}

export interface Sighting {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
}

/** One sentence for each thing that is wrong; empty when nothing is. */
export function judgeWrites(input: WriteOracleInput): string[] {
  return [
    ...judgeSightings(input),
    ...judgeDurability(input),
    ...judgeTime(input.records),
    ...judgeIdentity(input.records),
  ];
}

/** What the writers were told: every watch of these keys must show it. */
export function acknowledgedPuts(records: readonly WriteRecord[]): Sighting[] {
  return records.flatMap((record) => {
    const value = valueWritten(record.input);
    const modRevision = changedAt(record);
    return value === undefined || modRevision === undefined ? [] : [{ key: record.partition, value, modRevision }];
  });
}

/** W1, W2. */
function judgeSightings({ records, atTheEnd, sightings = [] }: WriteOracleInput): string[] {
  const faults: string[] = [];
  const writers = new Map<string, WriteRecord>();
  const revisions = new Map<string, number>();
  for (const record of records) {
    const value = valueWritten(record.input);
    if (value === undefined) continue;
    const id = `${record.partition}=${value}`;
    if (writers.has(id)) faults.push(`the history itself is wrong: ${id} was written twice`);
    writers.set(id, record);
    const revision = changedAt(record);
    if (revision !== undefined) revisions.set(id, revision);
  }
  const see = ({ key, value, modRevision }: Sighting, returnedAt: number) => {
    const id = `${key}=${value}`;
    const writer = writers.get(id);
    if (!writer) faults.push(`W1: ${id} was seen and never written`);
    else if (writer.end === 'failed') faults.push(`W1: ${id} was seen, and its writer was told that nothing was done`);
    else if (writer.invokedAt > returnedAt) faults.push(`W1: ${id} was seen before it was written`);
    const known = revisions.get(id);
    if (known !== undefined && known !== modRevision) {
      faults.push(`W2: ${id} was written at revision ${known} and at ${modRevision}`);
    }
    revisions.set(id, modRevision);
  };
  for (const { output, partition, returnedAt } of records) {
    if (output?.op === 'get' && output.seen) see({ key: partition, ...output.seen }, returnedAt);
  }
  for (const kv of atTheEnd) see({ ...kv, value: kv.value.toString() }, Number.POSITIVE_INFINITY);
  for (const sighting of sightings) see(sighting, Number.POSITIVE_INFINITY);
  return faults;
}

/** W3. */
function judgeDurability({ records, atTheEnd }: WriteOracleInput): string[] {
  const faults: string[] = [];
  const last = new Map(atTheEnd.map((kv) => [kv.key, kv]));
  const deletedAt = new Map<string, number>();
  for (const record of records) {
    if (record.input.op !== 'delete' || record.end === 'failed') continue;
    // A delete of unknown outcome may have come after everything.
    const at = record.output === undefined ? Number.POSITIVE_INFINITY : (changedAt(record) ?? 0);
    deletedAt.set(record.partition, Math.max(at, deletedAt.get(record.partition) ?? 0));
  }
  for (const record of records) {
    const value = valueWritten(record.input);
    const revision = changedAt(record);
    if (value === undefined || revision === undefined) continue;
    const kv = last.get(record.partition);
    const said = `W3: ${record.partition}=${value} was acknowledged at revision ${revision}`;
    if (!kv) {
      if ((deletedAt.get(record.partition) ?? 0) <= revision) faults.push(`${said}, and the key is gone`);
    } else if (kv.modRevision < revision) {
      faults.push(`${said}, and the key was last changed at ${kv.modRevision}`);
    } else if (kv.modRevision === revision && kv.value.toString() !== value) {
      faults.push(`${said}, and the key is ${kv.value} of that revision`);
    }
  }
  return faults;
}

/** W4. */
function judgeTime(records: readonly WriteRecord[]): string[] {
  const faults: string[] = [];
  const returned = records.filter((record) => record.output !== undefined).sort((a, b) => a.returnedAt - b.returnedAt);
  const invoked = [...returned].sort((a, b) => a.invokedAt - b.invokedAt);
  let seen = 0;
  let next = 0;
  for (const record of invoked) {
    for (let before = returned[next]; before && before.returnedAt < record.invokedAt; before = returned[++next]) {
      seen = Math.max(seen, before.output?.revision ?? 0);
    }
    const revision = record.output?.revision ?? 0;
    const changed = changedAt(record) !== undefined;
    if (revision < seen || (changed && revision === seen)) {
      const what = `${record.input.op} of ${record.partition} by ${record.client}`;
      faults.push(`W4: ${what} answered with revision ${revision} though ${seen} was answered before it began`);
    }
  }
  return faults;
}

/** W5. */
function judgeIdentity(records: readonly WriteRecord[]): string[] {
  const faults: string[] = [];
  const changes = new Map<number, WriteRecord>();
  for (const record of records) {
    const revision = changedAt(record);
    if (revision === undefined) continue;
    const other = changes.get(revision);
    if (other) faults.push(`W5: revision ${revision} was told to ${other.client} and to ${record.client}`);
    changes.set(revision, record);
  }
  return faults;
}

function valueWritten(input: RegisterInput): string | undefined {
  return input.op === 'put' || input.op === 'cas' ? input.value : undefined;
}

/** The revision of the change it surely made. */
function changedAt({ output }: WriteRecord): number | undefined {
  switch (output?.op) {
    case 'put':
      return output.revision;
    case 'delete':
      return output.deleted > 0 ? output.revision : undefined;
    case 'cas':
      return output.succeeded ? output.revision : undefined;
    default:
      return undefined;
  }
}
