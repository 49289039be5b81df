// The few numbers every benchmark reports: medians with the smallest and the largest, because the machine is shared.

export interface BenchContext {
  /** Fewer rounds, to see that it works. */
  readonly quick: boolean;
  /** As asked for; each benchmark has its own number otherwise. */
  readonly rounds: number | undefined;
  /** For mqtt: names with commas between; all when undefined. */
  readonly scenarios: string | undefined;
  /** An empty directory of the benchmark's own. */
  readonly scratch: string;
}

export function quantile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

export function spread(values: readonly number[], digits = 0): string {
  const show = (value: number) => value.toFixed(digits);
  return `${show(Math.min(...values))} / **${show(quantile(values, 0.5))}** / ${show(Math.max(...values))}`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Seconds of processor time this process used while `work` ran, and how long it took by the clock. */
export async function measured(
  work: () => Promise<void>,
): Promise<{ readonly cpuSeconds: number; readonly seconds: number }> {
  const cpu = process.cpuUsage();
  const from = performance.now();
  await work();
  const used = process.cpuUsage(cpu);
  return { cpuSeconds: (used.user + used.system) / 1e6, seconds: (performance.now() - from) / 1e3 };
}
