/**
 * What a resolved append can survive.
 *   replicated-fsync  the loss of any minority of replicas, and power
 *   single-fsync      the process and power; not the disk
 *   bounded-loss      may lose the newest part, of a size the driver states
 *   memory            nothing: gone with the process
 */
export type Durability = 'replicated-fsync' | 'single-fsync' | 'bounded-loss' | 'memory';

/** What an implementation claims. The suite tests what is claimed; a call beyond it is NOT_SUPPORTED. */
export interface Capabilities {
  readonly durability: Durability;
  /** Shards whose older records of a key are dropped (`cleanup: 'compact'`). */
  readonly compaction: boolean;
  readonly readByKey: boolean;
  readonly readByTag: boolean;
  /** Retried appends of a Producer count once. */
  readonly idempotentAppend: boolean;
  /** Offsets have no gaps. A reader tolerates gaps all the same: compaction makes them. */
  readonly denseOffsets: boolean;
}
