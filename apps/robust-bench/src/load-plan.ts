// What a run is to do. Flags and presets become a LoadPlan once, and everything after reads the plan.

import type { QoS } from '@robustmq/mqtt-broker/client';
import { RuntimeError } from '@robustmq/node-runtime';
import { PAYLOAD_HEADER_BYTES } from './payload.js';

export type Topology = 'pairwise' | 'fanout' | 'fanin' | 'shared';
export type Transport = 'tcp' | 'ws';

/** Where the broker is and how to speak to it. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly transport: Transport;
  /** The path of the WebSocket. */
  readonly path: string;
  readonly version: 4 | 5;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Connections whose handshake is under way at a time. */
  readonly concurrency: number;
}

/** Which halves of the traffic this process makes. */
export type Sides = 'both' | 'publish' | 'subscribe';

export interface LoadPlan {
  readonly sides: Sides;
  readonly topology: Topology;
  readonly publishers: number;
  readonly subscribers: number;
  readonly qos: QoS;
  readonly payloadBytes: number;
  /** Unacknowledged PUBLISHes per publisher, at QoS 1 and 2. */
  readonly inflight: number;
  /**
   * Closed loop: messages per publisher that not all of its subscribers have seen yet. 0 is an open loop, in which
   * a broker may look fast by dropping.
   */
  readonly window: number;
  /** Messages per write of one publisher. */
  readonly batch: number;
  /** Messages per second of all publishers together; 0 as fast as it goes. */
  readonly rate: number;
  readonly durationMs: number;
  readonly warmupMs: number;
  /** How long to wait for the rest after the last message that arrived. */
  readonly drainMs: number;
  /** Of the subscribers. */
  readonly session: 'clean' | 'persistent';
  readonly prefix: string;
  /** Tells the messages of this run from others. */
  readonly run: number;
}

export interface IdlePlan {
  readonly connections: number;
  /** Per second; 0 as fast as it goes. */
  readonly rate: number;
  readonly holdMs: number;
  readonly subscribe: 'nothing' | 'one topic';
  readonly prefix: string;
  readonly run: number;
}

export const LOAD_DEFAULTS: LoadPlan = {
  sides: 'both',
  topology: 'pairwise',
  publishers: 10,
  subscribers: 10,
  qos: 0,
  payloadBytes: 64,
  inflight: 100,
  window: 200,
  batch: 32,
  rate: 0,
  durationMs: 3000,
  warmupMs: 1000,
  drainMs: 2000,
  session: 'clean',
  prefix: 'robust-bench',
  run: 0,
};

export const IDLE_DEFAULTS: IdlePlan = {
  connections: 5000,
  rate: 0,
  holdMs: 2000,
  subscribe: 'nothing',
  prefix: 'robust-bench',
  run: 0,
};

/** Pairs of publisher and subscriber that are watched: 8 bytes each, and more where messages are missing. */
const STREAMS_MAX = 4_000_000;
const PACKET_IDS = 65_535;
const WRITE_BYTES_MAX = 1024 ** 3;
/** One write holds at most this much, or one message. */
export const BATCH_BYTES = 64 * 1024;

/** Throws RuntimeError USAGE for a plan that makes no sense or does not fit in memory. */
export function checkLoadPlan(plan: LoadPlan): LoadPlan {
  const { topology, publishers, subscribers } = plan;
  whole('--publishers', publishers, { from: 1, to: 100_000 });
  whole('--subscribers', subscribers, { from: 1, to: 100_000 });
  whole('--payload-bytes', plan.payloadBytes, { from: PAYLOAD_HEADER_BYTES, to: 16 * 1024 * 1024 });
  whole('--inflight', plan.inflight, { from: 1, to: PACKET_IDS });
  whole('--window', plan.window, { from: 0, to: 1_000_000 });
  whole('--batch', plan.batch, { from: 1, to: 10_000 });
  within('--rate', plan.rate, { from: 0, to: 100_000_000 });
  within('--duration', plan.durationMs / 1000, { from: 0.001, to: 30 * 86_400 });
  within('--warmup', plan.warmupMs / 1000, { from: 0, to: 86_400 });
  if (topology === 'pairwise' && publishers !== subscribers && plan.sides === 'both') {
    refuse(`pairwise wants as many publishers as subscribers, not ${publishers} and ${subscribers}`);
  }
  if (publishers * subscribers > STREAMS_MAX && topology !== 'pairwise') {
    refuse(`${publishers} publishers times ${subscribers} subscribers are more than ${STREAMS_MAX} streams to watch`);
  }
  if (publishers * Math.max(BATCH_BYTES, plan.payloadBytes) > WRITE_BYTES_MAX && plan.sides !== 'subscribe') {
    refuse(`${publishers} publishers of ${plan.payloadBytes} bytes need more than 1 GiB of buffers`);
  }
  return plan;
}

export function checkIdlePlan(plan: IdlePlan): IdlePlan {
  whole('--connections', plan.connections, { from: 1, to: 1_000_000 });
  within('--rate', plan.rate, { from: 0, to: 1_000_000 });
  within('--hold', plan.holdMs / 1000, { from: 0, to: 30 * 86_400 });
  return plan;
}

/** How many subscribers get each message. */
export function deliveriesPerMessage({ topology, subscribers }: LoadPlan): number {
  return topology === 'pairwise' || topology === 'shared' ? 1 : subscribers;
}

export function topicNameOf(plan: LoadPlan, publisher: number): string {
  return plan.topology === 'pairwise' ? `${plan.prefix}/${plan.run}/${publisher}` : `${plan.prefix}/${plan.run}/all`;
}

export function topicFilterOf(plan: LoadPlan, subscriber: number): string {
  const topic = topicNameOf(plan, subscriber);
  return plan.topology === 'shared' ? `$share/robust-bench/${topic}` : topic;
}

function whole(flag: string, value: number, range: { readonly from: number; readonly to: number }): void {
  within(flag, value, range);
  if (!Number.isInteger(value)) refuse(`${flag} is a whole number, not ${value}`);
}

function within(flag: string, value: number, { from, to }: { readonly from: number; readonly to: number }): void {
  if (!(value >= from && value <= to)) refuse(`${flag} is between ${from} and ${to}, not ${value}`);
}

function refuse(why: string): never {
  throw new RuntimeError('USAGE', `${why}. See robust-bench mqtt --help`);
}
