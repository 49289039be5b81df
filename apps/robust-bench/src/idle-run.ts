// Opens connections that say nothing, holds them, and counts what they cost the broker.

import { BenchError } from './errors.js';
import { checkIdlePlan, type IdlePlan } from './load-plan.js';
import type { RunDeps } from './load-run.js';
import { type LinkReceiver, MqttLink } from './mqtt-link.js';
import { Opening } from './opening.js';
import { Parting } from './parting.js';
import { type ProcessorTime, readProcessorTime, readResidentBytes } from './processor-time.js';
import { type IdleReport, latencyReport } from './report.js';
import { RunWait } from './run-wait.js';
import { Tally } from './tally.js';

const TICK_MS = 100;

export class IdleRun {
  readonly #plan: IdlePlan;
  readonly #deps: RunDeps;
  readonly #links: { readonly link: MqttLink; readonly clientId: string }[] = [];
  readonly #tally = new Tally();
  readonly #wait: RunWait;
  readonly #opening: Opening;
  #phase: 'connecting' | 'measuring' | 'parting' = 'connecting';

  constructor(plan: IdlePlan, deps: RunDeps) {
    this.#plan = checkIdlePlan(plan);
    this.#deps = deps;
    this.#wait = new RunWait(deps.clock, deps.stopSignal);
    const { concurrency } = deps.target;
    this.#opening = new Opening(
      { count: plan.connections, concurrency, rate: plan.rate, open: (number) => this.#open(number) },
      deps.clock,
    );
  }

  /** Errors: UNAVAILABLE when not all can connect. */
  async run(): Promise<IdleReport> {
    const { brokerPids } = this.#deps;
    const bytesBefore = readResidentBytes(brokerPids);
    const before = readProcessorTime(brokerPids);
    const ticking = this.#wait.every(TICK_MS, () => this.#showProgress());
    try {
      await this.#wait.openOrStop(this.#opening);
      const after = readProcessorTime(brokerPids);
      this.#phase = 'measuring';
      await this.#wait.pause(this.#plan.holdMs);
      const bytesAfter = readResidentBytes(brokerPids);
      const stillOpen = this.#links.filter(({ link }) => link.ready).length;
      this.#phase = 'parting';
      await new Parting(this.#links, this.#deps).run([]);
      return this.#report({ before, after, bytesBefore, bytesAfter, stillOpen });
    } finally {
      ticking.cancel();
      this.#wait.release();
    }
  }

  #open(number: number): void {
    const { prefix, run, subscribe } = this.#plan;
    const receiver: LinkReceiver = {
      onReady: () => this.#opening.onReady(number),
      onMessage: () => {
        this.#tally.foreign++;
      },
      onAcked: () => {},
      onChunkEnd: () => {},
      onDrain: () => {},
      onClosed: (reason) => this.#onClosed(reason),
    };
    const subscription =
      subscribe === 'nothing' ? undefined : { topicFilter: `${prefix}/${run}/idle/${number}`, qos: 0 as const };
    const clientId = `${prefix}-${run}-i${number}`;
    this.#links.push({
      clientId,
      link: new MqttLink({ clientId, session: 'clean', subscription }, receiver, this.#deps),
    });
  }

  #onClosed(reason: string): void {
    if (this.#phase === 'parting') return;
    this.#tally.disconnects++;
    if (this.#phase === 'measuring') {
      this.#wait.fail(`a connection was lost while it was idle: ${reason}`);
      return;
    }
    const { host, port } = this.#deps.target;
    const ready = `${this.#opening.readyCount} of ${this.#plan.connections} were open`;
    this.#opening.fail(
      new BenchError(
        'UNAVAILABLE',
        `cannot connect to ${host}:${port}: ${reason} (${ready}). Is the broker running, and is "ulimit -n" high enough on both sides?`,
      ),
    );
  }

  #showProgress(): void {
    const inFlight = this.#opening.readyCount;
    this.#deps.onProgress({ phase: this.#phase, tally: this.#tally, inFlight, lost: this.#tally.disconnects });
  }

  #report(seen: {
    readonly before: ProcessorTime;
    readonly after: ProcessorTime;
    readonly bytesBefore: number | undefined;
    readonly bytesAfter: number | undefined;
    readonly stillOpen: number;
  }): IdleReport {
    const { before, after, bytesBefore, bytesAfter } = seen;
    const connected = this.#opening.readyCount;
    const seconds = this.#opening.tookMs / 1000;
    const grown = bytesBefore === undefined || bytesAfter === undefined ? undefined : bytesAfter - bytesBefore;
    return {
      kind: 'idle',
      plan: this.#plan,
      connected,
      connectSeconds: seconds,
      connectsPerSecond: connected / Math.max(seconds, 1e-3),
      handshakeUs: latencyReport(this.#opening.handshakes),
      stillOpen: seen.stillOpen,
      disconnects: this.#tally.disconnects,
      clientCpuSeconds: after.client - before.client,
      brokerCpuSeconds:
        after.broker === undefined || before.broker === undefined ? undefined : after.broker - before.broker,
      brokerBytesPerConnection: grown === undefined ? undefined : grown / Math.max(connected, 1),
      failure: this.#wait.failure,
    };
  }
}
