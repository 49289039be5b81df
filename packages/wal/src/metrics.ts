import { type Histogram, type MetricsRegistry, nullMetrics } from '@robustmq/stdx/metrics';

/** What is read from the log at every scrape. */
export interface WalReadings {
  readonly pendingBytes: number;
  readonly files: number;
  readonly refusing: 0 | 1;
}

const SYNC_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];
const GROUP_FRAMES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
const REPLAY_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export class WalMetrics {
  readonly #syncSeconds: Histogram;
  readonly #groupFrames: Histogram;
  readonly #replaySeconds: Histogram;
  #frames = 0;
  #bytes = 0;
  #groups = 0;

  /** `name` comes first in every metric name: `journal` gives `journal_wal_…`. */
  constructor(registry: MetricsRegistry = nullMetrics, name: string, read: () => WalReadings) {
    const prefix = name === '' ? 'wal' : `${name}_wal`;
    registry.counter({ name: `${prefix}_frames_total`, help: 'Frames that became durable' }, () => this.#frames);
    registry.counter({ name: `${prefix}_bytes_total`, help: 'Bytes of these frames on disk' }, () => this.#bytes);
    registry.counter({ name: `${prefix}_groups_total`, help: 'Writes with their sync' }, () => this.#groups);
    registry.gauge({ name: `${prefix}_pending_bytes`, help: 'Bytes not durable yet' }, () => read().pendingBytes);
    registry.gauge({ name: `${prefix}_files`, help: 'Files that a replay would read' }, () => read().files);
    registry.gauge({ name: `${prefix}_refusing`, help: '1 while appends are refused' }, () => read().refusing);
    const histogram = (suffix: string, help: string, buckets: readonly number[]) =>
      registry.histogram({ name: `${prefix}_${suffix}`, help, buckets });
    this.#syncSeconds = histogram('sync_seconds', 'Time of one write with its fdatasync', SYNC_SECONDS);
    this.#groupFrames = histogram('group_frames', 'Frames made durable by one sync', GROUP_FRAMES);
    this.#replaySeconds = histogram('replay_seconds', 'Time to read the log at opening', REPLAY_SECONDS);
  }

  groupDurable(group: { readonly frames: readonly unknown[]; readonly bytes: number }, tookMs: number): void {
    this.#frames += group.frames.length;
    this.#bytes += group.bytes;
    this.#groups++;
    this.#syncSeconds.observe(tookMs / 1000);
    this.#groupFrames.observe(group.frames.length);
  }

  replayed(tookMs: number): void {
    this.#replaySeconds.observe(tookMs / 1000);
  }
}
