// robust-server: metadata, journal and MQTT broker in one process, or any of the three by `roles`.
//
// serve() read top to bottom is the start-up order; what a step opened is closed in the reverse order. A step returns
// when the next one may rely on it: nothing polls and nothing sleeps.

import {
  connectMetaRole,
  metaHint,
  type Node,
  reportReady,
  runApp,
  startBrokerRole,
  startGrpc,
  startHttp,
  startJournalRole,
  startMetaRole,
  startPlainStorage,
  startRegistration,
  takesPart,
} from '@robustmq/roles';

declare const __ROBUSTMQ_VERSION__: string; // put in by the bundler

await runApp(
  {
    name: 'robust-server',
    summary: 'RobustMQ: an MQTT broker that acknowledges only what is kept.',
    version: __ROBUSTMQ_VERSION__,
    serve,
  },
  process.argv.slice(2),
);

async function serve(node: Node): Promise<void> {
  const { steps } = node;

  // 1. gRPC listens: peers reach this node, and every service answers UNAVAILABLE until it is mounted.
  const rpc = await steps.step({ number: 1, name: 'grpc' }, {}, () => startGrpc(node));
  await steps.step({ number: 1, name: 'http' }, {}, () => startHttp(node));

  // 2. Metadata: recover the Raft log, find the peers, elect; or find the nodes that do.
  const meta = takesPart(node, 'meta')
    ? await steps.step({ number: 2, name: 'meta' }, { hint: metaHint(node) }, (signal) =>
        startMetaRole(node, rpc, signal),
      )
    : await steps.step({ number: 2, name: 'meta' }, { hint: metaHint(node) }, (signal) =>
        connectMetaRole(node, signal),
      );

  // 3. Memory and level need no journal. 4. With it, it recovers its disk.
  const journal = takesPart(node, 'journal')
    ? await steps.step({ number: 4, name: 'journal' }, {}, () => startJournalRole(node, meta.client))
    : undefined;
  const storage =
    journal ??
    (takesPart(node, 'broker')
      ? await steps.step({ number: 3, name: 'storage' }, {}, () => startPlainStorage(node))
      : undefined);

  // 5. This node registers: the cluster knows it and what it carries.
  const registration = await steps.step({ number: 5, name: 'registration' }, {}, (signal) =>
    startRegistration(node, meta.client, signal),
  );

  // 6. The broker recovers its sessions, then opens its listeners.
  if (takesPart(node, 'broker') && storage) {
    await steps.step({ number: 6, name: 'broker' }, {}, () =>
      startBrokerRole(node, { meta: meta.client, storage: storage.storage }),
    );
  }

  // 7. Heartbeats run, everything listens: say so to the cluster and to people.
  await steps.step({ number: 7, name: 'ready' }, {}, () => reportReady(node, registration));
}
