// broker-only: an MQTT broker that finds its metadata service by gRPC. Its shorter list of the same steps: all but
// the metadata service and the journal.

import {
  connectMetaRole,
  metaHint,
  type Node,
  reportReady,
  runApp,
  startBrokerRole,
  startGrpc,
  startHttp,
  startPlainStorage,
  startRegistration,
} from '@robustmq/roles';

declare const __ROBUSTMQ_VERSION__: string; // put in by the bundler

await runApp(
  {
    name: 'broker-only',
    summary: 'The MQTT broker of RobustMQ on its own. It needs meta.peers, and a storage.type other than journal.',
    version: __ROBUSTMQ_VERSION__,
    fixed: { roles: ['broker'] },
    serve,
  },
  process.argv.slice(2),
);

async function serve(node: Node): Promise<void> {
  const { steps } = node;
  await steps.step({ number: 1, name: 'grpc' }, {}, () => startGrpc(node));
  await steps.step({ number: 1, name: 'http' }, {}, () => startHttp(node));
  const meta = await steps.step({ number: 2, name: 'meta' }, { hint: metaHint(node) }, (signal) =>
    connectMetaRole(node, signal),
  );
  const { storage } = await steps.step({ number: 3, name: 'storage' }, {}, () => startPlainStorage(node));
  const registration = await steps.step({ number: 5, name: 'registration' }, {}, (signal) =>
    startRegistration(node, meta.client, signal),
  );
  await steps.step({ number: 6, name: 'broker' }, {}, () => startBrokerRole(node, { meta: meta.client, storage }));
  await steps.step({ number: 7, name: 'ready' }, {}, () => reportReady(node, registration));
}
