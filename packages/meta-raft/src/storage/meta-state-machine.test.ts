import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { commandBody } from '../../test/state-arbitraries.js';
import type { Entry, Membership } from '../core/types.js';
import type { CommandBody, CommandResult } from '../state/command.js';
import { encodeCommand } from '../state/command-codec.js';
import { keyFromText, prefixRange } from '../state/key-range.js';
import type { MetaState } from '../state/meta-state.js';
import { openMemoryDatabase } from '../testing/level-memory-database.js';
import { type LevelDatabase, openLevelDatabase } from './level-database.js';
import { MetaStateMachine } from './meta-state-machine.js';

const membership: Membership = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [7],
  learnersNext: [],
  autoLeave: false,
};

function entries(bodies: readonly CommandBody[], from = 1): Entry[] {
  return bodies.map((body, i) => ({
    index: from + i,
    term: 3,
    kind: 'command',
    payload: encodeCommand({
      timeMs: 1000 + i,
      identity: { client: 'c', sequence: from + i, settledBelow: Math.max(0, from + i - 5), attempt: 1 },
      body,
    }),
  }));
}

function put(key: string, value: string, lease?: string): CommandBody {
  const operation = { op: 'put', key: keyFromText(key), value: Buffer.from(value), lease, returns: 'nothing' } as const;
  return { kind: 'transact', when: [], then: [operation], otherwise: [] };
}

/** Everything that can be seen of a state, as text: jest compares large buffers byte by byte. */
function visible(state: MetaState): string {
  const all = prefixRange(keyFromText(''));
  const reads: unknown[] = [];
  for (let revision = state.versions.compactedRevision; revision <= state.versions.revision; revision++) {
    reads.push(state.range({ range: all, revision, limit: 0, returns: 'keys-and-values' }));
    reads.push(state.versions.change(revision));
  }
  const leases = state.leases.all().map((lease) => [lease, state.leases.keysOf(lease.id)]);
  const everything = { header: state.header, digest: state.digest, reads, leases, clients: state.requests.clients };
  return JSON.stringify(
    everything,
    (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value),
    1,
  );
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

async function* each(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

/** The database as a crash would leave it after some batch: batches beyond `keep` fail. */
function failingAfter(db: LevelDatabase, keep: number): LevelDatabase {
  let left = keep;
  return new Proxy(db, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      if (property !== 'batch') return value.bind(target);
      return (...args: unknown[]) => {
        if (left-- <= 0) return Promise.reject(new Error('the disk is gone'));
        return value.apply(target, args);
      };
    },
  });
}

describe('MetaStateMachine', () => {
  const directories: string[] = [];
  afterEach(async () => {
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
  });

  it('gives the state back after a restart, and applies nothing twice', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'meta-state-'));
    directories.push(directory);
    const log = entries([
      { kind: 'grant-lease', id: '7', ttlMs: 1000 },
      put('a', '1', '7'),
      put('b', '2'),
      put('a', '3', '7'),
      { kind: 'compact', revision: 3 },
      put('ü/✓', 'text'),
    ]);
    const first = await MetaStateMachine.open(await openLevelDatabase(directory));
    await first.apply({ entries: log, membership });
    expect(await first.flush()).toEqual({ index: 6, term: 3 });
    const before = visible(first.state);
    await expect(openLevelDatabase(directory)).rejects.toMatchObject({ code: 'DIRECTORY_MISMATCH' });
    await first.close();

    const second = await MetaStateMachine.open(await openLevelDatabase(directory));
    expect(second.applied).toEqual({ index: 6, term: 3, membership });
    expect(visible(second.state)).toEqual(before);
    expect(await second.apply({ entries: log, membership })).toEqual([]);
    expect(visible(second.state)).toEqual(before);
    await second.close();
  });

  it('is at a whole earlier state after a crash, and the rest of the log brings it to the same end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(commandBody, { minLength: 1, maxLength: 40 }),
        fc.nat(12),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
        async (bodies, keep, sizes) => {
          const log = entries(bodies);
          const intact = await MetaStateMachine.open(await openMemoryDatabase());
          const results = await intact.apply({ entries: log, membership });
          const end = visible(intact.state);
          expect(results.length).toBe(bodies.length);

          const db = await openMemoryDatabase();
          const crashing = await MetaStateMachine.open(failingAfter(db, keep + 1));
          await applyInSlices(crashing, log, sizes).catch(() => {});

          const restarted = await MetaStateMachine.open(db);
          const from = restarted.applied.index;
          const again = await restarted.apply({ entries: log.slice(from), membership });
          expect(again).toEqual(results.slice(from));
          expect(visible(restarted.state)).toEqual(end);
          await intact.close();
          await restarted.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('moves a state to another node in chunks, whole or not at all', async () => {
    const source = await MetaStateMachine.open(await openMemoryDatabase());
    const big = Array.from({ length: 40 }, (_, i) => put(`big/${i}`, String(i).repeat(20_000)));
    await source.apply({
      entries: entries([{ kind: 'grant-lease', id: '9', ttlMs: 5000 }, put('x', 'y', '9'), ...big]),
      membership,
    });
    const snapshot = await source.snapshot();
    const before = visible(source.state);
    await source.apply({ entries: entries([put('late', 'not in it')], 43), membership });
    const chunks = await collect(snapshot.chunks());
    await snapshot.release();
    expect(snapshot.metadata).toEqual({ index: 42, term: 3, membership });
    expect(chunks.length).toBeGreaterThan(4);
    expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(256 * 1024);

    const db = await openMemoryDatabase();
    const target = await MetaStateMachine.open(db);
    await target.apply({ entries: entries([put('old', 'goes away')]), membership });
    const old = visible(target.state);
    const damaged = chunks.map((chunk) => Buffer.from(chunk));
    damaged[2]?.writeUInt8((damaged[2][70_000] ?? 0) ^ 4, 70_000);
    const { metadata } = snapshot;
    for (const bad of [damaged, chunks.slice(0, -1), [...chunks, Buffer.from('more')], []]) {
      await expect(target.restore(metadata, each(bad))).rejects.toMatchObject({ code: 'DAMAGED' });
      expect(visible(target.state)).toEqual(old);
    }
    await target.restore(metadata, each(chunks));
    expect(visible(target.state)).toEqual(before);
    await target.apply({ entries: entries([put('after', '1')], 43), membership });
    const end = visible(target.state);
    await target.flush();
    const restarted = await MetaStateMachine.open(db);
    expect(visible(restarted.state)).toEqual(end);
    await source.close();
  });

  it('refuses a database that lost or changed a record', async () => {
    for (const damage of ['lose', 'flip', 'add', 'header'] as const) {
      const db = await openMemoryDatabase();
      const machine = await MetaStateMachine.open(db);
      await machine.apply({ entries: entries([put('a', '1'), put('b', '2'), put('c', '3')]), membership });
      await machine.flush();
      const key = '00000001/v/00000000003/0000';
      const record = await db.get(key);
      if (!record) throw new Error('no record where the format says it is');
      const copy = Buffer.from(record);
      copy.writeUInt8(copy.readUInt8(copy.length - 6) ^ 1, copy.length - 6);
      const other: Record<typeof damage, [string, Buffer | undefined]> = {
        lose: [key, undefined],
        flip: [key, copy],
        add: ['00000001/v/00000000009/0000', record],
        header: ['00000001/h', copy],
      };
      const [at, value] = other[damage];
      await db.batch([value ? { type: 'put', key: at, value } : { type: 'del', key: at }]);
      await expect(MetaStateMachine.open(db)).rejects.toMatchObject({ code: 'DAMAGED' });
    }
  });

  it('calls a database damaged that cannot be read, not empty', async () => {
    for (const method of ['get', 'iterator'] as const) {
      const db = await openMemoryDatabase();
      const machine = await MetaStateMachine.open(db);
      await machine.apply({ entries: entries([put('a', '1')]), membership });
      await machine.flush();
      const corruption = () => Promise.reject(new Error('Corruption: block checksum mismatch'));
      const broken = { get: corruption, iterator: () => ({ nextv: corruption, close: async () => {} }) };
      const damaged = new Proxy(db, {
        get: (target, property) => {
          const value: unknown = property === method ? broken[method] : Reflect.get(target, property);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      await expect(MetaStateMachine.open(damaged)).rejects.toMatchObject({
        code: 'DAMAGED',
        message: expect.stringContaining('Corruption: block checksum mismatch'),
      });
    }
  });

  it('fails for good when the database does, and says why', async () => {
    const machine = await MetaStateMachine.open(failingAfter(await openMemoryDatabase(), 1));
    await machine.apply({ entries: entries([put('a', '1')]), membership });
    await expect(machine.flush()).rejects.toMatchObject({ code: 'FAILED', cause: { message: 'the disk is gone' } });
    await expect(machine.apply({ entries: entries([put('b', '1')], 2), membership })).rejects.toMatchObject({
      code: 'FAILED',
    });
  });
});

async function applyInSlices(
  machine: MetaStateMachine,
  log: Entry[],
  sizes: readonly number[],
): Promise<CommandResult[]> {
  const results: CommandResult[] = [];
  for (let at = 0, i = 0; at < log.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    results.push(...(await machine.apply({ entries: log.slice(at, at + size), membership })));
    at += size;
    if (i % 2) await machine.flush();
  }
  return results;
}
