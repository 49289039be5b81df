// The shape of a metrics registry. Counters and gauges are plain numbers of the code that owns them, read
// when somebody scrapes: the hot path pays one addition. Names follow Prometheus: unit last, counters end
// in _total.

export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricDescription {
  readonly name: string;
  readonly help: string;
}

export interface HistogramDescription extends MetricDescription {
  /** Upper bounds, rising. */
  readonly buckets: readonly number[];
}

export interface Histogram {
  observe(value: number): void;
}

export interface MetricsRegistry {
  /** A number that only rises; `read` is called at every scrape. */
  counter(description: MetricDescription, read: () => number | readonly MetricSample[]): void;
  /** A number that moves both ways; `read` is called at every scrape. */
  gauge(description: MetricDescription, read: () => number | readonly MetricSample[]): void;
  histogram(description: HistogramDescription): Histogram;
}

/** Keeps nothing; the default of every library. */
export const nullMetrics: MetricsRegistry = {
  counter: () => {},
  gauge: () => {},
  histogram: () => ({ observe: () => {} }),
};
