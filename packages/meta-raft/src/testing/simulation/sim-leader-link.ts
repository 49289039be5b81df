import type { NodeId } from '../../core/types.js';
import { MetaError } from '../../errors.js';
import type { LeaderLink, ReplicatedStateAccess } from '../../service/replicated-state-access.js';
import type { SimNetwork } from './sim-network.js';
import type { SimHost, SimWorld } from './sim-world.js';

export interface SimLeaderLinkDeps {
  readonly world: SimWorld;
  readonly network: SimNetwork;
  readonly host: SimHost;
  readonly timeoutMs: number;
  /** Undefined while the node is down. */
  readonly accessOf: (node: NodeId) => ReplicatedStateAccess | undefined;
}

/** Calls of a follower to its leader, over the simulated network: request and answer may each be lost. */
export function createSimLeaderLink(deps: SimLeaderLinkDeps): LeaderLink {
  return {
    propose: (leader, command) =>
      call(deps, leader, (access) => access.proposeHere(Buffer.from(command), deps.timeoutMs)),
    keepLeaseAlive: (leader, id) => call(deps, leader, (access) => access.keepLeaseAliveHere(id, deps.timeoutMs)),
    leaseRemaining: (leader, id) => call(deps, leader, (access) => access.leaseRemainingHere(id, deps.timeoutMs)),
  };
}

function call<T>(
  deps: SimLeaderLinkDeps,
  leader: NodeId,
  ask: (access: ReplicatedStateAccess) => Promise<T>,
): Promise<T> {
  const { world, network, host, timeoutMs } = deps;
  return new Promise((resolve, reject) => {
    if (!network.isUp(leader)) {
      reject(new MetaError('UNAVAILABLE', 'The leader refused the connection.'));
      return;
    }
    const fire = () => reject(new MetaError('DEADLINE', 'The leader did not answer.'));
    const timer = world.schedule(timeoutMs, { host, source: 'timer', fire });
    const { life } = host;
    const answer = (settle: () => void) => {
      network.deliver(leader, host.id, () => {
        timer.cancel();
        if (host.life === life) settle();
      });
    };
    network.deliver(host.id, leader, () => {
      const access = deps.accessOf(leader);
      if (!access) return;
      ask(access).then(
        (result) => answer(() => resolve(result)),
        (error: unknown) => answer(() => reject(error)),
      );
    });
  });
}
