import type { MetaClient } from './client/meta-client.js';
import type { GroupStatus } from './driver/replication.js';

export interface MetaService extends AsyncDisposable {
  /** A client of this node's own state, without a wire between. */
  readonly client: MetaClient;
  status(): GroupStatus;
  /** True while this node serves: a leader is known, and a quorum stands behind it as far as this node can tell. */
  isReady(): boolean;
  /** Hands leadership over when it can, finishes what was accepted, and lets the directory go. */
  close(): Promise<void>;
}
