import type { MetaClient } from '@robustmq/meta-raft/client';
import { nullLogger } from '@robustmq/stdx/logger';
import type { Prng } from '@robustmq/stdx/prng';
import type { ShardStorage } from '@robustmq/storage-adapter';
import { type Access, openAccess } from './auth/access.js';
import type { Authorizer } from './auth/authorizer.js';
import { authorizerOf, Broker, type BrokerDeps } from './broker.js';
import { createEngine } from './engine.js';
import { type BrokerOptions, type ResolvedBrokerOptions, resolveBrokerOptions } from './options.js';
import type { SessionEngine, WillPolicy } from './session/session-port.js';

export interface StartBrokerDeps extends BrokerDeps {
  /** Where messages are kept. Its durability is what a QoS 1 or 2 acknowledgement is worth. */
  readonly storage: ShardStorage;
  /** Where sessions and subscriptions are kept. */
  readonly meta: MetaClient;
  /** Chooses members of shared subscriptions. Default: the same choices in every process. */
  readonly prng?: Prng;
}

/**
 * Starts a broker: recovers sessions and retained messages, then opens the listeners. Storage and meta stay the
 * caller's: close the broker first, then them.
 *
 * Errors: INVALID_OPTION, ADDRESS_IN_USE, CONTROL_PLANE_UNFIT; StorageError and MetaError of what it stands on.
 */
export async function startBroker(options: BrokerOptions, deps: StartBrokerDeps): Promise<Broker> {
  const resolved = resolveBrokerOptions(options);
  const { storage, meta, clock, logger = nullLogger, prng, hooks } = deps;
  const { tenant } = resolved.engine;
  const access = await openAccess(resolved.auth, { meta, tenant, clock, logger });
  try {
    const engine = await createEngine(options.engine ?? {}, {
      storage,
      meta,
      clock,
      logger,
      willPolicy: willPolicyOf(authorizerOf({ access, ...(hooks === undefined ? {} : { hooks }) })),
      subscriptionPolicy: (client, topicFilter) => access.acl.maySubscribe(client, topicFilter),
      ...(prng === undefined ? {} : { seed: String(prng.between(0, Number.MAX_SAFE_INTEGER)) }),
    });
    access.onRules(() => engine.recheckSubscriptions());
    return await openBroker(engine, resolved, { ...deps, access });
  } catch (error) {
    access.close();
    throw error;
  }
}

async function openBroker(
  engine: SessionEngine,
  options: ResolvedBrokerOptions,
  deps: BrokerDeps & { readonly access: Access },
): Promise<Broker> {
  try {
    return await Broker.open(engine, options, deps);
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Nobody is connected when a will comes due: it has no address and speaks no version. */
const ABSENT = { peer: { address: '', port: 0, scope: 'remote' }, version: 5 } as const;

/**
 * Asks the authorizer again. One that needs time to answer was asked at CONNECT, and cannot be now: a will must
 * fire when it is due, in the order of what else happens to its session.
 */
function willPolicyOf(authorizer: Authorizer): WillPolicy {
  return (who, will) => {
    try {
      const packet = { ...will, dup: false, packetId: 0 };
      const verdict = authorizer.mayPublish({ ...ABSENT, ...who }, will.topicName, packet);
      if (typeof verdict === 'string') return verdict;
      verdict.catch(() => {}); // its answer comes too late either way
      return 'allow';
    } catch {
      return 'deny';
    }
  };
}
