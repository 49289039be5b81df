import type { MetaClient } from '@robustmq/meta-raft/client';
import type { ShardStorage } from '@robustmq/storage-adapter';
import { Broker, type BrokerDeps } from './broker.js';
import { createEngine } from './engine.js';
import { type BrokerOptions, resolveBrokerOptions } from './options.js';

export interface StartBrokerDeps extends BrokerDeps {
  /** Where messages are kept. Its durability is what a QoS 1 or 2 acknowledgement is worth. */
  readonly storage: ShardStorage;
  /** Where sessions and subscriptions are kept. */
  readonly meta: MetaClient;
}

/**
 * Starts a broker: recovers sessions and retained messages, then opens the listeners. Storage and meta stay the
 * caller's: close the broker first, then them.
 *
 * Errors: INVALID_OPTION, ADDRESS_IN_USE, CONTROL_PLANE_UNFIT; StorageError and MetaError of what it stands on.
 */
export async function startBroker(options: BrokerOptions, deps: StartBrokerDeps): Promise<Broker> {
  const resolved = resolveBrokerOptions(options);
  const { storage, meta, clock, logger } = deps;
  const engine = await createEngine(options.engine ?? {}, {
    storage,
    meta,
    clock,
    ...(logger === undefined ? {} : { logger }),
  });
  try {
    return await Broker.open(engine, resolved, deps);
  } catch (error) {
    await engine.close();
    throw error;
  }
}
