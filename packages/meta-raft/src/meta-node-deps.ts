import type { Clock } from '@robustmq/stdx/clock';
import type { Logger } from '@robustmq/stdx/logger';
import type { MetricsRegistry } from '@robustmq/stdx/metrics';
import type { Prng } from '@robustmq/stdx/prng';
import type { Disk } from '@robustmq/wal';
import type { PeerTransport } from './driver/peer-transport.js';
import type { MetaError } from './errors.js';
import type { RpcMount } from './rpc-mount.js';
import type { LevelDatabase } from './storage/level-database.js';

/** What a metadata node stands on; MetaDeps with everything filled in. */
export interface MetaNodeDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly rpc?: RpcMount;
  readonly failed?: (error: MetaError) => void;
  readonly signal?: AbortSignal;
  readonly transport?: PeerTransport;
  readonly openDatabase?: (directory: string) => Promise<LevelDatabase>;
}
