// Processor time from /proc: of the broker, of this program, and of everything else on the machine, which is the noise.
// Linux only; elsewhere, and for a process that is gone, the numbers are undefined.

import { readFileSync } from 'node:fs';

/** USER_HZ, which Linux has fixed at 100 for what /proc shows. */
const TICKS_PER_SECOND = 100;

export interface ProcessorTime {
  /** Seconds, user and kernel, of this process. */
  readonly client: number;
  /** Of the processes named; undefined when none was or one cannot be read. */
  readonly broker: number | undefined;
  /** Of everybody, what the hypervisor stole included. */
  readonly machine: number | undefined;
}

export function readProcessorTime(brokerPids: readonly number[]): ProcessorTime {
  const { user, system } = process.cpuUsage();
  const brokers = brokerPids.map((pid) => readTicks(`/proc/${pid}/stat`, ticksOfProcess));
  return {
    client: (user + system) / 1e6,
    broker: brokers.length === 0 ? undefined : total(brokers),
    machine: readTicks('/proc/stat', ticksOfMachine),
  };
}

/** Bytes of memory the processes hold. */
export function readResidentBytes(pids: readonly number[]): number | undefined {
  if (pids.length === 0) return undefined;
  return total(
    pids.map((pid) => parseProc(`/proc/${pid}/status`, (text) => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]))),
  );
}

function total(values: readonly (number | undefined)[]): number | undefined {
  let sum = 0;
  for (const value of values) {
    if (value === undefined) return undefined;
    sum += value;
  }
  return sum;
}

function readTicks(file: string, ticksIn: (text: string) => number): number | undefined {
  const ticks = parseProc(file, ticksIn);
  return ticks === undefined ? undefined : ticks / TICKS_PER_SECOND;
}

function parseProc(file: string, parse: (text: string) => number): number | undefined {
  try {
    const value = parse(readFileSync(file, 'latin1'));
    return Number.isFinite(value) ? value : undefined;
  } catch {
    return undefined; // another system, or the process is gone
  }
}

/** Fields 14 and 15, counted behind the name in parentheses, which may hold blanks. */
export function ticksOfProcess(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** The first line: user nice system idle iowait irq softirq steal. */
export function ticksOfMachine(stat: string): number {
  const [user, nice, system, , , irq, softirq, steal] = (/^cpu +(.*)/.exec(stat)?.[1] ?? '').split(' ').map(Number);
  return [user, nice, system, irq, softirq, steal].reduce<number>((sum, ticks) => sum + (ticks ?? Number.NaN), 0);
}
