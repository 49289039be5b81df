// The two servers of every node, and what it tells the cluster and its operators of itself.

import { META_SERVICES } from '@robustmq/meta-raft';
import type { MetaClient } from '@robustmq/meta-raft/client';
import {
  formatAddress,
  type NodeRegistration,
  type RpcServer,
  RuntimeError,
  registerNode,
  startHttpServer,
  startRpcServer,
} from '@robustmq/node-runtime';
import { firstScreen } from './first-screen.js';
import { type Node, takesPart } from './node.js';

/** Peers reach this node from here on; what is not mounted yet answers UNAVAILABLE. */
export async function startGrpc(node: Node): Promise<RpcServer> {
  const { config, log, clock, health, steps } = node;
  const services = takesPart(node, 'meta') ? META_SERVICES : [];
  const rpc = await startRpcServer(
    { bind: config.grpc.bind, secret: config.grpc.secret, services },
    { log: log.child({ part: 'grpc' }), clock, health, activity: () => steps.activity },
  );
  node.addresses.set('grpc', formatAddress(rpc.address));
  return rpc;
}

/** Health, status and metrics, from before anything else is started to after everything is closed. */
export async function startHttp(node: Node): Promise<AsyncDisposable | undefined> {
  const { config, log, clock, health, metrics } = node;
  if (config.http.bind === 'off') return undefined;
  const http = await startHttpServer(
    { bind: config.http.bind },
    { log: log.child({ part: 'http' }), clock, health, metrics, status: () => statusOf(node) },
  );
  node.addresses.set('http', formatAddress(http.address));
  return http;
}

function statusOf({ app, config, addresses, steps, directory }: Node): object {
  return {
    app: app.name,
    version: app.version,
    pid: process.pid,
    cluster: config.cluster_name,
    node: config.node_id,
    roles: config.roles,
    storage: config.storage.type,
    dataPath: directory.path,
    addresses: Object.fromEntries(addresses),
    activity: steps.activity ?? 'serving',
  };
}

/** The cluster knows this node, and notices when it is gone. */
export async function startRegistration(node: Node, meta: MetaClient, signal: AbortSignal): Promise<NodeRegistration> {
  const { app, config, context, clock, log, health, directory, addresses } = node;
  const registration = await registerNode(
    {
      node: {
        nodeId: config.node_id,
        dataDirectoryId: directory.id,
        roles: [...config.roles],
        addresses: Object.fromEntries(addresses),
        version: app.version,
      },
      signal,
    },
    { meta, clock, log: log.child({ part: 'registration' }), onReplaced: (error) => context.fail(error) },
  );
  health.bind('registration', () => registration.check());
  return registration;
}

/** Everything listens: tell the cluster where, and people what they have. Ready is said only when health says so. */
export async function reportReady(node: Node, registration: NodeRegistration): Promise<void> {
  await registration.update({ addresses: Object.fromEntries(node.addresses) });
  const { status, checks } = await node.health.report();
  if (status !== 'ready') {
    const failing = Object.entries(checks).flatMap(([name, check]) => (check.ok ? [] : [`${name}: ${check.reason}`]));
    throw new RuntimeError('START_FAILED', `everything is started, and not ready: ${failing.join('; ')}`);
  }
  for (const line of firstScreen(node)) node.log.info(line);
}
