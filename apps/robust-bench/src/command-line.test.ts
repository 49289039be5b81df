import { describe, expect, it } from '@jest/globals';
import { RuntimeError } from '@robustmq/node-runtime';
import { parseCommandLine } from './command-line.js';
import { checkIdlePlan, checkLoadPlan, IDLE_DEFAULTS, LOAD_DEFAULTS, topicFilterOf, topicNameOf } from './load-plan.js';
import { SCENARIOS } from './scenarios.js';

const parse = (line: string) => parseCommandLine(line.split(' '), { version: '1.2.3', run: 4321 });

async function usageError(line: string): Promise<string> {
  const failure = await parse(line).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(RuntimeError);
  expect((failure as RuntimeError).code).toBe('USAGE'); // checked above
  return (failure as RuntimeError).message; // checked above
}

describe('the command line', () => {
  it('runs a scenario as it is defined', async () => {
    const request = await parse('mqtt scenario fanin1');
    expect(request).toMatchObject({
      scenario: 'fanin1',
      target: { host: '127.0.0.1', port: 1883, version: 4, transport: 'tcp', concurrency: 64 },
      work: {
        kind: 'load',
        plan: { topology: 'fanin', publishers: 200, subscribers: 1, qos: 1, inflight: 20, window: 50, run: 4321 },
      },
      brokerPids: [],
    });
  });

  it('lets flags override a scenario', async () => {
    const request = await parse(
      'mqtt scenario pair1 --port 2883 --host ::1 --protocol 5 --duration 0.5 --warmup 0 --payload-bytes 1024 --persistent --broker-pid 7,8 --json out.json --run 9',
    );
    expect(request).toMatchObject({
      target: { host: '::1', port: 2883, version: 5 },
      work: { plan: { durationMs: 500, warmupMs: 0, payloadBytes: 1024, session: 'persistent', qos: 1, run: 9 } },
      brokerPids: [7, 8],
      json: 'out.json',
    });
  });

  it('lets pub and sub in two processes find each other', async () => {
    const pub = await parse('mqtt pub --qos 1 --rate 100 --json -');
    expect(pub?.json).toBe('-');
    const sub = await parse('mqtt sub --qos 1');
    expect(pub?.work).toMatchObject({ plan: { sides: 'publish', window: 0, publishers: 1, run: 0, rate: 100 } });
    expect(sub?.work).toMatchObject({ plan: { sides: 'subscribe', subscribers: 1, run: 0, warmupMs: 0 } });
  });

  it('opens idle connections', async () => {
    expect((await parse('mqtt conn --connections 10 --rate 5 --hold 1 --subscribe'))?.work).toMatchObject({
      kind: 'idle',
      plan: { connections: 10, rate: 5, holdMs: 1000, subscribe: 'one topic' },
    });
    expect((await parse('mqtt scenario idle'))?.work).toMatchObject({ kind: 'idle', plan: { connections: 5000 } });
  });

  it('refuses what it does not know, in one line', async () => {
    expect(await usageError('mqtt scenario pair9')).toMatch(/^Invalid values: Argument: name, Given: "pair9"/);
    expect(await usageError('mqtt scenario pair0 --colour red')).toMatch(/colour/);
    expect(await usageError('mqtt scenario pair0 --qos 3')).toMatch(/qos/);
    expect(await usageError('mqtt scenario pair0 --port 0')).toMatch(/--port is between/);
    expect(await usageError('mqtt scenario pair0 --concurrency 0')).toMatch(/--concurrency/);
    expect(await usageError('mqtt scenario pair0 --clean --persistent')).toMatch(/mutually exclusive/);
    expect(await usageError('mqtt scenario pair0 --qos 1 --qos 2')).toMatch(/--qos is given more than once/);
    expect(await usageError('mqtt scenario pair0 --broker-pid mosquitto')).toMatch(/--broker-pid/);
    expect(await usageError('mqtt')).toMatch(/say what to do/);
    expect(await usageError('kafka')).toMatch(/kafka/);
  });
});

describe('a plan', () => {
  it('is refused when it makes no sense or does not fit', () => {
    const refuse = (fields: Partial<typeof LOAD_DEFAULTS>) => () => checkLoadPlan({ ...LOAD_DEFAULTS, ...fields });
    expect(refuse({ publishers: 3, subscribers: 4 })).toThrow(/as many publishers as subscribers/);
    expect(refuse({ payloadBytes: 23 })).toThrow(/--payload-bytes is between 24/);
    expect(refuse({ inflight: 70_000 })).toThrow(/--inflight/);
    expect(refuse({ publishers: 1.5, subscribers: 1.5 })).toThrow(/whole number/);
    expect(refuse({ rate: Number.NaN })).toThrow(/--rate/);
    expect(refuse({ topology: 'fanin', publishers: 50_000, subscribers: 500 })).toThrow(/streams to watch/);
    expect(refuse({ payloadBytes: 16 * 1024 * 1024, publishers: 100, subscribers: 100 })).toThrow(/1 GiB/);
    expect(() => checkIdlePlan({ ...IDLE_DEFAULTS, connections: 0 })).toThrow(/--connections/);
  });

  it('is legal in every scenario', () => {
    for (const scenario of Object.values(SCENARIOS)) {
      if (scenario.kind === 'load') expect(checkLoadPlan(scenario.plan)).toBe(scenario.plan);
      else expect(checkIdlePlan(scenario.plan)).toBe(scenario.plan);
    }
  });

  it('gives each pair its topic, and one topic to all others', () => {
    const pairs = { ...LOAD_DEFAULTS, run: 5 };
    expect([topicNameOf(pairs, 3), topicFilterOf(pairs, 3)]).toEqual(['robust-bench/5/3', 'robust-bench/5/3']);
    const shared = { ...pairs, topology: 'shared' } as const;
    expect([topicNameOf(shared, 3), topicFilterOf(shared, 8)]).toEqual([
      'robust-bench/5/all',
      '$share/robust-bench/robust-bench/5/all',
    ]);
  });
});
