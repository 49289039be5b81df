// The command line: flags become a plan, and yargs stays in this file.

import { RuntimeError } from '@robustmq/node-runtime';
import yargs, { type Argv } from 'yargs';
import { IDLE_DEFAULTS, type IdlePlan, LOAD_DEFAULTS, type LoadPlan, type Target } from './load-plan.js';
import { SCENARIOS } from './scenarios.js';

/** What the command line asks for. */
export interface Request {
  /** The name of a scenario, or of the command. */
  readonly scenario: string;
  readonly target: Target;
  readonly work:
    | { readonly kind: 'load'; readonly plan: LoadPlan }
    | { readonly kind: 'idle'; readonly plan: IdlePlan };
  readonly brokerPids: readonly number[];
  /** A file for the JSON; '-' is standard output; undefined for none. */
  readonly json: string | undefined;
}

interface Surroundings {
  readonly version: string;
  /** Different for each run unless --run names one. */
  readonly run: number;
}

/** `mqtt sub` goes on until it is stopped. */
const UNTIL_STOPPED_SECONDS = 30 * 86_400;

/** Undefined when the answer was printed already: --help, --version. Errors: RuntimeError USAGE. */
export async function parseCommandLine(argv: readonly string[], around: Surroundings): Promise<Request | undefined> {
  let request: Request | undefined;
  const take = (made: Request) => {
    request = made;
  };
  await yargs()
    .scriptName('robust-bench')
    .usage('$0 mqtt <command>\n\nMeasures an MQTT broker: throughput, latency, loss, order.')
    .command('mqtt', 'measure an MQTT broker', (mqtt) => mqttCommands(mqtt, { around, take }))
    .demandCommand(1, 'say what to measure: mqtt')
    .strict()
    .version(around.version)
    .parserConfiguration({ 'dot-notation': false })
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new RuntimeError('USAGE', `${message.replace(/\s+/g, ' ')}. See robust-bench mqtt --help`);
    })
    .parseAsync([...argv]);
  return request;
}

interface Making {
  readonly around: Surroundings;
  readonly take: (request: Request) => void;
}

function mqttCommands(mqtt: Argv, { around, take }: Making) {
  const names = Object.keys(SCENARIOS);
  return mqtt
    .command(
      'scenario <name>',
      `run a named load: ${names.join(', ')}`,
      (command) =>
        loadOptions(connectionOptions(command))
          .positional('name', { type: 'string', choices: names, demandOption: true })
          .epilogue(names.map((name) => `${name.padEnd(10)} ${SCENARIOS[name]?.about}`).join('\n')),
      (flags) => take(scenarioRequest(flags.name, flags, around)),
    )
    .command(
      'pub',
      'publish only',
      (command) => loadOptions(connectionOptions(command)),
      (flags) =>
        take(loadRequest('pub', { ...LOAD_DEFAULTS, sides: 'publish', window: 0, publishers: 1, run: 0 }, flags)),
    )
    .command(
      'sub',
      'subscribe only, until stopped or for --duration',
      (command) => loadOptions(connectionOptions(command)),
      (flags) =>
        take(
          loadRequest(
            'sub',
            {
              ...LOAD_DEFAULTS,
              sides: 'subscribe',
              publishers: 1,
              subscribers: 1,
              warmupMs: 0,
              durationMs: UNTIL_STOPPED_SECONDS * 1000,
              run: 0,
            },
            flags,
          ),
        ),
    )
    .command(
      'conn',
      'open connections and hold them',
      (command) => idleOptions(connectionOptions(command)),
      (flags) => take(idleRequest('conn', { ...IDLE_DEFAULTS, run: around.run }, flags)),
    )
    .demandCommand(1, 'say what to do: pub, sub, conn or scenario');
}

function connectionOptions(command: Argv) {
  return command
    .option('host', { type: 'string', default: '127.0.0.1', describe: 'of the broker' })
    .option('port', { type: 'number', default: 1883, describe: 'of the broker' })
    .option('transport', { choices: ['tcp', 'ws'] as const, default: 'tcp' as const })
    .option('path', { type: 'string', default: '/mqtt', describe: 'of the WebSocket' })
    .option('protocol', { type: 'string', choices: ['3.1.1', '5'] as const, default: '3.1.1' as const })
    .option('username', { type: 'string' })
    .option('password', { type: 'string' })
    .option('concurrency', { type: 'number', default: 64, describe: 'handshakes under way at a time' })
    .option('broker-pid', { type: 'string', describe: 'process whose CPU and memory to report; several with commas' })
    .option('prefix', { type: 'string', describe: 'of topics and client ids' })
    .option('run', { type: 'number', describe: 'number that tells the messages of this run from others' })
    .option('json', { type: 'string', nargs: 1, describe: 'file for the result as JSON; - is standard output' });
}

function loadOptions<T>(command: Argv<T>) {
  return command
    .option('topology', { choices: ['pairwise', 'fanout', 'fanin', 'shared'] as const, describe: 'who gets what' })
    .option('publishers', { type: 'number' })
    .option('subscribers', { type: 'number' })
    .option('qos', { type: 'number', choices: [0, 1, 2] as const })
    .option('payload-bytes', { type: 'number' })
    .option('rate', { type: 'number', describe: 'messages per second of all publishers; 0 is as fast as it goes' })
    .option('inflight', { type: 'number', describe: 'unacknowledged messages per publisher (QoS 1, 2)' })
    .option('window', { type: 'number', describe: 'messages per publisher its subscribers have not seen; 0 is open' })
    .option('batch', { type: 'number', describe: 'messages per write' })
    .option('duration', { type: 'number', describe: 'seconds to measure' })
    .option('warmup', { type: 'number', describe: 'seconds before that' })
    .option('drain', { type: 'number', describe: 'seconds to wait for the rest after the last message' })
    .option('persistent', { type: 'boolean', describe: 'subscribers have sessions that the broker keeps' })
    .option('clean', { type: 'boolean', describe: 'subscribers have clean sessions', conflicts: 'persistent' });
}

function idleOptions<T>(command: Argv<T>) {
  return command
    .option('connections', { type: 'number', describe: `how many (${IDLE_DEFAULTS.connections})` })
    .option('rate', { type: 'number', describe: 'connects per second; 0 is as fast as it goes' })
    .option('hold', { type: 'number', describe: 'seconds to hold them' })
    .option('subscribe', { type: 'boolean', describe: 'each to a topic of its own' });
}

type FlagsOf<Build extends (command: Argv) => unknown> = ReturnType<Build> extends Argv<infer Flags> ? Flags : never;
type ConnectionFlags = FlagsOf<typeof connectionOptions>;
type LoadFlags = ConnectionFlags & FlagsOf<typeof loadOptions<object>>;
type IdleFlags = ConnectionFlags & Partial<FlagsOf<typeof idleOptions<object>>>;

function scenarioRequest(name: string, flags: LoadFlags, around: Surroundings): Request {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new RuntimeError('USAGE', `there is no scenario ${name}`);
  return scenario.kind === 'idle'
    ? idleRequest(name, { ...scenario.plan, run: around.run }, flags)
    : loadRequest(name, { ...scenario.plan, run: around.run }, flags);
}

function loadRequest(scenario: string, preset: LoadPlan, flags: LoadFlags): Request {
  const session = flags.persistent ? 'persistent' : flags.clean ? 'clean' : preset.session;
  const plan: LoadPlan = {
    sides: preset.sides,
    topology: flags.topology ?? preset.topology,
    publishers: flags.publishers ?? preset.publishers,
    subscribers: flags.subscribers ?? preset.subscribers,
    qos: flags.qos ?? preset.qos,
    payloadBytes: flags['payload-bytes'] ?? preset.payloadBytes,
    inflight: flags.inflight ?? preset.inflight,
    window: flags.window ?? preset.window,
    batch: flags.batch ?? preset.batch,
    rate: flags.rate ?? preset.rate,
    durationMs: milliseconds(flags.duration) ?? preset.durationMs,
    warmupMs: milliseconds(flags.warmup) ?? preset.warmupMs,
    drainMs: milliseconds(flags.drain) ?? preset.drainMs,
    session,
    prefix: flags.prefix ?? preset.prefix,
    run: flags.run ?? preset.run,
  };
  return { ...surroundingsOf(scenario, flags), work: { kind: 'load', plan } };
}

function idleRequest(scenario: string, preset: IdlePlan, flags: IdleFlags): Request {
  const plan: IdlePlan = {
    connections: flags.connections ?? preset.connections,
    rate: flags.rate ?? preset.rate,
    holdMs: milliseconds(flags.hold) ?? preset.holdMs,
    subscribe: flags.subscribe ? 'one topic' : preset.subscribe,
    prefix: flags.prefix ?? preset.prefix,
    run: flags.run ?? preset.run,
  };
  return { ...surroundingsOf(scenario, flags), work: { kind: 'idle', plan } };
}

function surroundingsOf(scenario: string, flags: ConnectionFlags): Omit<Request, 'work'> {
  const { host, port, transport, path, username, password, concurrency } = flags;
  const twice = Object.entries(flags).find(([name, value]) => name !== '_' && Array.isArray(value));
  if (twice) throw new RuntimeError('USAGE', `--${twice[0]} is given more than once`);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new RuntimeError('USAGE', `--port is between 1 and 65535, not ${port}`);
  }
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RuntimeError('USAGE', `--concurrency is a whole number from 1 on, not ${concurrency}`);
  }
  const version = flags.protocol === '5' ? 5 : 4;
  return {
    scenario,
    target: { host, port, transport, path, version, username, password, concurrency },
    brokerPids: pids(flags['broker-pid'] ?? ''),
    json: flags.json,
  };
}

function pids(list: string): readonly number[] {
  const numbers = list.split(',').filter(Boolean).map(Number);
  if (numbers.every(Number.isInteger)) return numbers;
  throw new RuntimeError('USAGE', `--broker-pid is a process id, or several with commas, not ${list}`);
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}
