import { systemClock } from '@robustmq/stdx/clock';
import type { Broker } from './broker.js';
import type { BrokerOptions } from './options.js';
import { type StartBrokerDeps, startBroker } from './start-broker.js';

export interface CreateBrokerOptions extends BrokerOptions, Omit<StartBrokerDeps, 'clock'> {
  /** Closes the broker when it aborts. */
  readonly signal?: AbortSignal;
}

/**
 * A broker inside another program, in one call:
 *
 *   await using broker = await createBroker({ storage, meta, listeners: [{ kind: 'tcp', host: '127.0.0.1', port: 1883 }] });
 *
 * The same as startBroker() on the clock of the system. Errors: those of startBroker(), and the signal's reason.
 */
export async function createBroker({ signal, ...options }: CreateBrokerOptions): Promise<Broker> {
  signal?.throwIfAborted();
  const broker = await startBroker(options, { ...options, clock: systemClock });
  signal?.addEventListener('abort', () => void broker.close(), { once: true });
  if (signal?.aborted) {
    await broker.close();
    signal.throwIfAborted();
  }
  return broker;
}
