import { assert } from '@robustmq/stdx/assert';
import type { LogIndex } from './types.js';

export interface InflightLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

interface InflightMessage {
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

/**
 * The append requests that were sent and not yet answered: a window with a limit in messages and in bytes.
 *
 * Invariants:
 *   I1. Last indexes rise from the first to the last.
 *   I2. bytes is the sum over all messages in it; 0 when empty.
 *   I3. At most messagesMax messages. bytesMax may be passed by the one message that reached it.
 */
export class Inflights {
  readonly #limits: InflightLimits;
  readonly #messages: InflightMessage[] = [];
  #bytes = 0;

  constructor(limits: InflightLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#messages.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#messages.length >= this.#limits.messagesMax || this.#bytes >= this.#limits.bytesMax;
  }

  add(lastIndex: LogIndex, bytes: number): void {
    assert(!this.isFull, 'I3: nothing is sent into a full window');
    assert(lastIndex > (this.#messages.at(-1)?.lastIndex ?? 0), 'I1: indexes in flight rise');
    this.#messages.push({ lastIndex, bytes });
    this.#bytes += bytes;
  }

  /** An answer for `index` answers everything before it as well. */
  freeThrough(index: LogIndex): void {
    let freed = 0;
    for (const message of this.#messages) {
      if (message.lastIndex > index) break;
      this.#bytes -= message.bytes;
      freed++;
    }
    if (freed > 0) this.#messages.splice(0, freed);
    assert(this.#bytes >= 0 && (this.#messages.length > 0 || this.#bytes === 0), 'I2: bytes are what is in flight');
  }
}
