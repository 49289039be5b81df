import { describe, expect, it } from '@jest/globals';
import { createMemoryMeta } from '@robustmq/meta-raft/testing';
import { createBroker } from '@robustmq/mqtt-broker';
import { systemClock } from '@robustmq/stdx/clock';
import { MemoryShardStorage } from '@robustmq/storage-adapter';
import { IdleRun } from '../src/idle-run.js';
import { LiveLine } from '../src/live-line.js';
import { IDLE_DEFAULTS, LOAD_DEFAULTS, type LoadPlan, type Target } from '../src/load-plan.js';
import { LoadRun, type RunDeps } from '../src/load-run.js';
import { type LoadReport, reportAsJson, reportAsTable } from '../src/report.js';
import { type Fault, UnfaithfulPeer } from './unfaithful-peer.js';

const SHORT = { ...LOAD_DEFAULTS, durationMs: 200, warmupMs: 50, drainMs: 5000, run: 1 } satisfies LoadPlan;

type Auth = NonNullable<Parameters<typeof createBroker>[0]['auth']>;

function startBroker(kind: 'tcp' | 'ws' = 'tcp', auth: Auth = {}) {
  return createBroker({
    auth,
    storage: new MemoryShardStorage({ clock: systemClock }),
    meta: createMemoryMeta(),
    listeners: [{ kind, host: '127.0.0.1', port: 0 }],
  });
}

function depsFor(port: number, fields: Partial<Target> = {}): RunDeps {
  const target: Target = {
    host: '127.0.0.1',
    port,
    transport: 'tcp',
    path: '/mqtt',
    version: 4,
    username: undefined,
    password: undefined,
    concurrency: 16,
    ...fields,
  };
  const clock = systemClock;
  return { target, clock, originMs: 0, brokerPids: [process.pid], stopSignal: neverStopped, onProgress: () => {} };
}

const neverStopped = new AbortController().signal;

const FLAWLESS = {
  lost: 0,
  duplicates: 0,
  outOfOrder: 0,
  foreign: 0,
  refused: 0,
  disconnects: 0,
  errors: 0,
  failure: undefined,
};

describe('a load on our broker', () => {
  const loads: readonly [string, Partial<LoadPlan>, Partial<Target>][] = [
    ['pairs at QoS 0', { qos: 0 }, {}],
    ['pairs at QoS 1, MQTT 5', { qos: 1 }, { version: 5 }],
    ['pairs at QoS 2, persistent sessions', { qos: 2, inflight: 10, session: 'persistent' }, {}],
    ['fan-out at QoS 0, MQTT 5', { topology: 'fanout', publishers: 1, subscribers: 20, window: 10 }, { version: 5 }],
    ['fan-in at QoS 1', { topology: 'fanin', publishers: 20, subscribers: 1, qos: 1, window: 10 }, {}],
    ['a shared subscription', { topology: 'shared', publishers: 2, subscribers: 3, qos: 1, window: 10 }, {}],
    ['payloads beyond one write', { payloadBytes: 100_000, publishers: 2, subscribers: 2, window: 4, qos: 1 }, {}],
    ['a rate', { rate: 500, window: 0, qos: 1 }, {}],
  ];

  it.each(loads)('%s: all of it arrives once and in order', async (_name, fields, target) => {
    await using broker = await startBroker();
    const plan = { ...SHORT, ...fields };
    const report = await new LoadRun(plan, depsFor(broker.addresses[0]?.port ?? 0, target)).run();
    expect(report).toMatchObject(FLAWLESS);
    const deliveries = plan.topology === 'fanout' ? plan.subscribers : 1;
    expect(report.sent).toBeGreaterThan(10);
    expect(report.received).toBe(report.sent * deliveries);
    expect(report.acked).toBe(plan.qos === 0 ? 0 : report.sent);
    expect(report.latencyUs.count).toBeGreaterThan(0);
    expect(report.latencyUs.p50).toBeLessThanOrEqual(report.latencyUs.max);
    expect(report.ackLatencyUs.count > 0).toBe(plan.qos > 0);
    expect(report.receivedPerSecond).toBeGreaterThan(0);
    expect(broker.aedes.connectedClients).toBe(0);
  });

  it('goes over WebSocket too', async () => {
    await using broker = await startBroker('ws');
    const deps = depsFor(broker.addresses[0]?.port ?? 0, { transport: 'ws', version: 5 });
    const report = await new LoadRun({ ...SHORT, qos: 1 }, deps).run();
    expect(report).toMatchObject(FLAWLESS);
    expect(report.received).toBe(report.sent);
  });

  it('keeps to its rate, and sends what is due without being asked twice', async () => {
    await using broker = await startBroker();
    const plan = { ...SHORT, rate: 400, window: 0, durationMs: 500, publishers: 4, subscribers: 4 };
    const report = await new LoadRun(plan, depsFor(broker.addresses[0]?.port ?? 0)).run();
    expect(report).toMatchObject(FLAWLESS);
    const seconds = plan.warmupMs / 1000 + report.seconds;
    expect(Math.abs(report.sent - 400 * seconds)).toBeLessThan(20);
  });

  it('goes in two runs, one that publishes and one that subscribes', async () => {
    await using broker = await startBroker();
    const deps = depsFor(broker.addresses[0]?.port ?? 0);
    const stop = new AbortController();
    let begin: () => void = () => {};
    const listening = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const subscriber = new LoadRun(
      { ...SHORT, sides: 'subscribe', publishers: 1, subscribers: 1, qos: 1, warmupMs: 0, durationMs: 60_000 },
      { ...deps, stopSignal: stop.signal, onProgress: ({ phase }) => void (phase === 'measuring' && begin()) },
    ).run();
    await listening;
    const published = await new LoadRun(
      { ...SHORT, sides: 'publish', publishers: 1, subscribers: 1, qos: 1, window: 0, rate: 1000 },
      deps,
    ).run();
    stop.abort();
    const seen = await subscriber;
    expect(published).toMatchObject({ ...FLAWLESS, received: 0 });
    expect(seen).toMatchObject({ ...FLAWLESS, sent: 0, received: published.sent });
  });

  it('that is stopped early waits for what is under way', async () => {
    await using broker = await startBroker();
    const stop = new AbortController();
    const onProgress: RunDeps['onProgress'] = ({ phase, tally }) => {
      if (phase === 'measuring' && tally.received > 0) stop.abort();
    };
    const deps = { ...depsFor(broker.addresses[0]?.port ?? 0), stopSignal: stop.signal, onProgress };
    const report = await new LoadRun({ ...SHORT, qos: 1, durationMs: 60_000 }, deps).run();
    expect(report).toMatchObject(FLAWLESS);
    expect(report.seconds).toBeLessThan(30);
    expect(report.received).toBe(report.sent);
  });

  it('leaves no session behind', async () => {
    await using broker = await startBroker();
    const port = broker.addresses[0]?.port ?? 0;
    const plan = { ...SHORT, session: 'persistent', qos: 1 } as const;
    await new LoadRun(plan, depsFor(port)).run();
    // A session that stayed would deliver what is published now, to whoever takes up its client id again.
    await new LoadRun({ ...plan, sides: 'publish', rate: 200, window: 0 }, depsFor(port)).run();
    const report = await new LoadRun(plan, depsFor(port)).run();
    expect(report).toMatchObject(FLAWLESS);
  });

  it('holds idle connections', async () => {
    await using broker = await startBroker();
    const plan = { ...IDLE_DEFAULTS, connections: 50, holdMs: 100, subscribe: 'one topic' } as const;
    const report = await new IdleRun(plan, depsFor(broker.addresses[0]?.port ?? 0)).run();
    expect(report).toMatchObject({ connected: 50, stillOpen: 50, disconnects: 0, failure: undefined });
    expect(report.handshakeUs.count).toBe(50);
    expect(reportAsTable(report)).toMatch(/connected\s+50 of 50/);
  });
});

describe('a broker that is wrong', () => {
  const ONE_PAIR = { ...SHORT, publishers: 1, subscribers: 1, window: 0, rate: 1000, drainMs: 100 } satisfies LoadPlan;

  async function loadOn(fault: Fault): Promise<LoadReport> {
    await using peer = await UnfaithfulPeer.listen(fault);
    return await new LoadRun(ONE_PAIR, depsFor(peer.port)).run();
  }

  it('is told to have lost messages', async () => {
    const report = await loadOn((publish, number) => (number % 10 === 3 ? [] : [publish]));
    expect(report.lost).toBe(Math.floor((report.sent + 6) / 10));
    expect(report).toMatchObject({ duplicates: 0, outOfOrder: 0, received: report.sent - report.lost });
  });

  it('is told to have doubled them', async () => {
    const report = await loadOn((publish, number) => (number % 10 === 3 ? [publish, publish] : [publish]));
    expect(report.duplicates).toBe(Math.floor((report.sent + 6) / 10));
    expect(report).toMatchObject({ lost: 0, outOfOrder: 0 });
  });

  it('is told to have mixed them up', async () => {
    let held: Buffer | undefined;
    const report = await loadOn((publish, number) => {
      if (number % 10 === 3) {
        held = Buffer.from(publish);
        return [];
      }
      const late = held === undefined ? [] : [held];
      held = undefined;
      return [publish, ...late];
    });
    expect(report.outOfOrder).toBeGreaterThan(5);
    expect(report.duplicates).toBe(0);
    expect(report.lost).toBeLessThanOrEqual(1); // the very last one may still be held
  });

  it('that hangs up in the middle ends the run with what was seen so far', async () => {
    await using peer = await UnfaithfulPeer.listen((publish) => [publish]);
    const deps = depsFor(peer.port);
    const onProgress: RunDeps['onProgress'] = ({ phase, tally }) => {
      if (phase === 'measuring' && tally.received > 0) peer.hangUp();
    };
    const report = await new LoadRun({ ...ONE_PAIR, durationMs: 60_000 }, { ...deps, onProgress }).run();
    expect(report.failure).toMatch(/a connection was lost while measuring/);
    expect(report.received).toBeGreaterThan(0);
    expect(reportAsTable(report)).toMatch(/ended early/);
  });

  it('that is not there, or that refuses, is named', async () => {
    const port = await (async () => {
      await using peer = await UnfaithfulPeer.listen(() => []);
      return peer.port;
    })();
    await expect(new LoadRun(ONE_PAIR, depsFor(port)).run()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/cannot connect to 127\.0\.0\.1:\d+: .*ECONNREFUSED.*Is the broker running\?/),
    });
    await using broker = await startBroker('tcp', { anonymous: 'nowhere' });
    const wrong = depsFor(broker.addresses[0]?.port ?? 0, { username: 'nobody', password: 'x', version: 5 });
    await expect(new LoadRun(ONE_PAIR, wrong).run()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/the broker refused the connection with 0x8[67]/),
    });
  });
});

describe('what is shown', () => {
  it('is a line on a terminal, and nothing elsewhere', async () => {
    await using broker = await startBroker();
    const written: string[] = [];
    const write = (text: string) => written.push(text);
    const live = new LiveLine({ isTTY: true, columns: 60, write }, systemClock);
    const silent = new LiveLine({ write: () => expect(true).toBe(false) }, systemClock);
    const deps = depsFor(broker.addresses[0]?.port ?? 0);
    const onProgress: RunDeps['onProgress'] = (progress) => {
      live.show(progress);
      silent.show(progress);
    };
    await new LoadRun({ ...SHORT, durationMs: 1200 }, { ...deps, onProgress }).run();
    live.clear();
    expect(written.at(-2)).toMatch(/measuring {2}sent [\d,]+\/s {2}received/);
    for (const line of written) expect(line.length).toBeLessThanOrEqual(60 + '\r\u001b[2K'.length);
  });

  it('is JSON without the password', async () => {
    await using broker = await startBroker();
    const { target } = depsFor(broker.addresses[0]?.port ?? 0);
    const report = await new LoadRun(SHORT, depsFor(target.port)).run();
    const json = reportAsJson(report, { scenario: 'pair0', target: { ...target, password: 'secret' } });
    expect(json).not.toMatch(/secret/);
    expect(JSON.parse(json)).toMatchObject({ scenario: 'pair0', kind: 'load', lost: 0, plan: { publishers: 10 } });
  });
});
