// meta-only: the metadata service on its own. Its shorter list of the same steps: 1, 2, 5, 7.

import {
  metaHint,
  type Node,
  reportReady,
  runApp,
  startGrpc,
  startHttp,
  startMetaRole,
  startRegistration,
} from '@robustmq/roles';

declare const __ROBUSTMQ_VERSION__: string; // put in by the bundler

await runApp(
  {
    name: 'meta-only',
    summary: 'The metadata service of RobustMQ: a Raft-replicated key-value store with leases and watch.',
    version: __ROBUSTMQ_VERSION__,
    fixed: { roles: ['meta'] },
    serve,
  },
  process.argv.slice(2),
);

async function serve(node: Node): Promise<void> {
  const { steps } = node;
  const rpc = await steps.step({ number: 1, name: 'grpc' }, {}, () => startGrpc(node));
  await steps.step({ number: 1, name: 'http' }, {}, () => startHttp(node));
  const meta = await steps.step({ number: 2, name: 'meta' }, { hint: metaHint(node) }, (signal) =>
    startMetaRole(node, rpc, signal),
  );
  const registration = await steps.step({ number: 5, name: 'registration' }, {}, (signal) =>
    startRegistration(node, meta.client, signal),
  );
  await steps.step({ number: 7, name: 'ready' }, {}, () => reportReady(node, registration));
}
