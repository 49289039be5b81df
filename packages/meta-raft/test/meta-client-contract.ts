// What every MetaClient promises, whatever is behind it. Used by the tests of the memory, local and gRPC clients.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { MetaClient, WatchBatch } from '../src/client/meta-client.js';

export interface ContractSubject {
  readonly client: MetaClient;
  /** A second client of the same service. */
  readonly other: MetaClient;
  /** Lets the service's time pass. */
  advance(byMs: number): Promise<void>;
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string) => Buffer.from(text);

export function describeMetaClient(name: string, open: () => Promise<ContractSubject>): void {
  describe(`MetaClient: ${name}`, () => {
    let subject: ContractSubject;
    let client: MetaClient;
    beforeEach(async () => {
      subject = await open();
      client = subject.client;
    });
    afterEach(() => subject.close());

    it('puts, gets and deletes, with revisions that rise by one per change', async () => {
      expect(await client.get('a')).toBeUndefined();
      const { revision } = await client.put('a', bytes('1'));
      expect(await client.put('a', bytes('2'))).toEqual({ revision: revision + 1 });
      expect(await subject.other.get('a')).toEqual({
        key: 'a',
        value: bytes('2'),
        createRevision: revision,
        modRevision: revision + 1,
        version: 2,
        lease: undefined,
      });
      expect(await client.get('a', { revision })).toMatchObject({ value: bytes('1'), version: 1 });
      expect(await client.delete({ key: 'a' })).toEqual({ revision: revision + 2, deleted: 1 });
      expect(await client.delete({ key: 'a' })).toEqual({ revision: revision + 2, deleted: 0 });
      expect(await client.get('a')).toBeUndefined();
    });

    it('carries any bytes and any text', async () => {
      const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      for (const key of ['ünïcødé/✓', '\u{1f980}', '\0', 'a\0b', ' ']) {
        await client.put(key, value);
        expect(await client.get(key)).toMatchObject({ key, value });
      }
      await client.put('empty', Buffer.alloc(0));
      expect((await client.get('empty'))?.value).toEqual(Buffer.alloc(0));
    });

    it('ranges over a prefix in byte order, in pages, and as of a revision', async () => {
      for (const key of ['p/2', 'p/10', 'q', 'p', 'p/\u{ffff}', 'p/\u{10000}', 'p0']) await client.put(key, bytes(key));
      const all = await client.range({ prefix: 'p/' });
      expect(all.kvs.map((kv) => kv.key)).toEqual(['p/10', 'p/2', 'p/\u{ffff}', 'p/\u{10000}']);
      expect(all.count).toBe(4);
      const first = await client.range({ prefix: 'p/' }, { limit: 2 });
      expect(first.kvs.map((kv) => kv.key)).toEqual(['p/10', 'p/2']);
      expect(first.count).toBe(4);
      await client.put('p/11', bytes('later'));
      const { revision } = first;
      const second = await client.range({ prefix: 'p/' }, { limit: 2, after: 'p/2', revision });
      expect(second.kvs.map((kv) => kv.key)).toEqual(['p/\u{ffff}', 'p/\u{10000}']);
      const third = await client.range({ prefix: 'p/' }, { after: 'p/\u{10000}', revision });
      expect(third).toMatchObject({ kvs: [], count: 0 });
      expect((await client.range({ prefix: '' }, { consistency: 'serializable' })).count).toBe(8);
    });

    it('transacts: all conditions or the other branch, one revision, reads see the writes before them', async () => {
      const create = (value: string) =>
        client.transact({
          when: [{ key: 'lock', target: 'createRevision', is: 'equal', than: 0 }],
          then: [{ put: { key: 'lock', value: bytes(value) } }, { get: { key: 'lock' } }],
          otherwise: [{ get: { key: 'lock' } }],
        });
      const won = await create('one');
      expect(won).toMatchObject({
        succeeded: true,
        results: [
          { put: { previous: undefined } },
          { get: { kvs: [{ value: bytes('one'), modRevision: won.revision }] } },
        ],
      });
      const lost = await create('two');
      expect(lost).toMatchObject({
        succeeded: false,
        revision: won.revision,
        results: [{ get: { kvs: [{ value: bytes('one') }] } }],
      });
      const swapped = await client.transact({
        when: [
          { key: 'lock', target: 'value', is: 'equal', than: bytes('one') },
          { key: 'lock', target: 'modRevision', is: 'less', than: won.revision + 1 },
          { key: 'lock', target: 'version', is: 'greater', than: 0 },
          { key: 'none', target: 'value', is: 'notEqual', than: bytes('x') },
        ],
        then: [],
      });
      expect(swapped.succeeded).toBe(false); // a missing key has no value to compare
      const both = await client.transact({
        when: [{ key: 'lock', target: 'value', is: 'notEqual', than: bytes('two') }],
        then: [
          { put: { key: 'a', value: bytes('1') } },
          { put: { key: 'b', value: bytes('1') } },
          { delete: { prefix: 'lo' } },
        ],
      });
      expect(both).toMatchObject({ succeeded: true, revision: won.revision + 1 });
      expect(both.results[2]).toEqual({ delete: { deleted: 1 } });
      expect(await client.get('b')).toMatchObject({ modRevision: both.revision, createRevision: both.revision });
    });

    it('removes what hangs on a lease when it runs out or is revoked, and keeps what is kept alive', async () => {
      const lease = await client.grantLease(1_500);
      expect(lease.ttlMs).toBeGreaterThanOrEqual(1_500);
      await client.put('node/1', bytes('x'), { lease: lease.id });
      expect((await client.get('node/1'))?.lease).toBe(lease.id);
      await subject.advance(lease.ttlMs * 0.7);
      expect(await subject.other.keepLeaseAlive(lease.id)).toEqual({ ttlMs: lease.ttlMs });
      await subject.advance(lease.ttlMs * 0.7);
      expect(await client.get('node/1')).toBeDefined();
      const { revision } = await client.range({ key: 'node/1' });
      const gone = client.watch({ key: 'node/1' }, { fromRevision: revision + 1 })[Symbol.asyncIterator]();
      await subject.advance(lease.ttlMs * 1.1);
      expect((await gone.next()).value?.events).toMatchObject([{ type: 'delete', key: 'node/1' }]);
      expect(await client.get('node/1')).toBeUndefined();
      await expect(client.keepLeaseAlive(lease.id)).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
      await expect(client.put('node/1', bytes('x'), { lease: lease.id })).rejects.toMatchObject({
        code: 'LEASE_NOT_FOUND',
      });

      const other = await client.grantLease(60_000);
      await client.put('node/2', bytes('x'), { lease: other.id });
      await client.put('node/3', bytes('x'), { lease: other.id });
      await client.put('node/3', bytes('moved off the lease'));
      await client.revokeLease(other.id);
      expect((await client.range({ prefix: 'node/' })).kvs.map((kv) => kv.key)).toEqual(['node/3']);
      await expect(client.revokeLease(other.id)).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
    });

    it('watches: every change once, whole revisions, from any kept revision on', async () => {
      const { revision } = await client.put('w/a', bytes('1'));
      const live = collect(client.watch({ prefix: 'w/' }, { fromRevision: revision + 1 }));
      await client.put('elsewhere', bytes('not watched'));
      await client.transact({
        when: [],
        then: [
          { put: { key: 'w/a', value: bytes('2') } },
          { put: { key: 'w/b', value: bytes('1') } },
          { put: { key: 'x', value: bytes('1') } },
        ],
      });
      await client.delete({ prefix: 'w/' });
      const { revision: last } = await client.put('w/c', bytes('last'));
      await live.until(last);
      const expected = [
        `${revision + 2} put w/a=2 v2`,
        `${revision + 2} put w/b=1 v1`,
        `${revision + 3} delete w/a`,
        `${revision + 3} delete w/b`,
        `${last} put w/c=last v1`,
      ];
      expect(live.seen).toEqual(expected);
      const again = collect(subject.other.watch({ prefix: 'w/' }, { fromRevision: revision + 3 }));
      await again.until(last);
      expect(again.seen).toEqual(expected.slice(2));
      await live.stop();
      await again.stop();
    });

    it('ends a watch when its signal aborts or its consumer returns', async () => {
      const abort = new AbortController();
      const seen: WatchBatch[] = [];
      const watching = (async () => {
        for await (const batch of client.watch({ prefix: '' }, { signal: abort.signal, fromRevision: 1 }))
          seen.push(batch);
      })();
      await client.put('a', bytes('1'));
      for await (const batch of subject.other.watch({ key: 'a' }, { fromRevision: 1 })) {
        expect(batch.events).toHaveLength(1);
        break;
      }
      abort.abort();
      await watching;
      const aborted = AbortSignal.abort(new Error('too late'));
      await expect(client.get('a', { signal: aborted })).rejects.toThrow('too late');
    });

    it('says COMPACTED where history was forgotten, FUTURE_REVISION where it has not happened', async () => {
      await client.put('a', bytes('1'));
      await client.put('a', bytes('2'));
      const { revision } = await client.put('a', bytes('3'));
      await subject.compact(revision - 1);
      expect(await client.get('a', { revision: revision - 1 })).toMatchObject({ value: bytes('2') });
      await expect(client.get('a', { revision: revision - 2 })).rejects.toMatchObject({ code: 'COMPACTED' });
      await expect(client.get('a', { revision: revision + 1 })).rejects.toMatchObject({ code: 'FUTURE_REVISION' });
      const late = client.watch({ key: 'a' }, { fromRevision: revision - 2 })[Symbol.asyncIterator]();
      await expect(late.next()).rejects.toMatchObject({ code: 'COMPACTED' });
      expect(await late.next().catch((error) => error)).toMatchObject({ code: 'COMPACTED' });
      const exact = collect(client.watch({ key: 'a' }, { fromRevision: revision - 1 }));
      await exact.until(revision);
      expect(exact.seen).toHaveLength(2);
      await exact.stop();
    });

    it('refuses bad input with a code, and is none the worse', async () => {
      const bad: [() => Promise<unknown>, string][] = [
        [() => client.put('', bytes('x')), 'INVALID'],
        [() => client.put('\ud800', bytes('x')), 'INVALID'],
        [() => client.put('k'.repeat(5_000), bytes('x')), 'TOO_LARGE'],
        [() => client.put('k', Buffer.alloc(2 * 1024 * 1024)), 'TOO_LARGE'],
        [() => client.get('k', { revision: -1 }), 'INVALID'],
        [() => client.range({ prefix: 'k' }, { limit: 0.5 }), 'INVALID'],
        [() => client.grantLease(0), 'INVALID'],
        [() => client.keepLeaseAlive('nonsense'), 'INVALID'],
        [() => client.keepLeaseAlive('4242'), 'LEASE_NOT_FOUND'],
        [() => client.put('k', bytes('x'), { lease: '4242' }), 'LEASE_NOT_FOUND'],
        [
          () =>
            client.transact({ when: [], then: [{ put: { key: 'k', value: bytes('') } }, { delete: { prefix: 'k' } }] }),
          'DUPLICATE_KEY',
        ],
        [
          () => client.transact({ when: [], then: Array.from({ length: 200 }, (_, i) => ({ get: { key: `k${i}` } })) }),
          'TOO_LARGE',
        ],
      ];
      for (const [call, code] of bad) await expect(call()).rejects.toMatchObject({ code });
      expect(await client.get('k')).toBeUndefined();
    });

    it('serves many writers at once, and loses none', async () => {
      const writers = [client, subject.other];
      const increment = async (writer: MetaClient): Promise<void> => {
        const now = await writer.get('counter');
        const { succeeded } = await writer.transact({
          when: [{ key: 'counter', target: 'modRevision', is: 'equal', than: now?.modRevision ?? 0 }],
          then: [{ put: { key: 'counter', value: bytes(String(Number(now?.value ?? 0) + 1)) } }],
        });
        if (!succeeded) await increment(writer);
      };
      await Promise.all(Array.from({ length: 40 }, (_, i) => increment(writers[i % 2] ?? client)));
      expect((await client.get('counter'))?.value.toString()).toBe('40');
    });

    it('says CLOSED after close()', async () => {
      const watch = subject.other.watch({ key: 'a' })[Symbol.asyncIterator]();
      const waiting = watch.next();
      await subject.other.close();
      await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
      await expect(subject.other.get('a')).rejects.toMatchObject({ code: 'CLOSED' });
      expect(() => subject.other.watch({ key: 'a' })).toThrow(expect.objectContaining({ code: 'CLOSED' }));
      await client.put('a', bytes('the first still works'));
    });
  });
}

/** Reads a watch in the background; every event as one line of text. */
export function collect(watch: AsyncIterable<WatchBatch>) {
  const iterator = watch[Symbol.asyncIterator]();
  const seen: string[] = [];
  let reached = 0;
  return {
    seen,
    until: async (revision: number) => {
      while (reached < revision) {
        const { done, value } = await iterator.next();
        if (done) throw new Error('the watch ended');
        expect(value.revision).toBeGreaterThan(reached);
        reached = value.revision;
        for (const event of value.events) {
          if (event.type === 'delete') seen.push(`${event.modRevision} delete ${event.key}`);
          else seen.push(`${event.kv.modRevision} put ${event.kv.key}=${event.kv.value} v${event.kv.version}`);
        }
      }
    },
    stop: async () => {
      await iterator.return?.();
    },
  };
}
