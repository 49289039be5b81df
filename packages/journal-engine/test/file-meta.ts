// The metadata service for a process that is killed: the real state in memory, rebuilt from a log of requests.
// A request is in the log before it is made; kill -9 loses nothing of what a write() was given.

import fs from 'node:fs';
import type { MetaClient, Operation, Transaction } from '@robustmq/meta-raft/client';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';

/** Opens or creates the log; the client's own time stands still, so that a replay gives the same state. */
export async function openFileMeta(path: string): Promise<MetaClient> {
  const memory = createMemoryMeta({ clock: new ManualClock() });
  const lines = fs.existsSync(path) ? fs.readFileSync(path, 'utf8').split('\n') : [];
  for (const line of lines.slice(0, -1)) await memory.transact(JSON.parse(line, reviveBytes) as Transaction); // written below
  const file = fs.openSync(path, 'a');
  const logged = async (transaction: Transaction) => {
    fs.writeSync(file, `${JSON.stringify(transaction)}\n`);
    return await memory.transact(transaction);
  };
  const one = (operation: Operation) => logged({ when: [], then: [operation] });
  return {
    get: (key, options) => memory.get(key, options),
    range: (selector, options) => memory.range(selector, options),
    put: async (key, value) => ({ revision: (await one({ put: { key, value } })).revision }),
    delete: async (selector) => ({ revision: (await one({ delete: selector })).revision, deleted: 0 }),
    transact: logged,
    grantLease: (ttlMs) => memory.grantLease(ttlMs),
    keepLeaseAlive: (id) => memory.keepLeaseAlive(id),
    revokeLease: (id) => memory.revokeLease(id),
    watch: (selector, options) => memory.watch(selector, options),
    close: async () => {
      fs.closeSync(file);
      await memory.close();
    },
  };
}

/** Buffers write themselves as {type: 'Buffer', data: [...]}. */
function reviveBytes(_key: string, value: unknown): unknown {
  const { type, data } = (value ?? {}) as { type?: unknown; data?: unknown }; // any JSON value
  return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data) : value;
}
