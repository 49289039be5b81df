import type { WalFrame } from '@robustmq/wal';
import { readHeader } from '../batch/batch-format.js';
import { JournalError } from '../errors.js';
import { WAL_KIND } from '../writer/wal-kind.js';
import { type DurableSegment, decodeCheckpointState } from './checkpoint-state.js';

/** What a replay of the WAL gave, by segment. */
export class ReplayedBatches {
  readonly #batches = new Map<string, Buffer[]>();
  #floors = new Map<string, DurableSegment>();
  frames = 0;

  /** To be called with every frame in order; their checksums hold. */
  readonly take = ({ kind, payload, sequence }: WalFrame): void => {
    this.frames++;
    if (kind === WAL_KIND.checkpoint) {
      this.#floors = new Map(decodeCheckpointState(payload).map((floor) => [keyOf(floor), floor]));
      return;
    }
    const header = kind === WAL_KIND.batch ? readHeader(payload) : undefined;
    if (!header)
      throw new JournalError(
        'FORMAT_UNSUPPORTED',
        `frame ${sequence} of the WAL is of an unknown kind (${kind}): start the version that wrote it`,
      );
    const key = keyOf(header);
    const batches = this.#batches.get(key) ?? [];
    batches.push(payload);
    this.#batches.set(key, batches);
  };

  /** In order of position. */
  of(segment: { readonly shardUid: number; readonly epoch: number }): readonly Buffer[] {
    return this.#batches.get(keyOf(segment)) ?? [];
  }

  /** How much of the segment's file was durable at the newest checkpoint; undefined when nothing was. */
  floorOf(segment: { readonly shardUid: number; readonly epoch: number }): DurableSegment | undefined {
    return this.#floors.get(keyOf(segment));
  }
}

const keyOf = ({ shardUid, epoch }: { readonly shardUid: number; readonly epoch: number }) => `${shardUid}/${epoch}`;
