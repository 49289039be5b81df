// What a shard remembers of its producers, so that a retried append counts once. It is part of the log: every
// segment's opening batch carries the table as it was at that place (B3), so a restart knows what was known.
//
// Invariants:
//   P1. The same (id, epoch, sequence) has one result for ever, as long as it is among the last kept.
//   P2. Within an epoch sequences follow each other without a gap.
//   P3. A lower epoch than the highest seen is fenced.
//   P4. The table at any place is a function of the batches before it: admit() and the snapshot are all there is.
//
// Snapshot, big-endian: u32 producers; each string id (u32 length first), u32 epoch, u8 batches, and per batch
// u64 sequence, u32 records, u64 firstOffset. Least recently seen first.

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { type Producer, StorageError } from '@robustmq/storage-adapter';

/** A producer has at most this many batches under way that it may have to repeat (Kafka's number). */
const BATCHES_KEPT = 5;

interface KeptBatch {
  readonly sequence: number;
  readonly records: number;
  readonly firstOffset: number;
}

interface ProducerState {
  readonly epoch: number;
  readonly batches: readonly KeptBatch[];
}

export type Admission = { readonly kind: 'new' } | { readonly kind: 'repeated'; readonly firstOffset: number };

export class ProducerTable {
  readonly #producersMax: number;
  /** Least recently seen first. */
  readonly #producers = new Map<string, ProducerState>();

  constructor(producersMax: number) {
    this.#producersMax = producersMax;
  }

  get size(): number {
    return this.#producers.size;
  }

  /** Decides about a batch that would start at `firstOffset`, and remembers it when it is new. */
  admit(producer: Producer, records: number, firstOffset: number): Admission {
    const known = this.#producers.get(producer.id);
    if (known && producer.epoch < known.epoch) {
      throw new StorageError(
        'PRODUCER_FENCED',
        `producer ${producer.id} of epoch ${producer.epoch} was replaced by epoch ${known.epoch}`,
      ); // P3
    }
    const batches = known?.epoch === producer.epoch ? known.batches : [];
    const repeated = batches.find((batch) => batch.sequence === producer.sequence && batch.records === records);
    if (repeated) return { kind: 'repeated', firstOffset: repeated.firstOffset }; // P1
    const last = batches.at(-1);
    if (last && producer.sequence !== last.sequence + last.records) {
      throw new StorageError(
        'SEQUENCE_GAP',
        `producer ${producer.id} sent sequence ${producer.sequence}, ${last.sequence + last.records} was next`,
      ); // P2
    }
    const kept = [...batches.slice(1 - BATCHES_KEPT), { sequence: producer.sequence, records, firstOffset }];
    this.#put(producer.id, { epoch: producer.epoch, batches: kept });
    return { kind: 'new' };
  }

  /** Takes back what was admitted at or beyond an offset: it never became durable. */
  forgetFrom(offset: number): void {
    for (const [id, { epoch, batches }] of this.#producers) {
      const kept = batches.filter((batch) => batch.firstOffset < offset);
      if (kept.length < batches.length) this.#producers.set(id, { epoch, batches: kept });
    }
  }

  encode(): Buffer {
    const writer = new ByteWriter(64 + this.#producers.size * 64).u32(this.#producers.size);
    for (const [id, { epoch, batches }] of this.#producers) {
      writer.string(id).u32(epoch).u8(batches.length);
      for (const { sequence, records, firstOffset } of batches) writer.u64(sequence).u32(records).u64(firstOffset);
    }
    return writer.finish();
  }

  /** Replaces everything by a snapshot. */
  load(snapshot: Uint8Array): void {
    this.#producers.clear();
    const reader = new ByteReader(snapshot);
    for (let left = reader.u32(); left > 0; left--) {
      const id = reader.string();
      const epoch = reader.u32();
      const batches = Array.from({ length: reader.u8() }, () => ({
        sequence: reader.u64(),
        records: reader.u32(),
        firstOffset: reader.u64(),
      }));
      this.#producers.set(id, { epoch, batches });
    }
  }

  #put(id: string, state: ProducerState): void {
    this.#producers.delete(id);
    this.#producers.set(id, state);
    if (this.#producers.size <= this.#producersMax) return;
    for (const oldest of this.#producers.keys()) {
      this.#producers.delete(oldest);
      return;
    }
  }
}

/** INVALID_ARGUMENT when a field does not fit its format. */
export function assertProducer({ id, epoch, sequence }: Producer): void {
  const legal =
    Buffer.byteLength(id) <= 65_535 &&
    Number.isSafeInteger(epoch) &&
    epoch >= 0 &&
    epoch <= 0xffff_ffff &&
    Number.isSafeInteger(sequence) &&
    sequence >= 0;
  if (!legal)
    throw new StorageError(
      'INVALID_ARGUMENT',
      `producer ${id} of epoch ${epoch}, sequence ${sequence}: the epoch is 0 to 2^32 - 1, the sequence 0 to 2^53 - 1`,
    );
}
