import type { WalError } from './errors.js';
import { frameBytes } from './frame.js';
import type { FrameToWrite } from './group-encoder.js';

/** Told once when the frame is durable, or with the reason why it never will be. Must not throw. */
export type OnDurable = (error?: WalError) => void;

export interface PendingFrame extends FrameToWrite {
  readonly onDurable: OnDurable;
}

export interface FrameGroup {
  readonly frames: PendingFrame[];
  readonly bytes: number;
}

/** Accepted frames that are not durable yet, oldest first; those being written are out of the list but still counted. */
export class PendingFrames {
  #frames: PendingFrame[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#frames.length === 0;
  }

  /** What the frames take on disk, those being written included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What the oldest frame takes on disk, and its sequence. */
  get first(): { readonly sequence: number; readonly bytes: number } | undefined {
    const frame = this.#frames[0];
    return frame && { sequence: frame.sequence, bytes: frameBytes(frame.length) };
  }

  push(frame: PendingFrame): void {
    this.#frames.push(frame);
    this.#bytes += frameBytes(frame.length);
  }

  /** Takes the oldest frame, and those after it as long as all together stay within `bytesMax`. */
  takeGroup(bytesMax: number): FrameGroup {
    let bytes = 0;
    let count = 0;
    for (const { length } of this.#frames) {
      const more = frameBytes(length);
      if (count > 0 && bytes + more > bytesMax) break;
      bytes += more;
      count++;
    }
    if (count < this.#frames.length) return { frames: this.#frames.splice(0, count), bytes };
    const frames = this.#frames;
    this.#frames = [];
    return { frames, bytes };
  }

  /** A group that was taken is durable. */
  settled(group: FrameGroup): void {
    this.#bytes -= group.bytes;
  }

  /** A group that was taken, if any, and all the others: nothing is pending any more. */
  abandon(group: FrameGroup | undefined): PendingFrame[] {
    const abandoned = [...(group?.frames ?? []), ...this.#frames];
    this.#frames = [];
    this.#bytes = 0;
    return abandoned;
  }
}
