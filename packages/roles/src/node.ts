// A node: what every role stands on, opened before the first step and closed after the last.

import { join } from 'node:path';
import {
  type Config,
  createLogger,
  createMetrics,
  type DataDirectory,
  Health,
  type LoadedConfig,
  openDataDirectory,
  type PrometheusMetrics,
  type RunContext,
  type RuntimeLogger,
  StartSteps,
} from '@robustmq/node-runtime';
import { type Clock, systemClock } from '@robustmq/stdx/clock';
import { createPrng, type Prng } from '@robustmq/stdx/prng';
import { type Disk, nodeDisk } from '@robustmq/wal';
import { randomSeed } from './random-seed.js';

export interface AppIdentity {
  /** As typed: robust-server. */
  readonly name: string;
  readonly version: string;
}

export interface Node {
  readonly app: AppIdentity;
  readonly loaded: LoadedConfig;
  readonly config: Config;
  readonly log: RuntimeLogger;
  readonly metrics: PrometheusMetrics;
  readonly health: Health;
  readonly steps: StartSteps;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly disk: Disk;
  readonly directory: DataDirectory;
  readonly context: RunContext;
  /** Where this node is reached, by what is reached there (`mqtt`, `ws`, `http`, `grpc`); filled as listeners open. */
  readonly addresses: Map<string, string>;
}

export interface RunNodeOptions {
  readonly app: AppIdentity & { readonly serve: (node: Node) => Promise<void> };
  readonly context: RunContext;
  readonly loaded: LoadedConfig;
}

/** Starts the roles of an app, waits for the wish to stop, and closes everything in reverse. */
export async function runNode({ app, context, loaded }: RunNodeOptions): Promise<undefined> {
  const { config } = loaded;
  const log = createLogger({ log: config.log, fields: { node: config.node_id }, noColor: context.environment.noColor });
  log.info(
    { version: app.version, pid: process.pid, roles: config.roles },
    `${app.name} ${app.version} starts node ${config.node_id} of ${config.cluster_name}`,
  );
  const disk = nodeDisk();
  await using directory = await openDataDirectory(
    { path: config.data_path, clusterName: config.cluster_name, nodeId: config.node_id },
    { disk, log },
  );
  await using steps = new StartSteps({ deadlineMs: config.start.deadline_ms, log, signal: context.stopSignal });
  context.adopt({ log, shutdownDeadlineMs: config.shutdown.deadline_ms, activity: () => steps.activity });
  const node: Node = {
    app,
    loaded,
    config,
    log,
    metrics: createMetrics({ node: String(config.node_id) }),
    health: new Health({ checks: checksOf(config) }),
    steps,
    clock: systemClock,
    prng: createPrng(randomSeed()),
    disk,
    directory,
    context,
    addresses: new Map(),
  };
  await app.serve(node);
  log.info({ ...Object.fromEntries(node.addresses), tookMs: Math.round(steps.elapsedMs) }, 'ready');
  const reason = await context.shutdownRequested();
  node.health.stopping();
  log.info(reason.kind === 'signal' ? `${reason.signal}: stopping` : 'a part of the node failed: stopping');
}

/** What must hold before clients may be sent here. */
function checksOf({ roles }: Config): readonly string[] {
  const byRole = { meta: [], journal: ['storage'], broker: ['storage', 'listeners'] } as const;
  return [...new Set(['metadata', 'registration', ...roles.flatMap((role) => byRole[role])])];
}

/** Whether this node carries the role; the journal counts only where messages go through it. */
export function takesPart({ config }: Node, role: Config['roles'][number]): boolean {
  return config.roles.includes(role) && (role !== 'journal' || config.storage.type === 'journal');
}

export const pathOf = (node: Node, name: string): string => join(node.config.data_path, name);
