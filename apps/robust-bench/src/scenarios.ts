// Named runs, so that two measurements can be compared by a word. The names and their meaning are those of the
// yardstick the project's targets are stated in (docs/guides/benchmarking.md).

import { IDLE_DEFAULTS, type IdlePlan, LOAD_DEFAULTS, type LoadPlan } from './load-plan.js';

export type Scenario =
  | { readonly kind: 'load'; readonly about: string; readonly plan: LoadPlan }
  | { readonly kind: 'idle'; readonly about: string; readonly plan: IdlePlan };

const TEN_PAIRS = { topology: 'pairwise', publishers: 10, subscribers: 10, window: 200 } as const;
const FAN_OUT = { topology: 'fanout', publishers: 1, subscribers: 200, window: 20 } as const;
const FAN_IN = { topology: 'fanin', publishers: 200, subscribers: 1, window: 50 } as const;
const ONE_AT_A_TIME = {
  topology: 'pairwise',
  publishers: 200,
  subscribers: 200,
  window: 1,
  inflight: 1,
  batch: 1,
} as const;

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  pair0: load('10 publishers to 10 subscribers, QoS 0', { ...TEN_PAIRS, qos: 0 }),
  pair1: load('the same, QoS 1', { ...TEN_PAIRS, qos: 1, inflight: 100 }),
  pair2: load('the same, QoS 2', { ...TEN_PAIRS, qos: 2, inflight: 100 }),
  fanout0: load('one publisher to 200 subscribers, QoS 0', { ...FAN_OUT, qos: 0 }),
  fanin0: load('200 publishers to one subscriber, QoS 0', { ...FAN_IN, qos: 0 }),
  fanin1: load('the same, QoS 1', { ...FAN_IN, qos: 1, inflight: 20 }),
  single0: load('200 pairs with one message under way each, QoS 0', { ...ONE_AT_A_TIME, qos: 0 }),
  single1: load('the same, QoS 1', { ...ONE_AT_A_TIME, qos: 1 }),
  latency1: load('2,000 messages per second, QoS 1: latency without queues', {
    ...TEN_PAIRS,
    qos: 1,
    window: 0,
    rate: 2000,
    durationMs: 4000,
  }),
  durable1: load('pair1 with persistent sessions: every message is stored', {
    ...TEN_PAIRS,
    qos: 1,
    inflight: 100,
    session: 'persistent',
  }),
  idle: { kind: 'idle', about: '5,000 connections that say nothing', plan: IDLE_DEFAULTS },
  custom: load('what the flags say', {}),
};

function load(about: string, fields: Partial<LoadPlan>): Scenario {
  return { kind: 'load', about, plan: { ...LOAD_DEFAULTS, ...fields } };
}
