// Snapshots of one group: the own state sent to followers that need it, and a leader's state on its way in.
//
// Invariants:
//   X1. A snapshot is stepped into the core when it is here whole, and kept until it was: two may arrive before one turn, of
//       the same index even, and which of them the core takes is the core's to say.
//   X2. What became of a sent snapshot is always reported to the core: otherwise the follower would get nothing more.

import { errorMessage } from '@robustmq/stdx/coded-error';
import type { Logger } from '@robustmq/stdx/logger';
import type { InstallSnapshot, NodeId, SnapshotMetadata } from '../core/types.js';
import type { SnapshotSpool, SpooledSnapshot } from './snapshot-spool.js';
import type { StateMachine, StateSnapshot } from './state-machine.js';

export interface SnapshotExchangeDeps {
  readonly stateMachine: Pick<StateMachine<unknown>, 'snapshot'>;
  readonly spool: SnapshotSpool;
  readonly logger: Logger;
  readonly send: (message: InstallSnapshot, snapshot: StateSnapshot) => Promise<void>;
  readonly ended: (peer: NodeId, outcome: 'installed' | 'failed') => void;
}

export class SnapshotExchange {
  readonly #deps: SnapshotExchangeDeps;
  readonly #arrived = new Map<SnapshotMetadata, SpooledSnapshot>();

  constructor(deps: SnapshotExchangeDeps) {
    this.#deps = deps;
  }

  /** The core decided that the peer needs the state; the metadata it named is a lower bound. */
  async send(message: InstallSnapshot): Promise<void> {
    const { logger, ended } = this.#deps;
    const startedFor = { peer: message.to, index: message.snapshot.index };
    try {
      await this.#sendState(message);
      logger.info(startedFor, 'snapshot sent');
      ended(message.to, 'installed');
    } catch (error) {
      logger.warn({ ...startedFor, error: errorMessage(error) }, 'snapshot could not be sent; it will be tried again');
      ended(message.to, 'failed'); // X2
    }
  }

  /** Resolves when the state is here whole, with the message to step. */
  async receive(message: InstallSnapshot, chunks: AsyncIterable<Buffer>): Promise<void> {
    const spooled = await this.#deps.spool.receive(chunks);
    this.#arrived.set(message.snapshot, spooled); // X1
  }

  /** The state for the metadata the core wants installed. */
  take(metadata: SnapshotMetadata): SpooledSnapshot | undefined {
    const spooled = this.#arrived.get(metadata);
    this.#arrived.delete(metadata);
    return spooled;
  }

  /** The core had its chance; where it did not take the state, it had no use for it. */
  async dropArrived(metadata: SnapshotMetadata): Promise<void> {
    await this.take(metadata)?.discard();
  }

  async #sendState(message: InstallSnapshot): Promise<void> {
    const snapshot = await this.#deps.stateMachine.snapshot();
    try {
      await this.#deps.send({ ...message, snapshot: snapshot.metadata }, snapshot);
    } finally {
      await snapshot.release();
    }
  }
}
