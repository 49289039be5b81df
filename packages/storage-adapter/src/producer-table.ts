// What a shard remembers of its producers, so that a retried append counts once.
//
// Invariants:
//   P1. The same (id, epoch, sequence) has one result for ever, as long as it is among the last kept.
//   P2. Within an epoch sequences follow each other without a gap.
//   P3. A lower epoch than the highest seen is fenced.

import { StorageError } from './errors.js';
import type { Offset, Producer } from './record.js';
import type { AppendResult } from './shard-storage.js';

/** A producer has at most this many batches under way that it may have to repeat (Kafka's number). */
const BATCHES_KEPT = 5;

/** Producers remembered per shard; the least recently seen is forgotten, and starts anew if it returns. */
const PRODUCERS_KEPT = 10_000;

export interface KeptBatch {
  readonly sequence: number;
  readonly records: number;
  readonly result: AppendResult;
}

export interface ProducerState {
  readonly epoch: number;
  /** The last batches of this epoch, oldest first. */
  readonly batches: readonly KeptBatch[];
}

export type Admission = { readonly kind: 'new' } | { readonly kind: 'repeated'; readonly result: AppendResult };

export interface ProducerHistory {
  /** Decides about a batch that would start at `firstOffset`, and remembers it when it is new. */
  admit(producer: Producer, records: number, firstOffset: Offset): Admission;
}

/** What a producer's batch is to one who knows this of the producer. Throws PRODUCER_FENCED or SEQUENCE_GAP. */
export function admitBatch(
  known: ProducerState | undefined,
  batch: { readonly producer: Producer; readonly records: number; readonly firstOffset: Offset },
):
  | { readonly kind: 'new'; readonly state: ProducerState }
  | { readonly kind: 'repeated'; readonly result: AppendResult } {
  const { producer, records, firstOffset } = batch;
  if (known && producer.epoch < known.epoch) {
    throw new StorageError(
      'PRODUCER_FENCED',
      `producer ${producer.id} of epoch ${producer.epoch} was replaced by ${known.epoch}`,
    ); // P3
  }
  const batches = known?.epoch === producer.epoch ? known.batches : [];
  const repeated = batches.find(({ sequence }) => sequence === producer.sequence);
  if (repeated) return { kind: 'repeated', result: repeated.result }; // P1
  const last = batches.at(-1);
  if (last && producer.sequence !== last.sequence + last.records) {
    throw new StorageError(
      'SEQUENCE_GAP',
      `producer ${producer.id} sent ${producer.sequence}, ${last.sequence + last.records} was next`,
    ); // P2
  }
  const result = { firstOffset, lastOffset: (firstOffset + records - 1) as Offset }; // offsets of one batch follow each other
  const kept = [...batches.slice(1 - BATCHES_KEPT), { sequence: producer.sequence, records, result }];
  return { kind: 'new', state: { epoch: producer.epoch, batches: kept } };
}

export class ProducerTable implements ProducerHistory {
  /** Least recently seen first. */
  readonly #producers = new Map<string, ProducerState>();

  admit(producer: Producer, records: number, firstOffset: Offset): Admission {
    const admission = admitBatch(this.#producers.get(producer.id), { producer, records, firstOffset });
    if (admission.kind === 'repeated') return admission;
    this.#producers.delete(producer.id);
    this.#producers.set(producer.id, admission.state);
    if (this.#producers.size > PRODUCERS_KEPT) this.#forgetOldest();
    return { kind: 'new' };
  }

  #forgetOldest(): void {
    for (const id of this.#producers.keys()) {
      this.#producers.delete(id);
      return;
    }
  }
}
