import { assert } from '@robustmq/stdx/assert';
import type { InflightLimits } from './inflights.js';

/** What the core needs to know. options.ts says where the numbers come from and why; here they are facts. */
export interface RaftConfig {
  /** A follower that hears nothing campaigns after [electionTicks, 2 * electionTicks) ticks, drawn anew each time. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Of one append request; an entry larger than this travels alone. */
  readonly appendBytesMax: number;
  readonly inflight: InflightLimits;
  /** Proposed and not yet committed: beyond it proposals are refused. */
  readonly uncommittedBytesMax: number;
  /** Of one slice of committed entries handed out to be applied. */
  readonly applyBytesMax: number;
  /** Reads a leader keeps waiting for their quorum. */
  readonly readsMax: number;
}

export function checkConfig(config: RaftConfig): RaftConfig {
  for (const [name, value] of Object.entries({ ...config, ...config.inflight, inflight: 1 })) {
    assert(Number.isSafeInteger(value) && value > 0, `${name} is a positive whole number`);
  }
  // Below this, one lost heartbeat deposes a leader.
  assert(config.electionTicks > 2 * config.heartbeatTicks, 'an election waits for more than two heartbeats');
  return config;
}
