// A run: connect, settle, warm up, measure, drain, part.
//
//   R1. Rates and latencies are of the measured time; loss, duplicates and order are judged over the whole run.
//   R2. A connection that closes before the run parts ends it: what remains would measure something else.

import type { Clock } from '@robustmq/stdx/clock';
import { BenchError } from './errors.js';
import { checkLoadPlan, deliveriesPerMessage, type LoadPlan } from './load-plan.js';
import type { LinkDeps } from './mqtt-link.js';
import { Opening } from './opening.js';
import { Parting } from './parting.js';
import { type ProcessorTime, readProcessorTime, readResidentBytes } from './processor-time.js';
import { Publisher } from './publisher.js';
import { type CoresReport, type LoadReport, latencyReport } from './report.js';
import { RunWait } from './run-wait.js';
import { SequenceAudit } from './sequence-audit.js';
import { Subscriber, streamsOf } from './subscriber.js';
import { Tally } from './tally.js';
import { Traffic } from './traffic.js';

export interface RunDeps extends LinkDeps {
  /** clock.now() plus this is the monotonic clock all processes of this machine share, in milliseconds. */
  readonly originMs: number;
  /** Processes whose processor time and memory are reported. */
  readonly brokerPids: readonly number[];
  /** Ends the run early, in order; there is a report all the same. */
  readonly stopSignal: AbortSignal;
  /** Shown while the run goes on. */
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress {
  readonly phase: 'connecting' | 'warming up' | 'measuring' | 'draining' | 'parting';
  readonly tally: Readonly<Tally>;
  /** Messages sent that not all of their subscribers have seen. */
  readonly inFlight: number;
  readonly lost: number;
}

const SETTLE_MS = 200;
const TICK_MS = 100;
const STALL_MS = 1000;
const DRAIN_LOOK_MS = 20;
const DRAIN_MS_MAX = 60_000;

/** Counters at one moment. */
interface Sample {
  readonly atMs: number;
  readonly sent: number;
  readonly received: number;
  readonly acked: number;
  readonly cpu: ProcessorTime;
}

export class LoadRun {
  readonly #plan: LoadPlan;
  readonly #deps: RunDeps;
  readonly #clock: Clock;
  readonly #tally = new Tally();
  readonly #audit: SequenceAudit;
  readonly #publishers: Publisher[] = [];
  readonly #subscribers: Subscriber[] = [];
  readonly #traffic: Traffic;
  readonly #wait: RunWait;
  readonly #opening: Opening;
  #phase: Progress['phase'] = 'connecting';
  #pingedMs = 0;

  constructor(plan: LoadPlan, deps: RunDeps) {
    this.#plan = checkLoadPlan(plan);
    this.#deps = deps;
    this.#clock = deps.clock;
    this.#audit = new SequenceAudit(streamsOf(plan), plan.sides === 'both' ? 'is zero' : 'is whatever comes first');
    this.#wait = new RunWait(deps.clock, deps.stopSignal);
    this.#traffic = new Traffic(this.#publishers, deps.clock, { rate: plan.rate, originMs: deps.originMs });
    this.#opening = new Opening(
      { count: this.#clients, concurrency: deps.target.concurrency, rate: 0, open: (number) => this.#open(number) },
      deps.clock,
    );
  }

  /** Errors: UNAVAILABLE when not all clients can connect. What happens later is in the report's `failure`. */
  async run(): Promise<LoadReport> {
    await this.#wait.openOrStop(this.#opening);
    const ticking = this.#wait.every(TICK_MS, () => this.#tick());
    await this.#wait.pause(SETTLE_MS);
    this.#phase = 'warming up';
    this.#tally.lastReceivedMs = this.#clock.now();
    this.#traffic.start();
    await this.#wait.pause(this.#plan.warmupMs);

    this.#phase = 'measuring';
    const from = this.#sample();
    this.#tally.measuring = true;
    await this.#wait.pause(this.#plan.durationMs);
    this.#tally.measuring = false;
    const to = this.#sample();
    const residentBytes = readResidentBytes(this.#deps.brokerPids);
    this.#traffic.stop();

    this.#phase = 'draining';
    await this.#drain(to.atMs);
    const drainedMs = this.#clock.now();
    this.#phase = 'parting';
    ticking.cancel();
    const parting = new Parting([...this.#publishers, ...this.#subscribers], this.#deps);
    await parting.run(this.#plan.session === 'persistent' ? this.#subscribers : []);
    this.#wait.release();
    return this.#report({ from, to, drainedMs, residentBytes });
  }

  /** Subscribers first: nothing is published before all of them listen. */
  get #clients(): number {
    return this.#subscriberCount + (this.#plan.sides === 'subscribe' ? 0 : this.#plan.publishers);
  }

  get #subscriberCount(): number {
    return this.#plan.sides === 'publish' ? 0 : this.#plan.subscribers;
  }

  get #lost(): number {
    const { sides, qos } = this.#plan;
    const { sent, acked, refused } = this.#tally;
    if (sides === 'subscribe') return this.#audit.missing;
    if (sides === 'publish') return qos === 0 ? 0 : sent - acked - refused;
    return Math.max(0, this.#expected - this.#audit.unique);
  }

  get #expected(): number {
    return (this.#tally.sent - this.#tally.refused) * deliveriesPerMessage(this.#plan);
  }

  #open(number: number): void {
    const { target, clock, originMs } = this.#deps;
    const plan = this.#plan;
    const owner = {
      onReady: () => this.#opening.onReady(number),
      onRoom: () => this.#traffic.wake(),
      onClosed: (reason: string) => this.#onClosed(reason),
    };
    const shared = { target, clock, plan, owner, tally: this.#tally };
    if (number < this.#subscriberCount) {
      const publishers = plan.sides === 'both' ? this.#publishers : [];
      this.#subscribers.push(new Subscriber(number, { ...shared, audit: this.#audit, publishers, originMs }));
    } else {
      this.#publishers.push(new Publisher(number - this.#subscriberCount, shared));
    }
  }

  /** R2 */
  #onClosed(reason: string): void {
    if (this.#phase === 'parting') return;
    this.#tally.disconnects++;
    const { host, port } = this.#deps.target;
    if (this.#phase === 'connecting') {
      const ready = `${this.#opening.readyCount} of ${this.#clients} clients were ready`;
      this.#opening.fail(
        new BenchError(
          'UNAVAILABLE',
          `cannot connect to ${host}:${port}: ${reason} (${ready}). Is the broker running?`,
        ),
      );
      return;
    }
    this.#traffic.stop();
    this.#wait.fail(`a connection was lost while ${this.#phase}: ${reason}`);
  }

  #tick(): void {
    const nowMs = this.#clock.now();
    const { window, rate } = this.#plan;
    const tally = this.#tally;
    if (
      window > 0 &&
      rate === 0 &&
      tally.sent > 0 &&
      nowMs - tally.lastReceivedMs > STALL_MS &&
      this.#phase !== 'draining'
    ) {
      tally.stalls++;
      tally.lastReceivedMs = nowMs;
      for (const publisher of this.#publishers) publisher.forgive();
      this.#traffic.wake();
    }
    this.#pingWhereAsked(nowMs);
    const inFlight = this.#plan.sides === 'both' ? this.#lost : this.#unacknowledged();
    this.#deps.onProgress({ phase: this.#phase, tally, inFlight, lost: this.#audit.missing });
  }

  /** The clients ask for no keep alive; a broker of MQTT 5 may insist on one. */
  #pingWhereAsked(nowMs: number): void {
    const clients = [...this.#publishers, ...this.#subscribers];
    const shortest = clients.reduce(
      (least, { link }) => (link.keepAlive > 0 ? Math.min(least, link.keepAlive) : least),
      Number.POSITIVE_INFINITY,
    );
    if (nowMs - this.#pingedMs < (shortest * 1000) / 2) return;
    this.#pingedMs = nowMs;
    for (const { link } of clients) link.ping();
  }

  #unacknowledged(): number {
    return this.#publishers.reduce((sum, publisher) => sum + publisher.underWay, 0);
  }

  /** Also after a stop from outside: what was sent is still judged. */
  async #drain(endedMs: number): Promise<void> {
    if (this.#plan.sides === 'subscribe') return;
    const since = () => this.#clock.now() - Math.max(endedMs, this.#tally.lastReceivedMs);
    while (!this.#isComplete() && since() < this.#plan.drainMs && this.#clock.now() - endedMs < DRAIN_MS_MAX) {
      if ((await this.#wait.pauseThoughStopped(DRAIN_LOOK_MS)) === 'failed') return;
    }
  }

  #isComplete(): boolean {
    if (this.#publishers.some(({ link, underWay }) => underWay > 0 || link.pendingBytes > 0)) return false;
    return this.#plan.sides === 'publish' || this.#audit.unique >= this.#expected;
  }

  #sample(): Sample {
    const { sent, received, acked } = this.#tally;
    return { atMs: this.#clock.now(), sent, received, acked, cpu: readProcessorTime(this.#deps.brokerPids) };
  }

  #report(times: { from: Sample; to: Sample; drainedMs: number; residentBytes: number | undefined }): LoadReport {
    const { from, to, drainedMs, residentBytes } = times;
    const tally = this.#tally;
    const seconds = Math.max((to.atMs - from.atMs) / 1000, 1e-3);
    const connectSeconds = this.#opening.tookMs / 1000;
    return {
      kind: 'load',
      plan: this.#plan,
      seconds,
      connectSeconds,
      connectsPerSecond: this.#clients / Math.max(connectSeconds, 1e-3),
      sentPerSecond: (to.sent - from.sent) / seconds,
      receivedPerSecond: (to.received - from.received) / seconds,
      ackedPerSecond: (to.acked - from.acked) / seconds,
      sent: tally.sent,
      acked: tally.acked,
      refused: tally.refused,
      received: tally.received,
      lost: this.#lost,
      duplicates: this.#audit.duplicates,
      // Members of a shared subscription each see a part of the stream, side by side.
      outOfOrder: this.#plan.topology === 'shared' ? 0 : this.#audit.outOfOrder,
      foreign: tally.foreign,
      stalls: tally.stalls,
      disconnects: tally.disconnects,
      errors: tally.errors,
      latencyUs: latencyReport(tally.latency),
      ackLatencyUs: latencyReport(tally.ackLatency),
      drainSeconds: (drainedMs - to.atMs) / 1000,
      cores: coresBetween(from.cpu, to.cpu, seconds),
      brokerResidentBytes: residentBytes,
      failure: this.#wait.failure,
    };
  }
}

function coresBetween(from: ProcessorTime, to: ProcessorTime, seconds: number): CoresReport {
  const client = to.client - from.client;
  const broker = to.broker === undefined || from.broker === undefined ? undefined : to.broker - from.broker;
  const machine = to.machine === undefined || from.machine === undefined ? undefined : to.machine - from.machine;
  const others = machine === undefined ? undefined : Math.max(0, machine - client - (broker ?? 0));
  return {
    client: client / seconds,
    broker: broker === undefined ? undefined : broker / seconds,
    others: others === undefined ? undefined : others / seconds,
  };
}
