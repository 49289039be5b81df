import { MetaError } from '../errors.js';
import type { ClusterServer, Member } from '../gen/etcdserverpb/rpc.js';
import { responseHeader, type ServiceContext } from './service-context.js';
import { unary } from './unary.js';

/** etcdserverpb.Cluster: who is there. Changing the membership is not served yet. */
export function createClusterService(context: ServiceContext): ClusterServer {
  const refused = unary<unknown, never>(async () => {
    throw new MetaError(
      'NOT_SUPPORTED',
      'This version cannot change the membership. Start the cluster with the members it is to have.',
    );
  });
  return {
    memberAdd: refused,
    memberRemove: refused,
    memberUpdate: refused,
    memberPromote: refused,
    memberList: unary(async ({ linearizable }) => {
      if (linearizable) await context.access.readBarrier();
      return { header: responseHeader(context, 0), members: membersOf(context) }; // members have no revision
    }),
  };
}

function membersOf(context: ServiceContext): Member[] {
  return context.view().members.map(({ id, address, role }) => {
    const url = `http://${address}`;
    return { ID: String(id), name: `node-${id}`, peerURLs: [url], clientURLs: [url], isLearner: role === 'learner' };
  });
}
