// A group of appends as one transaction.
//
// Invariants:
//   G1. The row of the shard is locked from before anything is decided until the commit: whoever appends next sees it.
//   G2. What an attempt did, and what it answered, are committed together.

import { createHash } from 'node:crypto';
import { errorMessage } from '@robustmq/stdx/coded-error';
import { StorageError } from '../errors.js';
import type { AppendOutcome, Attempt, GroupedAppend } from '../external/external-engine.js';
import { admitBatch, type ProducerState } from '../producer-table.js';
import type { AppendRecord, Offset, ShardId } from '../record.js';
import type { ShardConfig } from '../shard-storage.js';
import type { Ask, Row } from './postgres-connections.js';

export interface ShardRow {
  readonly id: number;
  readonly config: ShardConfig;
  readonly logStart: number;
  readonly next: number;
  readonly lastMs: number;
  readonly bytes: number;
}

interface PlacedRecord extends AppendRecord {
  readonly offset: number;
}

export const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Locks the row (G1). StorageError SHARD_NOT_FOUND. */
export async function lockShard(ask: Ask, shard: ShardId): Promise<ShardRow> {
  const [row] = await ask('SELECT * FROM shard WHERE name = $1 FOR UPDATE', [shard]);
  return shardOf(shard, row);
}

export function shardOf(shard: ShardId, row: Row | undefined): ShardRow {
  if (!row) throw new StorageError('SHARD_NOT_FOUND', `no shard ${shard}: create it first`);
  return {
    id: Number(row['id']),
    config: JSON.parse(String(row['config'])) as ShardConfig, // written by createShard
    logStart: Number(row['log_start']),
    next: Number(row['next']),
    lastMs: Number(row['last_ms']),
    bytes: Number(row['bytes']),
  };
}

export async function appendInTransaction(
  ask: Ask,
  shard: ShardId,
  work: { readonly group: readonly GroupedAppend[]; readonly attempt: Attempt; readonly wallTimeMs: number },
): Promise<readonly AppendOutcome[]> {
  const { group, attempt, wallTimeMs } = work;
  const row = await lockShard(ask, shard);
  const done = await ask('SELECT outcomes FROM attempt WHERE shard = $1 AND writer = $2 AND sequence = $3', [
    row.id,
    attempt.writer,
    attempt.sequence,
  ]);
  if (done[0]) return decodeOutcomes(String(done[0]['outcomes'])); // G2
  const producers = await loadProducers(ask, row.id, group);
  const placed: PlacedRecord[] = [];
  let next = row.next;
  const outcomes = group.map(({ records, producer }): AppendOutcome => {
    const firstOffset = next as Offset; // the next offset by definition
    const result = { firstOffset, lastOffset: (next + records.length - 1) as Offset }; // offsets of one batch follow each other
    if (producer) {
      try {
        const admission = admitBatch(producers.get(producer.id), { producer, records: records.length, firstOffset });
        if (admission.kind === 'repeated') return { kind: 'appended', result: admission.result };
        producers.set(producer.id, admission.state);
      } catch (error) {
        if (error instanceof StorageError) return { kind: 'refused', error };
        throw error;
      }
    }
    for (const record of records) placed.push({ ...record, offset: next++ });
    return { kind: 'appended', result };
  });
  const lastMs = Math.max(row.lastMs, wallTimeMs);
  const bytes = row.bytes + (await store(ask, row, { placed, lastMs }));
  await storeProducers(ask, row.id, producers);
  await ask(
    `INSERT INTO attempt VALUES ($1, $2, $3, $4)
     ON CONFLICT (shard, writer) DO UPDATE SET sequence = excluded.sequence, outcomes = excluded.outcomes`,
    [row.id, attempt.writer, attempt.sequence, encodeOutcomes(outcomes)],
  );
  if (placed.length > 0)
    await ask('UPDATE shard SET next = $2, last_ms = $3, bytes = $4 WHERE id = $1', [row.id, next, lastMs, bytes]);
  return outcomes;
}

/** Gives by how many payload bytes the shard has grown. */
async function store(
  ask: Ask,
  { id, config }: ShardRow,
  { placed, lastMs }: { placed: readonly PlacedRecord[]; lastMs: number },
): Promise<number> {
  let grown = 0;
  let kept = placed;
  if (config.cleanup === 'compact') {
    const newest = new Map(placed.map((record) => [record.key, record.offset]));
    kept = placed.filter(({ key, offset }) => key === undefined || newest.get(key) === offset);
    const keys = kept.flatMap(({ key }) => (key === undefined ? [] : [hashOf(key)]));
    const older = await ask(
      `DELETE FROM record WHERE shard = $1 AND key IS NOT NULL AND sha256(key) = ANY($2::bytea[])
       RETURNING octet_length(payload) AS bytes`,
      [id, keys],
    );
    for (const { bytes } of older) grown -= Number(bytes);
  }
  if (kept.length === 0) return grown;
  for (const { payload } of kept) grown += payload.length;
  await ask(
    `INSERT INTO record SELECT $1, off, $2, key, tags, payload
     FROM unnest($3::bigint[], $4::bytea[], $5::text[], $6::bytea[]) AS r(off, key, tags, payload)`,
    [
      id,
      lastMs,
      kept.map(({ offset }) => offset),
      kept.map(({ key }) => (key === undefined ? null : Buffer.from(key))),
      kept.map(({ tags = [] }) => JSON.stringify(tags)),
      kept.map(({ payload }) => payload),
    ],
  );
  const tagged = kept.flatMap(({ tags = [], offset }) => [...new Set(tags)].map((tag) => ({ tag, offset })));
  if (tagged.length > 0)
    await ask('INSERT INTO record_tag SELECT $1, tag, off FROM unnest($2::bytea[], $3::bigint[]) AS t(tag, off)', [
      id,
      tagged.map(({ tag }) => hashOf(tag)),
      tagged.map(({ offset }) => offset),
    ]);
  return grown;
}

async function loadProducers(
  ask: Ask,
  shard: number,
  group: readonly GroupedAppend[],
): Promise<Map<string, ProducerState>> {
  const ids = [...new Set(group.flatMap(({ producer }) => (producer ? [producer.id] : [])))];
  const states = new Map<string, ProducerState>();
  if (ids.length === 0) return states;
  const idOf = new Map(ids.map((id) => [hashOf(id).toString('hex'), id]));
  const rows = await ask('SELECT id, state FROM producer WHERE shard = $1 AND id = ANY($2::bytea[])', [
    shard,
    ids.map(hashOf),
  ]);
  for (const row of rows) {
    const id = idOf.get((row['id'] as Buffer).toString('hex')); // a bytea
    if (id !== undefined) states.set(id, JSON.parse(String(row['state'])) as ProducerState); // written below
  }
  return states;
}

async function storeProducers(ask: Ask, shard: number, states: ReadonlyMap<string, ProducerState>): Promise<void> {
  if (states.size === 0) return;
  await ask(
    `INSERT INTO producer SELECT $1, id, state FROM unnest($2::bytea[], $3::text[]) AS p(id, state)
     ON CONFLICT (shard, id) DO UPDATE SET state = excluded.state`,
    [shard, [...states.keys()].map(hashOf), [...states.values()].map((state) => JSON.stringify(state))],
  );
}

type WrittenOutcome =
  | { readonly first: number; readonly last: number }
  | { readonly code: string; readonly text: string };

function encodeOutcomes(outcomes: readonly AppendOutcome[]): string {
  const written = outcomes.map(
    (outcome): WrittenOutcome =>
      outcome.kind === 'appended'
        ? { first: outcome.result.firstOffset, last: outcome.result.lastOffset }
        : { code: outcome.error.code, text: errorMessage(outcome.error) },
  );
  return JSON.stringify(written);
}

function decodeOutcomes(text: string): AppendOutcome[] {
  const written = JSON.parse(text) as WrittenOutcome[]; // written above
  return written.map(
    (outcome) =>
      'code' in outcome
        ? {
            kind: 'refused',
            error: new StorageError(
              outcome.code === 'PRODUCER_FENCED' ? 'PRODUCER_FENCED' : 'SEQUENCE_GAP',
              outcome.text,
            ),
          }
        : { kind: 'appended', result: { firstOffset: outcome.first as Offset, lastOffset: outcome.last as Offset } }, // were offsets
  );
}
