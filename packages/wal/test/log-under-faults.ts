// A log on a simulated disk with a record of what it promised, checked whenever it is opened.

import { ManualClock } from '@robustmq/stdx/clock';
import type { Prng } from '@robustmq/stdx/prng';
import { FRAME_HEADER_BYTES } from '../src/frame.js';
import { Wal, WalError, type WalFrame, type WalOptions } from '../src/index.js';
import { SECTOR_BYTES, type SimDisk } from '../src/testing/index.js';

export const SMALL: WalOptions = {
  directory: '/log',
  fileBytes: 4096,
  growBytes: 1024,
  groupBytesMax: 2048,
  payloadBytesMax: 16_384,
  recycledFilesMax: 1,
};

export class LogUnderFaults {
  readonly disk: SimDisk;
  readonly clock = new ManualClock();
  readonly #options: WalOptions;
  readonly #prng: Prng;
  /** What was last appended under each sequence. */
  readonly #appended = new Map<number, Buffer>();
  #acknowledged = 0;
  #checkpointDone = 0;
  #checkpointAsked = 0;
  /** How often a frame is of a random size. */
  readonly #oddSizes: number;
  wal: Wal | undefined;
  refusals: WalError[] = [];

  constructor(disk: SimDisk, prng: Prng, options: WalOptions = SMALL) {
    this.disk = disk;
    this.#prng = prng;
    this.#options = options;
    this.#oddSizes = prng.pick([0, 0.1, 1]);
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Opens the log and checks what came back against what was promised. */
  async open(): Promise<void> {
    const frames: WalFrame[] = [];
    this.wal = await Wal.open(this.#options, { disk: this.disk, clock: this.clock }, (frame) => frames.push(frame));
    const first = this.wal.firstSequence;
    const next = this.wal.nextSequence;
    check(first >= this.#checkpointDone && first <= this.#checkpointAsked, `checkpoint at ${first}`);
    check(next >= this.#acknowledged, `ends at ${next}, ${this.#acknowledged} were acknowledged`);
    check(frames.length === next - first, `${frames.length} frames from ${first} to ${next}`);
    frames.forEach((frame, i) => {
      check(frame.sequence === first + i, `frame ${frame.sequence} where ${first + i} is due`);
      const expected = this.#appended.get(frame.sequence);
      check(expected?.equals(frame.payload) === true, `frame ${frame.sequence} holds what was not appended there`);
      check(frame.kind === frame.sequence % 256, `frame ${frame.sequence} is of kind ${frame.kind}`);
    });
    for (const sequence of this.#appended.keys()) if (sequence >= next) this.#appended.delete(sequence);
    this.#acknowledged = next; // what was replayed is promised from now on
    this.#checkpointDone = first;
    this.#checkpointAsked = first;
  }

  /** Appends some frames at once; resolves when each is settled. Refusals are kept, not thrown. */
  async append(count: number, bytesMax = 900): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#appendOne(this.#size(bytesMax))));
  }

  async checkpoint(): Promise<void> {
    const { wal } = this;
    if (!wal) return;
    const at = this.#prng.between(wal.firstSequence, wal.durableSequence);
    this.#checkpointAsked = Math.max(this.#checkpointAsked, at);
    await wal.checkpoint(at).then(
      () => {
        this.#checkpointDone = Math.max(this.#checkpointDone, at);
      },
      (error: WalError) => this.refusals.push(error),
    );
  }

  async close(): Promise<void> {
    await this.wal?.close().catch((error: WalError) => this.refusals.push(error));
  }

  /**
   * Mostly one sector with its header: then any subset of the frames of a write survives a crash, and the frames of
   * the next life stand at the same places.
   */
  #size(bytesMax: number): number {
    return this.#prng.chance(this.#oddSizes) ? this.#prng.between(0, bytesMax) : SECTOR_BYTES - FRAME_HEADER_BYTES;
  }

  async #appendOne(bytes: number): Promise<void> {
    const { wal } = this;
    if (!wal) return;
    const payload = Buffer.alloc(bytes, `${this.#prng.between(0, 1e9)} `);
    const cut = this.#prng.between(0, bytes);
    const parts = [payload.subarray(0, cut), payload.subarray(cut)];
    await new Promise<void>((resolve) => {
      try {
        const sequence = wal.append(wal.nextSequence % 256, parts, (error) => {
          if (error) this.refusals.push(error);
          else {
            check(sequence === this.#acknowledged, `frame ${sequence} acknowledged out of order`);
            check(wal.durableSequence > sequence, 'acknowledged before it is durable');
            this.#acknowledged = sequence + 1;
          }
          resolve();
        });
        this.#appended.set(sequence, payload);
      } catch (error) {
        if (!(error instanceof WalError)) throw error;
        this.refusals.push(error);
        resolve();
      }
    });
  }
}

/** One random step of a life. */
export async function step(log: LogUnderFaults, prng: Prng): Promise<void> {
  const choice = prng.between(0, 9);
  if (choice < 6) await log.append(prng.between(1, 6));
  else if (choice === 6) await log.append(1, 6000);
  else if (choice === 7) await Promise.all([log.append(prng.between(1, 3)), log.checkpoint(), log.append(2)]);
  else await log.checkpoint();
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`promise broken: ${what}`);
}
