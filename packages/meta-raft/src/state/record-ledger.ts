import type { EncodedRecord } from './record.js';

/** Where changed records go, in order. */
export interface RecordSink {
  put(recordKey: string, record: Buffer): void;
  delete(recordKey: string): void;
}

/** How many records there are, and a sum over them. */
export interface Digest {
  readonly records: number;
  readonly sum: number;
}

/** Keeps nothing: a state that lives in memory only. */
export const noSink: RecordSink = { put: () => {}, delete: () => {} };

/** 2^48: sums stay exact in a double, and 2^16 records of the largest checksum fit before it wraps. */
const SUM_MODULUS = 2 ** 48;

/**
 * Passes on what is written and removed, and keeps the digest of what is there: the sum of the checksums of
 * all records. It costs one addition per change, equals on replicas with equal states, and betrays a store
 * that lost records in its middle.
 *
 * Invariant L1: a record is put once under its key, and deleted with the checksum it was put with.
 */
export class RecordLedger {
  readonly #sink: RecordSink;
  #records = 0;
  #sum = 0;

  constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  get digest(): Digest {
    return { records: this.#records, sum: this.#sum };
  }

  put(recordKey: string, record: EncodedRecord): void {
    this.count(record.crc);
    this.#sink.put(recordKey, record.bytes);
  }

  delete(recordKey: string, crc: number): void {
    this.#records--;
    this.#sum = (this.#sum - crc + SUM_MODULUS) % SUM_MODULUS;
    this.#sink.delete(recordKey);
  }

  /** A record that is there already: what loading calls. */
  count(crc: number): void {
    this.#records++;
    this.#sum = (this.#sum + crc) % SUM_MODULUS;
  }
}
