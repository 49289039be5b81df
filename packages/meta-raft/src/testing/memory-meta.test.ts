import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import { createMemoryMeta } from './memory-meta.js';

const bytes = (text: string) => Buffer.from(text);

describe('createMemoryMeta', () => {
  it('expires a lease when the given clock says so, and keeps it while it is kept alive', async () => {
    const clock = new ManualClock();
    const meta = createMemoryMeta({ clock });
    const other = meta.connect();
    const lease = await meta.grantLease(2500);
    expect(lease.ttlMs).toBe(3000);
    await meta.put('node/1', bytes('here'), { lease: lease.id });
    const watch = other.watch({ prefix: 'node/' })[Symbol.asyncIterator]();

    await clock.advanceAndSettle(2999);
    expect(await other.get('node/1')).toMatchObject({ lease: lease.id, version: 1 });
    await meta.keepLeaseAlive(lease.id);
    await clock.advanceAndSettle(2999);
    expect(await other.get('node/1')).toBeDefined();
    await clock.advanceAndSettle(1);
    expect(await other.get('node/1')).toBeUndefined();
    expect(await watch.next()).toMatchObject({
      value: { revision: 3, events: [{ type: 'delete', key: 'node/1', modRevision: 3 }] },
    });
    await expect(meta.keepLeaseAlive(lease.id)).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
    await meta.close();
    expect(clock.pendingTimers).toBe(0);
  });

  it('refuses every call while it is unreachable', async () => {
    const meta = createMemoryMeta({ clock: new ManualClock() });
    meta.setReachability('unreachable');
    await expect(meta.get('a')).rejects.toMatchObject({ code: 'UNAVAILABLE', next: 'later' });
    await expect(meta.put('a', bytes('1'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    meta.setReachability('reachable');
    expect((await meta.put('a', bytes('1'))).revision).toBe(2);
    await meta.close();
  });
});
