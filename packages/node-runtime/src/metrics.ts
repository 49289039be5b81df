import type { HistogramDescription, MetricDescription, MetricSample, MetricsRegistry } from '@robustmq/stdx/metrics';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface PrometheusMetrics extends MetricsRegistry {
  readonly contentType: string;
  /** All metrics in the text format of Prometheus, read at this moment. */
  expose(): Promise<string>;
}

/** A registry of its own, with the metrics of the process in it: memory, CPU, event-loop delay, collections. */
export function createMetrics(labels: Readonly<Record<string, string>> = {}): PrometheusMetrics {
  const registry = new Registry();
  registry.setDefaultLabels(labels);
  collectDefaultMetrics({ register: registry });

  const register = (type: 'counter' | 'gauge', description: MetricDescription, read: ReadSamples): void => {
    // prom-client keeps values; ours are read when scraped. Its registry asks a metric for no more than this.
    registry.registerMetric(new ReadMetric(type, description, read) as unknown as Histogram);
  };
  return {
    contentType: registry.contentType,
    expose: () => registry.metrics(),
    counter: (description, read) => register('counter', description, read),
    gauge: (description, read) => register('gauge', description, read),
    histogram: ({ name, help, buckets }: HistogramDescription) => {
      const histogram = new Histogram({ name, help, buckets: [...buckets], registers: [registry] });
      return { observe: (value) => histogram.observe(value) };
    },
  };
}

type ReadSamples = () => number | readonly MetricSample[];

/** A metric whose numbers belong to the code that counts; asked for at every scrape. */
class ReadMetric {
  readonly name: string;
  readonly #help: string;
  readonly #type: 'counter' | 'gauge';
  readonly #read: ReadSamples;

  constructor(type: 'counter' | 'gauge', { name, help }: MetricDescription, read: ReadSamples) {
    this.name = name;
    this.#help = help;
    this.#type = type;
    this.#read = read;
  }

  get(): Promise<object> {
    const read = this.#read();
    const values = typeof read === 'number' ? [{ labels: {}, value: read }] : read;
    return Promise.resolve({ name: this.name, help: this.#help, type: this.#type, values, aggregator: 'sum' });
  }
}
