// What every watch promises (the validators of etcd's robustness tests, by their names):
//
//   V1. Ordered: revisions never go down.
//   V2. Unique: no event comes twice.
//   V3. Atomic: all events of a revision come in one batch.
//   V4. Reliable: no event is missing between the first and the last.
//   V5. Resumable: a watch from a revision gets every event from there on, and none before.
//   V6. Bookmarkable: a batch says the revision of its last event, so that one may resume after it.

import type { WatchBatch, WatchEvent } from '../client/meta-client.js';
import type { Sighting } from './write-oracle.js';

export interface ObservedWatch {
  readonly name: string;
  /** Where it was told to begin; undefined: with what came next. */
  readonly fromRevision: number | undefined;
  readonly selects: (key: string) => boolean;
  /** Across all its reconnects. */
  readonly batches: readonly WatchBatch[];
  /** It had the time to receive everything up to here; undefined when it was ended anywhere. */
  readonly completeTo?: number;
}

/**
 * One sentence for each thing that is wrong with a watch, or between two of them; empty when nothing is. Every watch is
 * to have the changes that another saw, and those that were acknowledged to their writers.
 */
export function judgeWatches(watches: readonly ObservedWatch[], acknowledged: readonly Sighting[] = []): string[] {
  const faults = watches.flatMap((watch) => [...judgeOrder(watch), ...judgeBatches(watch)]);
  const reference = new Map<string, WatchEvent>();
  const expected: Change[] = acknowledged.map(({ key, modRevision }) => ({ key, revision: modRevision }));
  for (const watch of watches) {
    for (const event of watch.batches.flatMap((batch) => batch.events)) {
      const id = eventId(event);
      const known = reference.get(id);
      if (known && contentOf(known) !== contentOf(event)) {
        faults.push(`${watch.name}: ${id} is ${contentOf(event)}; another watch saw ${contentOf(known)}`);
      }
      if (!known) expected.push({ key: keyOf(event), revision: revisionOf(event) });
      reference.set(id, event);
    }
  }
  return [...faults, ...watches.flatMap((watch) => judgeCompleteness(watch, expected))];
}

/** V1, V2, V5 (none before). */
function judgeOrder({ name, fromRevision = 0, selects, batches }: ObservedWatch): string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  let last = 0;
  for (const event of batches.flatMap((batch) => batch.events)) {
    const revision = revisionOf(event);
    const id = eventId(event);
    if (revision < last) faults.push(`V1: ${name}: ${id} came after revision ${last}`);
    if (seen.has(id)) faults.push(`V2: ${name}: ${id} came twice`);
    if (revision < fromRevision) faults.push(`V5: ${name}: ${id} is before ${fromRevision}, where it was to begin`);
    if (!selects(keyOf(event))) faults.push(`${name}: ${id} was not asked for`);
    seen.add(id);
    last = Math.max(last, revision);
  }
  return faults;
}

/** V3, V6. */
function judgeBatches({ name, batches }: ObservedWatch): string[] {
  const faults: string[] = [];
  let before = 0;
  for (const { revision, events } of batches) {
    const first = events[0] && revisionOf(events[0]);
    const last = events.at(-1);
    if (first !== undefined && first === before) faults.push(`V3: ${name}: revision ${first} came in two batches`);
    if (last && revisionOf(last) !== revision) {
      faults.push(`V6: ${name}: a batch says revision ${revision} and ends with ${revisionOf(last)}`);
    }
    before = last ? revisionOf(last) : before;
  }
  return faults;
}

interface Change {
  readonly key: string;
  readonly revision: number;
}

/** V4, V5 (all from there on). */
function judgeCompleteness(watch: ObservedWatch, expected: readonly Change[]): string[] {
  const seen = watch.batches.flatMap((batch) => batch.events);
  const first = seen[0];
  const last = seen.at(-1);
  const ids = new Set(seen.map(eventId));
  const from = watch.fromRevision ?? (first ? revisionOf(first) : Number.POSITIVE_INFINITY);
  const to = watch.completeTo ?? (last ? revisionOf(last) : 0);
  const missing = new Set<string>();
  for (const { key, revision } of expected) {
    const id = `${key}@${revision}`;
    if (revision >= from && revision <= to && watch.selects(key) && !ids.has(id)) missing.add(id);
  }
  return [...missing].map((id) => `V4: ${watch.name}: ${id} is missing`);
}

/** The events of a watch as what they showed of values, for the write oracle. */
export function sightingsOf(batches: readonly WatchBatch[]) {
  return batches.flatMap(({ events }) =>
    events.flatMap((event) =>
      event.type === 'put'
        ? [{ key: event.kv.key, value: event.kv.value.toString(), modRevision: event.kv.modRevision }]
        : [],
    ),
  );
}

function keyOf(event: WatchEvent): string {
  return event.type === 'put' ? event.kv.key : event.key;
}

function revisionOf(event: WatchEvent): number {
  return event.type === 'put' ? event.kv.modRevision : event.modRevision;
}

function eventId(event: WatchEvent): string {
  return `${keyOf(event)}@${revisionOf(event)}`;
}

function contentOf(event: WatchEvent): string {
  return event.type === 'put' ? `put ${event.kv.value} v${event.kv.version}` : 'delete';
}
