import { afterEach, beforeEach } from '@jest/globals';
import { createMemoryMeta, type MemoryMeta } from '@robustmq/meta-raft/testing';
import { ManualClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import { createEngine } from '../src/engine.js';
import type { EngineOptions } from '../src/engine-options.js';
import type { SessionEngine } from '../src/session/session-port.js';
import { KillableMeta, KillableStorage } from './killable.js';
import { type ClientOptions, ScriptedClient } from './scripted-client.js';

export const ENGINE_OPTIONS: EngineOptions = { messageShards: 4 };

export const durable = (clientId: string, more: Partial<ClientOptions> = {}): ClientOptions => ({
  clientId,
  cleanStart: false,
  expirySeconds: 3600,
  ...more,
});

/** Lets storage, meta and the write turns do what is due now. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 24; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** One engine per test, on storage and meta that outlive it. */
export class EngineFixture {
  clock = new ManualClock();
  disk = new MemoryShardStorage({ clock: this.clock });
  meta: MemoryMeta = createMemoryMeta({ clock: this.clock });
  /** What the running engine holds of them. */
  storage = new KillableStorage(this.disk);
  metaClient = new KillableMeta(this.meta);
  engine!: SessionEngine; // set by start(), before every test

  async open(): Promise<void> {
    this.clock = new ManualClock();
    this.disk = new MemoryShardStorage({ clock: this.clock });
    this.meta = createMemoryMeta({ clock: this.clock });
    await this.start(ENGINE_OPTIONS);
  }

  async close(): Promise<void> {
    await this.engine.close();
    await this.meta.close();
    await this.disk.close();
  }

  async start(options: EngineOptions): Promise<void> {
    this.storage = new KillableStorage(this.disk);
    this.metaClient = new KillableMeta(this.meta);
    this.engine = await createEngine(options, { storage: this.storage, meta: this.metaClient, clock: this.clock });
    await settle();
  }

  /** As a killed process leaves it: nothing is committed or noted any more. */
  async killAndRestart(options: EngineOptions = ENGINE_OPTIONS): Promise<void> {
    this.storage.kill();
    this.metaClient.kill();
    await this.start(options);
  }

  async connect(options: ClientOptions): Promise<ScriptedClient> {
    const client = await new ScriptedClient(this.clock, options).connect(this.engine);
    await settle();
    return client;
  }
}

export function useEngine(): EngineFixture {
  const fixture = new EngineFixture();
  beforeEach(() => fixture.open());
  afterEach(() => fixture.close());
  return fixture;
}
