// etcdserverpb.Cluster: who takes part, and changing that.
//
// Invariants:
//   U1. Only the leader changes and lists; any other member hands the call on, once.
//   U2. An id is used once: removing retires it, and a new member gets one above all that ever were, or brings one that never was.
//   U3. Only a learner that has caught up is promoted: a voter without the log would count in majorities it cannot help to reach.

import type { handleUnaryCall, ServerUnaryCall, ServiceError, UntypedHandleCall } from '@grpc/grpc-js';
import { fromRpcFailure } from '../client/rpc-status.js';
import { allMembers, isMember } from '../core/membership.js';
import type { MembershipStep, NodeId } from '../core/types.js';
import { MetaError } from '../errors.js';
import type { ClusterClient, ClusterServer, Member } from '../gen/etcdserverpb/rpc.js';
import type { ClusterAccess } from './cluster-access.js';
import { responseHeader, type ServiceContext } from './service-context.js';
import { unary } from './unary.js';

/** Beside a MemberAdd: the id the new node was given by its configuration. Stock clients send none. */
export const NODE_ID_KEY = 'robustmq-node';
const FORWARDED_KEY = 'robustmq-forwarded';

type Method = 'memberAdd' | 'memberRemove' | 'memberUpdate' | 'memberPromote' | 'memberList';
type Call<Request, Response> = ServerUnaryCall<Request, Response>;

export function createClusterService(context: ServiceContext): ClusterServer {
  const answer = () => ({ header: responseHeader(context, 0), members: membersOf(context) }); // members have no revision
  const change = async (cluster: ClusterAccess, steps: readonly MembershipStep[]) => {
    await cluster.change({ kind: 'simple', steps });
    return answer();
  };
  return {
    memberAdd: onLeader(context, 'memberAdd', async (cluster, { peerURLs, isLearner }, call) => {
      const address = addressIn(peerURLs);
      const node = idToAdd(cluster, call, address);
      if (!isMember(cluster.membership(), node)) {
        const steps = [
          { change: isLearner ? 'add-learner' : 'add-voter', node },
          { change: 'address', node, address },
          ...foundersIn(context),
        ] as const;
        await cluster.change({ kind: 'simple', steps });
      }
      const all = answer();
      return { ...all, member: all.members.find(({ ID }) => ID === String(node)) };
    }),
    memberRemove: onLeader(context, 'memberRemove', (cluster, { ID }) =>
      change(cluster, [{ change: 'retire', node: memberNamed(cluster, ID) }]),
    ),
    memberUpdate: onLeader(context, 'memberUpdate', (cluster, { ID, peerURLs }) =>
      change(cluster, [{ change: 'address', node: memberNamed(cluster, ID), address: addressIn(peerURLs) }]),
    ),
    memberPromote: onLeader(context, 'memberPromote', (cluster, { ID }) => {
      const node = memberNamed(cluster, ID);
      if (!cluster.membership().learners.includes(node)) {
        throw new MetaError('NOT_LEARNER', `Node ${node} is no learner; there is nothing to promote it to.`);
      }
      if (cluster.progressOf(node) !== 'caught-up') {
        const why = `Node ${node} has not caught up with the leader. Start it, wait, and try again.`;
        throw new MetaError('LEARNER_NOT_READY', why);
      }
      return change(cluster, [{ change: 'add-voter', node }]);
    }),
    memberList: onLeader(context, 'memberList', async (_cluster, { linearizable }) => {
      if (linearizable) await context.access.readBarrier();
      return answer();
    }),
  };
}

/** U1. */
function onLeader<Request, Response>(
  context: ServiceContext,
  method: Method,
  here: (cluster: ClusterAccess, request: Request, call: Call<Request, Response>) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return unary(async (request, call) => {
    const { cluster } = context;
    if (!cluster) throw new MetaError('NOT_SUPPORTED', 'This node is alone for good: it has no address for others.');
    const wantsLeader = method !== 'memberList' || (request as { linearizable?: boolean }).linearizable === true; // its one field
    const leader = wantsLeader ? cluster.leader() : 'here';
    if (leader === 'here') return here(cluster, request, call);
    if (leader === undefined || call.metadata.get(FORWARDED_KEY).length > 0) {
      throw new MetaError('UNAVAILABLE', 'No leader that can be reached is known here; nothing was changed.');
    }
    return forward(leader, method, call);
  });
}

type AnyMethod<Request, Response> = (
  request: Request,
  metadata: Call<Request, Response>['metadata'],
  callback: (failure: ServiceError | null, response: Response) => void,
) => UntypedHandleCall;

function forward<Request, Response>(
  leader: ClusterClient,
  method: Method,
  call: Call<Request, Response>,
): Promise<Response> {
  const metadata = call.metadata.clone();
  metadata.set(FORWARDED_KEY, '1');
  return new Promise((resolve, reject) => {
    // The request came in by the same method of the same service.
    const send = leader[method].bind(leader) as unknown as AnyMethod<Request, Response>; // the overloads of the stub differ by method
    send(call.request, metadata, (failure, response) => {
      if (failure) reject(fromRpcFailure(failure, 'the leader'));
      else resolve(response);
    });
  });
}

/** U2. A learner that asks again, from where it was added, has begun to join before. */
function idToAdd(cluster: ClusterAccess, call: Call<unknown, unknown>, address: string): NodeId {
  const membership = cluster.membership();
  const { addresses = [], retired = [], learners } = membership;
  const given = call.metadata.get(NODE_ID_KEY)[0]?.toString();
  const node = given === undefined ? 1 + Math.max(0, ...allMembers(membership), ...retired) : Number(given);
  if (!Number.isSafeInteger(node) || node < 1) throw new MetaError('INVALID', `"${given}" is no node id.`);
  if (retired.includes(node)) {
    throw new MetaError('REMOVED', `Node ${node} was removed from this cluster. Give the new node another id.`);
  }
  const holder = addresses.find((other) => other.address === address);
  const joinsAgain = given !== undefined && learners.includes(node) && holder?.node === node;
  if (joinsAgain) return node;
  if (isMember(membership, node)) {
    const why = `Node ${node} is a member already. A node that lost its directory comes back under a new id.`;
    throw new MetaError('MEMBER_EXISTS', why);
  }
  if (holder) throw new MetaError('MEMBER_EXISTS', `${address} is the address of node ${holder.node}.`);
  return node;
}

function memberNamed(cluster: ClusterAccess, id: string): NodeId {
  const node = Number(id);
  if (Number.isSafeInteger(node) && isMember(cluster.membership(), node)) return node;
  throw new MetaError('MEMBER_NOT_FOUND', `There is no member ${id}.`);
}

const PEER_URL = /^(?:https?:\/\/)?([^/\s]+:[0-9]{1,5})\/?$/;

function addressIn(urls: readonly string[]): string {
  const address = urls.length === 1 ? PEER_URL.exec(urls[0] ?? '')?.[1] : undefined;
  if (address !== undefined) return address;
  throw new MetaError('INVALID', `A member has one peer URL, such as http://10.0.0.4:1228; got ${urls.join(', ')}.`);
}

/** The new node has not the configuration that says where the founders are: the membership says it from now on. */
function foundersIn(context: ServiceContext): MembershipStep[] {
  const known = new Set(context.cluster?.membership().addresses?.map(({ node }) => node));
  return context
    .view()
    .members.filter(({ id, address }) => address !== '' && !known.has(id))
    .map(({ id, address }) => ({ change: 'address', node: id, address }));
}

function membersOf(context: ServiceContext): Member[] {
  return context.view().members.map(({ id, address, role }) => {
    const peerURLs = [`http://${address}`];
    const isLearner = role === 'learner';
    // As etcd shows who has not started yet.
    if (isLearner && context.cluster?.progressOf(id) === 'unheard')
      return { ID: String(id), name: '', peerURLs, clientURLs: [], isLearner };
    return { ID: String(id), name: `node-${id}`, peerURLs, clientURLs: peerURLs, isLearner };
  });
}
