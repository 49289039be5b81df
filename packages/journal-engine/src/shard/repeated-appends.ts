import type { AppendResult, Offset, StorageError } from '@robustmq/storage-adapter';

interface Waiting {
  readonly result: AppendResult;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: StorageError) => void;
}

/** Repetitions of appends whose first try is still on its way: they settle with it. */
export class RepeatedAppends {
  #waiting: Waiting[] = [];

  wait(result: AppendResult): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ result, resolve, reject });
    });
  }

  /** Everything below the end is durable. */
  resolveBelow(end: number): void {
    if (this.#waiting.length === 0) return;
    const durable = this.#waiting.filter(({ result }) => result.lastOffset < end);
    this.#waiting = this.#waiting.filter(({ result }) => result.lastOffset >= end);
    for (const { resolve, result } of durable) resolve(result);
  }

  rejectAll(error: StorageError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(error);
  }
}

export function resultOf(firstOffset: number, records: number): AppendResult {
  return { firstOffset: firstOffset as Offset, lastOffset: (firstOffset + records - 1) as Offset }; // given by L1
}
