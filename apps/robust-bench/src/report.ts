// What a run found out, as an object for programs and as a table for people.

import type { Histogram } from './histogram.js';
import type { IdlePlan, LoadPlan, Target } from './load-plan.js';

/** In microseconds. */
export interface LatencyReport {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Cores in use on average while measuring; undefined where it is not known. */
export interface CoresReport {
  readonly client: number;
  readonly broker: number | undefined;
  /** Everything else on the machine: the noise. */
  readonly others: number | undefined;
}

export interface LoadReport {
  readonly kind: 'load';
  readonly plan: LoadPlan;
  /** How long was measured, in seconds. Rates, latencies and cores are of this time, counts of the whole run. */
  readonly seconds: number;
  readonly connectSeconds: number;
  readonly connectsPerSecond: number;
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly ackedPerSecond: number;
  readonly sent: number;
  readonly acked: number;
  readonly refused: number;
  readonly received: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  readonly foreign: number;
  readonly stalls: number;
  readonly disconnects: number;
  readonly errors: number;
  readonly latencyUs: LatencyReport;
  readonly ackLatencyUs: LatencyReport;
  readonly drainSeconds: number;
  readonly cores: CoresReport;
  readonly brokerResidentBytes: number | undefined;
  /** Why the run ended before its time. */
  readonly failure: string | undefined;
}

export interface IdleReport {
  readonly kind: 'idle';
  readonly plan: IdlePlan;
  readonly connected: number;
  readonly connectSeconds: number;
  readonly connectsPerSecond: number;
  readonly handshakeUs: LatencyReport;
  readonly stillOpen: number;
  readonly disconnects: number;
  readonly clientCpuSeconds: number;
  readonly brokerCpuSeconds: number | undefined;
  readonly brokerBytesPerConnection: number | undefined;
  readonly failure: string | undefined;
}

export type Report = LoadReport | IdleReport;

export function latencyReport(histogram: Histogram): LatencyReport {
  const at = (fraction: number) => Math.round(histogram.quantile(fraction));
  return { count: histogram.count, p50: at(0.5), p99: at(0.99), p999: at(0.999), max: Math.round(histogram.max) };
}

/** The report with what it is about, as one JSON document. */
export function reportAsJson(report: Report, about: { readonly scenario: string; readonly target: Target }): string {
  const { password: _secret, ...target } = about.target;
  return `${JSON.stringify({ scenario: about.scenario, target, ...report }, undefined, 2)}\n`;
}

export function reportAsTable(report: Report): string {
  const rows = report.kind === 'load' ? loadRows(report) : idleRows(report);
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`).join('\n');
}

type Row = readonly [name: string, value: string];

function loadRows(report: LoadReport): readonly Row[] {
  const { cores } = report;
  const perCore = cores.broker ? report.receivedPerSecond / cores.broker : undefined;
  const rows: (Row | false | undefined)[] = [
    ['measured', `${report.seconds.toFixed(2)} s`],
    ['sent', `${perSecond(report.sentPerSecond)} (${count(report.sent)} in all)`],
    ['received', `${perSecond(report.receivedPerSecond)} (${count(report.received)} in all)`],
    report.plan.qos > 0 && ['acknowledged', `${perSecond(report.ackedPerSecond)} (${count(report.acked)} in all)`],
    perCore !== undefined && ['received per broker core', perSecond(perCore)],
    ['lost', count(report.lost)],
    ['duplicates', count(report.duplicates)],
    ['out of order', count(report.outOfOrder)],
    report.latencyUs.count > 0 && ['latency', latency(report.latencyUs)],
    report.ackLatencyUs.count > 0 && ['time to acknowledge', latency(report.ackLatencyUs)],
    ['connected', `${perSecond(report.connectsPerSecond)}, all in ${report.connectSeconds.toFixed(3)} s`],
    ['cores', coresInWords(cores)],
    report.brokerResidentBytes !== undefined && ['broker memory', mebibytes(report.brokerResidentBytes)],
    report.stalls > 0 && ['stalls', `${count(report.stalls)}: nothing arrived for a second`],
    report.refused > 0 && ['refused', `${count(report.refused)} messages`],
    report.foreign > 0 && ['foreign', `${count(report.foreign)} messages of other runs or for other subscribers`],
    report.disconnects > 0 && ['disconnects', count(report.disconnects)],
    report.errors > 0 && ['errors', `${count(report.errors)} acknowledgements of nothing`],
    report.failure !== undefined && ['ended early', report.failure],
  ];
  return rows.filter((row): row is Row => Array.isArray(row));
}

function idleRows(report: IdleReport): readonly Row[] {
  const bytes = report.brokerBytesPerConnection;
  const rows: (Row | false)[] = [
    ['connected', `${count(report.connected)} of ${count(report.plan.connections)}`],
    ['rate', `${perSecond(report.connectsPerSecond)}, all in ${report.connectSeconds.toFixed(3)} s`],
    ['handshake', latency(report.handshakeUs)],
    ['still open', `${count(report.stillOpen)} after ${report.plan.holdMs / 1000} s`],
    bytes !== undefined && ['broker memory', `${(bytes / 1024).toFixed(1)} KiB per connection`],
    report.brokerCpuSeconds !== undefined && ['broker processor time', `${report.brokerCpuSeconds.toFixed(2)} s`],
    report.failure !== undefined && ['ended early', report.failure],
  ];
  return rows.filter((row): row is Row => Array.isArray(row));
}

function coresInWords({ client, broker, others }: CoresReport): string {
  const known = broker === undefined ? [] : [`broker ${broker.toFixed(2)}`];
  const noise = others === undefined ? [] : [`others ${others.toFixed(2)}`];
  return [...known, `client ${client.toFixed(2)}`, ...noise].join(', ');
}

function latency({ p50, p99, p999, max }: LatencyReport): string {
  return `p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}, p99.9 ${milliseconds(p999)}, max ${milliseconds(max)}`;
}

const milliseconds = (microseconds: number) => `${(microseconds / 1000).toFixed(2)} ms`;
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
export const count = (value: number): string => value.toLocaleString('en-US');
export const perSecond = (value: number): string => `${count(Math.round(value))}/s`;
