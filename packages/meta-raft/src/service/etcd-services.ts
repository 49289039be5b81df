import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import {
  ClusterService,
  KVService,
  LeaseService,
  MaintenanceService,
  type WatchServer,
  WatchService,
} from '../gen/etcdserverpb/rpc.js';
import { createClusterService } from './cluster-service.js';
import { createKvService } from './kv-service.js';
import { createLeaseService } from './lease-service.js';
import { createMaintenanceService } from './maintenance-service.js';
import type { ServiceContext } from './service-context.js';
import { WatchStream } from './watch-stream.js';

/** Where services are put: a grpc.Server, or whatever stands in front of one. */
export type MountService = <Service extends UntypedServiceImplementation>(
  definition: ServiceDefinition<Service>,
  implementation: Service,
) => void;

/** The services of the etcd v3 API, for a server that declares before it mounts. */
export const ETCD_SERVICES: readonly ServiceDefinition[] = [
  KVService,
  WatchService,
  LeaseService,
  ClusterService,
  MaintenanceService,
];

export function mountEtcdServices(context: ServiceContext, mount: MountService): void {
  mount<UntypedServiceImplementation>(KVService, { ...createKvService(context) });
  const watch: WatchServer['watch'] = (stream) => new WatchStream(context, stream).start();
  mount<UntypedServiceImplementation>(WatchService, { watch });
  mount<UntypedServiceImplementation>(LeaseService, { ...createLeaseService(context) });
  mount<UntypedServiceImplementation>(ClusterService, { ...createClusterService(context) });
  mount<UntypedServiceImplementation>(MaintenanceService, { ...createMaintenanceService(context) });
}
