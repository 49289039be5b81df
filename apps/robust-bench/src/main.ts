// robust-bench: measures an MQTT broker.

import { writeFile } from 'node:fs/promises';
import { type RunContext, runMain } from '@robustmq/node-runtime';
import { systemClock } from '@robustmq/stdx/clock';
import { parseCommandLine, type Request } from './command-line.js';
import { BenchError } from './errors.js';
import { IdleRun } from './idle-run.js';
import { LiveLine } from './live-line.js';
import { LoadRun, type RunDeps } from './load-run.js';
import { count, type Report, reportAsJson, reportAsTable } from './report.js';

declare const __ROBUSTMQ_VERSION__: string; // put in by the bundler

await runMain(main, { program: 'robust-bench' });

async function main(context: RunContext): Promise<undefined> {
  const around = { version: __ROBUSTMQ_VERSION__, run: process.pid };
  const request = await parseCommandLine(process.argv.slice(2), around);
  if (request === undefined) return;
  const report = await measure(request, context.stopSignal);
  const about = { scenario: request.scenario, target: request.target };
  const json = reportAsJson(report, about);
  if (request.json !== undefined && request.json !== '-') await writeFile(request.json, json);
  process.stdout.write(request.json === '-' ? json : `${request.scenario}\n${reportAsTable(report)}\n`);
  judge(report, context.stopSignal);
}

async function measure({ work, target, brokerPids }: Request, stopSignal: AbortSignal): Promise<Report> {
  const clock = systemClock;
  const live = new LiveLine(process.stderr, clock);
  const [seconds, nanoseconds] = process.hrtime(); // the machine's monotonic clock, which other processes share
  const originMs = seconds * 1e3 + nanoseconds / 1e6 - clock.now();
  const onProgress = (progress: Parameters<RunDeps['onProgress']>[0]) => live.show(progress);
  const deps: RunDeps = { target, clock, originMs, brokerPids, stopSignal, onProgress };
  try {
    return await (work.kind === 'load' ? new LoadRun(work.plan, deps).run() : new IdleRun(work.plan, deps).run());
  } finally {
    live.clear();
  }
}

/** A run that failed or lost messages ends with a code that says so. */
function judge(report: Report, stopSignal: AbortSignal): void {
  if (report.failure !== undefined) throw new BenchError('BROKER_GONE', `${report.failure}; the numbers end there`);
  if (report.kind === 'load' && report.lost > 0 && !stopSignal.aborted) {
    throw new BenchError(
      'MESSAGES_LOST',
      `${count(report.lost)} messages did not arrive within ${report.plan.drainMs / 1000} s after the last one that did`,
    );
  }
}
