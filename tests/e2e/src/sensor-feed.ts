// A feed as a small factory would send it: a few machines with several probes each, JSON readings that drift.

import { createPrng } from '@robustmq/stdx/prng';

export interface Reading {
  readonly topic: string;
  readonly payload: string;
  /** Rises by one with every reading of the feed; also inside the payload. */
  readonly sequence: number;
}

const PROBES = { temperature: [21, 0.4], vibration: [0.8, 0.05], pressure: [1013, 1.5], current: [4.2, 0.2] } as const;

export function sensorFeed(readings: number, seed: string): Reading[] {
  const prng = createPrng(seed);
  const values = new Map<string, number>();
  return Array.from({ length: readings }, (_, sequence) => {
    const probe = prng.pick(Object.keys(PROBES) as (keyof typeof PROBES)[]);
    const topic = `plant/halle-${prng.between(1, 2)}/press-${prng.between(1, 6)}/${probe}`;
    const [start, drift] = PROBES[probe];
    const value = (values.get(topic) ?? start) + (prng.next() - 0.5) * drift;
    values.set(topic, value);
    const at = new Date(Date.UTC(2026, 10, 24, 6) + sequence * 40).toISOString();
    const payload = JSON.stringify({ sequence, at, value: Number(value.toFixed(3)), unit: probe, quality: 'good' });
    return { topic, payload, sequence };
  });
}
