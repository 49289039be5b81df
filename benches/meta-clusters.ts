// Three members of ours and three of etcd on this machine, behind one interface, so that one program measures both.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { connectMeta } from '@robustmq/meta-raft/client';

const OURS = join(process.cwd(), 'apps/meta-only/dist');
const MEMBERS = [0, 1, 2] as const;
/** Of /proc/<pid>/stat: what the kernel counts processor time in. */
const TICKS_PER_SECOND = 100;

interface Member {
  readonly endpoint: string;
  readonly metrics: string;
  readonly command: readonly [file: string, ...args: string[]];
}

interface Kind {
  readonly leads: RegExp;
  readonly syncs: RegExp;
}

const KINDS = {
  ours: { leads: /^meta_raft_leading\{[^}]*\} 1$/m, syncs: /^meta_wal_sync_seconds_count\S* (\d+)$/m },
  etcd: { leads: /^etcd_server_is_leader 1$/m, syncs: /^etcd_disk_wal_fsync_duration_seconds_count (\d+)$/m },
} as const satisfies Record<string, Kind>;

export type ClusterName = keyof typeof KINDS;

export class BenchCluster {
  readonly name: ClusterName;
  readonly #members: readonly Member[];
  readonly #processes: (ChildProcess | undefined)[] = [];
  readonly #directory: string;

  private constructor(name: ClusterName, members: readonly Member[], directory: string) {
    this.name = name;
    this.#members = members;
    this.#directory = directory;
  }

  static async start(name: ClusterName, scratch: string): Promise<BenchCluster> {
    const directory = join(scratch, name);
    mkdirSync(directory);
    const ports = await freePorts(6);
    if (name === 'ours') cpSync(OURS, join(directory, 'dist'), { recursive: true }); // a build may replace it meanwhile
    const members = name === 'ours' ? ourMembers(directory, ports) : etcdMembers(directory, ports);
    const cluster = new BenchCluster(name, members, directory);
    await Promise.all(MEMBERS.map((member) => cluster.restart(member)));
    return cluster;
  }

  /** The leader first, so that no contender forwards. */
  async endpoints(): Promise<string[]> {
    const leader = await this.leader();
    return [leader, ...MEMBERS.filter((member) => member !== leader)].map((member) => this.#member(member).endpoint);
  }

  async leader(): Promise<number> {
    for (;;) {
      for (const member of MEMBERS) {
        if (KINDS[this.name].leads.test(await this.#metrics(member))) return member;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** How often a member has synced its log, and the processor time it has used. */
  async usage(member: number): Promise<{ readonly syncs: number; readonly cpuSeconds: number }> {
    const syncs = Number(KINDS[this.name].syncs.exec(await this.#metrics(member))?.[1] ?? Number.NaN);
    const stat = readFileSync(`/proc/${this.#processes[member]?.pid}/stat`, 'utf8');
    const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number);
    return { syncs, cpuSeconds: (user + system) / TICKS_PER_SECOND };
  }

  async kill(member: number): Promise<void> {
    const process = this.#processes[member];
    if (!process) return;
    process.kill('SIGKILL');
    await once(process, 'close');
    this.#processes[member] = undefined;
  }

  /** Starts a member again with a profiler, which writes when the member ends by SIGTERM. Ours only. */
  async restartProfiled(member: number, directory: string): Promise<void> {
    await this.restart(member, {
      ROBUSTMQ_NODE_OPTIONS: `--max-semi-space-size=32 --cpu-prof --cpu-prof-dir=${directory}`,
    });
  }

  async stop(member: number): Promise<void> {
    const process = this.#processes[member];
    process?.kill('SIGTERM');
    if (process) await once(process, 'close');
    this.#processes[member] = undefined;
  }

  get sourceMap(): string {
    return join(this.#directory, 'dist/meta-only.mjs.map');
  }

  /** Milliseconds from the start of the process to its first linearizable answer. */
  async restart(member: number, environment: NodeJS.ProcessEnv = {}): Promise<number> {
    const { command, endpoint } = this.#member(member);
    const [file, ...args] = command;
    const log = openSync(join(this.#directory, 'log'), 'a');
    const from = performance.now();
    this.#processes[member] = spawn(file, args, {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...environment },
    });
    await listening(endpoint); // a client that came too early would wait before it tries again
    const client = connectMeta({ endpoints: [endpoint], requestTimeoutMs: 60_000, attemptTimeoutMs: 1000 });
    try {
      await client.get('ready');
    } finally {
      await client.close();
    }
    return performance.now() - from;
  }

  async close(): Promise<void> {
    await Promise.all(MEMBERS.map((member) => this.kill(member)));
  }

  #member(member: number): Member {
    const found = this.#members[member];
    if (!found) throw new Error(`there is no member ${member}`);
    return found;
  }

  async #metrics(member: number): Promise<string> {
    if (!this.#processes[member]) return '';
    const answer = await fetch(this.#member(member).metrics, { signal: AbortSignal.timeout(1000) }).catch(
      () => undefined,
    );
    return answer ? answer.text() : '';
  }
}

function ourMembers(directory: string, ports: readonly number[]): Member[] {
  const peers = MEMBERS.flatMap((id) => ['--set', `meta.peers.${id + 1}=127.0.0.1:${ports[id]}`]);
  return MEMBERS.map((id) => {
    const endpoint = `127.0.0.1:${ports[id]}`;
    const http = `127.0.0.1:${ports[id + 3]}`;
    const set = [`node_id=${id + 1}`, `grpc.bind=${endpoint}`, `http.bind=${http}`, 'log.format=json'];
    const args = ['start', '--data-path', join(directory, String(id)), ...set.flatMap((each) => ['--set', each])];
    return {
      endpoint,
      metrics: `http://${http}/metrics`,
      command: [join(directory, 'dist/bin/meta-only'), ...args, ...peers],
    };
  });
}

function etcdMembers(directory: string, ports: readonly number[]): Member[] {
  const peer = (id: number) => `http://127.0.0.1:${ports[id + 3]}`;
  const all = MEMBERS.map((id) => `e${id}=${peer(id)}`).join(',');
  return MEMBERS.map((id) => {
    const endpoint = `127.0.0.1:${ports[id]}`;
    const client = `http://${endpoint}`;
    const settings = {
      name: `e${id}`,
      'data-dir': join(directory, String(id)),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer(id),
      'initial-advertise-peer-urls': peer(id),
      'initial-cluster': all,
      logger: 'zap',
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    return { endpoint, metrics: `${client}/metrics`, command: ['etcd', ...args] };
  });
}

async function listening(endpoint: string): Promise<void> {
  const port = Number(endpoint.split(':').at(-1));
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const [outcome] = await Promise.race([
      once(socket, 'connect').then(() => ['open']),
      once(socket, 'close').then(() => ['closed']),
    ]).catch(() => ['refused']);
    socket.destroy();
    if (outcome === 'open') return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  const ports: number[] = [];
  for (const server of servers) {
    if (!server.listening) await once(server, 'listening');
    const address = server.address();
    ports.push(typeof address === 'object' && address ? address.port : 0);
  }
  for (const server of servers) server.close();
  return ports;
}
