import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { MetaForwardServiceService, RaftPeerServiceService } from './gen/robustmq/raft/v1/raft.js';
import { ETCD_SERVICES } from './service/etcd-services.js';

/** The node's gRPC server, as far as this package needs it. It checks the secret; services are put into it when they can answer. */
export interface RpcMount {
  mount(definition: ServiceDefinition, implementation: UntypedServiceImplementation): void;
}

/** All services startMeta() mounts, for a server that declares before it mounts. */
export const META_SERVICES: readonly ServiceDefinition[] = [
  ...ETCD_SERVICES,
  RaftPeerServiceService,
  MetaForwardServiceService,
];
