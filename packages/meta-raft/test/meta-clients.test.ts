import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ManualClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import { connectMeta } from '../src/client/connect-meta.js';
import { DEFAULT_REQUEST_LIMITS } from '../src/options.js';
import { mountEtcdServices } from '../src/service/etcd-services.js';
import { createMemoryMeta } from '../src/testing/memory-meta.js';
import { SoloStateAccess } from '../src/testing/solo-state-access.js';
import { type ContractSubject, describeMetaClient } from './meta-client-contract.js';

describeMetaClient('memory', async (): Promise<ContractSubject> => {
  const clock = new ManualClock();
  const meta = createMemoryMeta({ clock });
  return {
    client: meta,
    other: meta.connect(),
    advance: (byMs) => clock.advanceAndSettle(byMs),
    compact: (revision) => meta.compact(revision),
    close: () => meta.close(),
  };
});

describeMetaClient('gRPC over a state without Raft', async (): Promise<ContractSubject> => {
  const clock = new ManualClock();
  const access = new SoloStateAccess(clock);
  const server = new Server();
  mountEtcdServices(
    {
      access,
      view: () => ({
        clusterId: '14841639068965178418',
        memberId: 1,
        term: 1,
        leader: 1,
        commitIndex: 1,
        appliedIndex: 1,
        members: [],
      }),
      transferLeadership: async () => {},
      limits: DEFAULT_REQUEST_LIMITS,
      clock,
      prng: createPrng(1),
    },
    (definition, implementation) => server.addService(definition, implementation),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const connect = () => connectMeta({ endpoints: [`127.0.0.1:${port}`] });
  const [client, other] = [connect(), connect()];
  return {
    client,
    other,
    advance: (byMs) => clock.advanceAndSettle(byMs),
    compact: async (revision) => {
      await access.propose({ body: { kind: 'compact', revision } });
    },
    close: async () => {
      await client.close();
      await other.close();
      server.forceShutdown();
      access.close();
    },
  };
});
