import type { Clock } from '@robustmq/stdx/clock';
import type { Prng } from '@robustmq/stdx/prng';
import type { RequestLimits } from '../client/requests.js';
import type { StateAccess } from '../client/state-access.js';
import type { ResponseHeader } from '../gen/etcdserverpb/rpc.js';
import type { ClusterAccess } from './cluster-access.js';

export interface ServiceMember {
  readonly id: number;
  /** host:port of its gRPC server, which serves peers and clients. */
  readonly address: string;
  readonly role: 'voter' | 'learner';
}

/** What the etcd API tells of the cluster and of this member. */
export interface MemberView {
  /** 64 bits, decimal. The same on all members. */
  readonly clusterId: string;
  readonly memberId: number;
  readonly term: number;
  readonly leader: number | undefined;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly members: readonly ServiceMember[];
}

/** What every handler of the etcd API needs. */
export interface ServiceContext {
  readonly access: StateAccess;
  /** For changing who takes part; absent where that cannot be. */
  readonly cluster?: ClusterAccess;
  /** As of now. */
  readonly view: () => MemberView;
  /** Resolves when this node no longer leads. */
  readonly transferLeadership: (to: number) => Promise<void>;
  readonly limits: RequestLimits;
  readonly clock: Clock;
  /** Draws lease ids. */
  readonly prng: Prng;
}

/** `revision` is of the state that served the request, the newest here by default. */
export function responseHeader(context: ServiceContext, revision?: number): ResponseHeader {
  const { clusterId, memberId, term } = context.view();
  return {
    clusterId,
    memberId: String(memberId),
    revision: revision ?? context.access.state.versions.revision,
    raftTerm: term,
  };
}
