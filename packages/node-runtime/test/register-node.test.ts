import { describe, expect, it } from '@jest/globals';
import type { MetaClient } from '@robustmq/meta-raft/client';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { RuntimeError } from '../src/errors.js';
import { listNodes } from '../src/node-record.js';
import { type RegisterNodeOptions, registerNode } from '../src/register-node.js';

const NODE: RegisterNodeOptions['node'] = {
  nodeId: 1,
  dataDirectoryId: 'directory-1',
  roles: ['meta', 'broker'],
  addresses: { grpc: '127.0.0.1:1228' },
  version: '0.1.0',
};
const TTL_MS = 9000;

function scene() {
  const clock = new ManualClock();
  const meta = createMemoryMeta({ clock });
  const replaced: RuntimeError[] = [];
  const notes: string[] = [];
  const register = (
    change: Partial<RegisterNodeOptions['node']> = {},
    more: Partial<RegisterNodeOptions> & { meta?: MetaClient } = {},
  ) => {
    const { meta: client = meta, ...options } = more;
    return registerNode(
      { node: { ...NODE, ...change }, leaseTtlMs: TTL_MS, ...options },
      { meta: client, clock, onReplaced: (error) => replaced.push(error), note: (text) => notes.push(text) },
    );
  };
  return { clock, meta, replaced, notes, register };
}

/** What a promise has come to by now. */
function watch<T>(promise: Promise<T>) {
  const seen: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => {
      seen.value = value;
    },
    (error: unknown) => {
      seen.error = error;
    },
  );
  return seen;
}

describe('a registration', () => {
  it('shows the node to all, keeps it there by heartbeats, and takes it away when closed', async () => {
    const { clock, meta, register } = scene();
    const registration = await register();
    await (await register({ nodeId: 2, dataDirectoryId: 'directory-2' })).update({ addresses: { grpc: 'b:1' } });
    expect(await listNodes(meta)).toEqual([
      { ...NODE, incarnation: registration.record.incarnation, startedAt: '2026-01-01T00:00:00.000Z' },
      expect.objectContaining({ nodeId: 2, addresses: { grpc: 'b:1' } }),
    ]);
    await clock.advanceAndSettle(5 * TTL_MS);
    expect(registration.check()).toEqual({ ok: true });
    expect((await listNodes(meta)).map(({ nodeId }) => nodeId)).toEqual([1, 2]);
    await registration.close();
    await registration.close();
    expect((await listNodes(meta)).map(({ nodeId }) => nodeId)).toEqual([2]);
    expect(registration.check()).toEqual({ ok: false, reason: 'closed' });
  });

  it('vanishes with a process that died', async () => {
    const { clock, meta, register } = scene();
    const dead = meta.connect();
    await register({}, { meta: dead });
    await dead.close(); // its heartbeats reach nobody any more
    await clock.advanceAndSettle(TTL_MS + 1000);
    expect(await listNodes(meta)).toEqual([]);
  });

  it('is not claimed while the metadata cannot be asked, and is again when it can', async () => {
    const { clock, meta, register } = scene();
    const registration = await register();
    meta.setReachability('unreachable');
    await clock.advanceAndSettle(TTL_MS);
    expect(registration.check()).toEqual({ ok: true });
    await clock.advanceAndSettle(1000);
    expect(registration.check()).toMatchObject({
      ok: false,
      reason: expect.stringContaining('no heartbeat was confirmed for 10000 ms'),
    });
    meta.setReachability('reachable');
    await clock.advanceAndSettle(TTL_MS / 3);
    expect(registration.check()).toEqual({ ok: true });
    expect(await listNodes(meta)).toHaveLength(1); // N2: under a new lease, the old one ran out
    await clock.advanceAndSettle(3 * TTL_MS);
    expect(await listNodes(meta)).toHaveLength(1);
  });
});

describe('two processes with one node id', () => {
  it('the second is refused while the first lives', async () => {
    const { clock, meta, notes, register } = scene();
    const first = await register();
    const second = watch(register({ dataDirectoryId: 'another', addresses: { grpc: '10.0.0.9:1228' } }));
    await clock.advanceAndSettle(TTL_MS);
    expect(second).toEqual({});
    expect(notes).toEqual([
      'node 1 is registered by another process (127.0.0.1:1228, started 2026-01-01T00:00:00.000Z)',
    ]);
    await clock.advanceAndSettle(TTL_MS);
    expect(second.error).toMatchObject({
      code: 'NODE_ID_TAKEN',
      message: expect.stringContaining('Give this node another node_id, or stop the other process'),
    });
    expect((await listNodes(meta))[0]?.incarnation).toBe(first.record.incarnation);
    expect(first.check()).toEqual({ ok: true });
  });

  it('the second is let in when the registration of the first runs out', async () => {
    const { clock, meta, register } = scene();
    const dead = meta.connect();
    await register({ dataDirectoryId: undefined }, { meta: dead });
    await dead.close();
    const second = watch(register({ dataDirectoryId: undefined }));
    await clock.advanceAndSettle(TTL_MS + 1000);
    expect(second.value?.check()).toEqual({ ok: true });
    expect((await listNodes(meta))[0]?.incarnation).toBe(second.value?.record.incarnation);
  });

  it('a restart on the same data directory need not wait for its own past', async () => {
    const { clock, meta, register } = scene();
    const dead = meta.connect();
    await register({}, { meta: dead });
    await dead.close();
    const next = await register();
    expect((await listNodes(meta))[0]?.incarnation).toBe(next.record.incarnation);
    await clock.advanceAndSettle(3 * TTL_MS); // the lease of the past ends and takes nothing along
    expect(await listNodes(meta)).toHaveLength(1);
  });

  it('the first learns that it was replaced after it could not keep its lease', async () => {
    const { clock, meta, replaced, register } = scene();
    const first = await register({ dataDirectoryId: undefined });
    await meta.revokeLease(first.lease);
    const second = await register({ dataDirectoryId: undefined });
    await clock.advanceAndSettle(TTL_MS);
    expect(replaced).toEqual([expect.objectContaining({ code: 'NODE_ID_TAKEN' })]);
    expect(first.check()).toMatchObject({ ok: false, reason: expect.stringContaining('another process') });
    expect(second.check()).toEqual({ ok: true });
    await first.close();
    expect(await listNodes(meta)).toHaveLength(1);
  });

  it('a record that cannot be read belongs to somebody, too', async () => {
    const { clock, meta, register } = scene();
    await meta.put('nodes/1', Buffer.from('not JSON'));
    const refused = watch(register());
    await clock.advanceAndSettle(2 * TTL_MS);
    expect(refused.error).toMatchObject({ code: 'NODE_ID_TAKEN' });
    expect(await listNodes(meta)).toEqual([]);
  });
});

describe('waiting for the metadata', () => {
  it('goes on until it can be reached', async () => {
    const { clock, meta, notes, register } = scene();
    meta.setReachability('unreachable');
    const waiting = watch(register());
    await clock.advanceAndSettle(5000);
    expect(waiting).toEqual({});
    expect(notes.length).toBeGreaterThan(2);
    meta.setReachability('reachable');
    await clock.advanceAndSettle(3000);
    expect(waiting.value?.check()).toEqual({ ok: true });
  });

  it('ends with the reason of the signal', async () => {
    const { clock, meta, register } = scene();
    meta.setReachability('unreachable');
    const abort = new AbortController();
    const waiting = watch(register({}, { signal: abort.signal }));
    await clock.advanceAndSettle(1000);
    abort.abort(new RuntimeError('INTERRUPTED', 'enough'));
    await clock.advanceAndSettle(0);
    expect(waiting.error).toMatchObject({ code: 'INTERRUPTED' });
    expect(await Promise.resolve(clock.pendingTimers)).toBeLessThanOrEqual(1); // the lease clock of the memory meta
  });
});
