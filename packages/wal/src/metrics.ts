import { type Histogram, type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';

export interface WalReadings {
  readonly framesTotal: number;
  readonly bytesTotal: number;
  readonly groupsTotal: number;
  readonly pendingBytes: number;
  readonly liveFiles: number;
  readonly refusing: number;
}

export interface WalMetrics {
  readonly syncSeconds: Histogram;
  readonly groupFrames: Histogram;
  readonly replaySeconds: Histogram;
}

const LATENCY_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];
const GROUP_FRAMES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
const REPLAY_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function registerWalMetrics(
  registry: MetricsRegistry = nullMetrics,
  name: string,
  read: () => WalReadings,
): WalMetrics {
  const prefix = name === '' ? 'wal' : `${name}_wal`;
  registry.counter({ name: `${prefix}_frames_total`, help: 'Frames that became durable' }, () => read().framesTotal);
  registry.counter({ name: `${prefix}_bytes_total`, help: 'Bytes of frames written' }, () => read().bytesTotal);
  registry.counter({ name: `${prefix}_groups_total`, help: 'Writes with their sync' }, () => read().groupsTotal);
  registry.gauge({ name: `${prefix}_pending_bytes`, help: 'Bytes not durable yet' }, () => read().pendingBytes);
  registry.gauge({ name: `${prefix}_files`, help: 'Files that a replay would read' }, () => read().liveFiles);
  registry.gauge({ name: `${prefix}_refusing`, help: '1 while appends are refused' }, () => read().refusing);
  return {
    syncSeconds: registry.histogram({
      name: `${prefix}_sync_seconds`,
      help: 'Time of one write with its fdatasync',
      buckets: LATENCY_SECONDS,
    }),
    groupFrames: registry.histogram({
      name: `${prefix}_group_frames`,
      help: 'Frames made durable by one sync',
      buckets: GROUP_FRAMES,
    }),
    replaySeconds: registry.histogram({
      name: `${prefix}_replay_seconds`,
      help: 'Time to read the log at opening',
      buckets: REPLAY_SECONDS,
    }),
  };
}
