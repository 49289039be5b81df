import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import type { MetricDescription, MetricsRegistry } from '@robustmq/stdx/metrics';
import { newConnectionCounters } from './connection/connection-deps.js';
import { WriteTurn } from './connection/write-turn.js';
import { registerBrokerMetrics } from './metrics.js';

describe('The metrics of the broker', () => {
  it('stand in the reference, and the reference names no others', async () => {
    const registered: string[] = [];
    const registry: MetricsRegistry = {
      counter: ({ name }: MetricDescription) => registered.push(`${name} counter`),
      gauge: ({ name }: MetricDescription) => registered.push(`${name} gauge`),
      histogram: () => ({ observe: () => {} }),
    };
    registerBrokerMetrics(registry, {
      counters: newConnectionCounters(),
      turn: new WriteTurn(new ManualClock()),
      connections: () => 0,
      connectionsRejected: () => 0,
      engine: () => {
        throw new RangeError('nothing is read before somebody scrapes');
      },
    });
    const text = await readFile(new URL('../../../docs/reference/metrics.md', import.meta.url), 'utf8');
    const documented = [...text.matchAll(/^\| `(mqtt_\w+)` +\| (\w+) +\|/gm)].map(
      ([, name, type]) => `${name} ${type}`,
    );
    expect(documented.toSorted()).toEqual(registered.toSorted());
  });
});
