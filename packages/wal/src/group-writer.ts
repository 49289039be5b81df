import { isDiskFull } from './errors.js';
import { GroupEncoder } from './group-encoder.js';
import type { LogFiles } from './log-files.js';
import type { FrameGroup, PendingFrames } from './pending-frames.js';

/** How the write of one group ended. */
export type GroupOutcome =
  | { readonly kind: 'durable'; readonly group: FrameGroup }
  /** There was no space, and nothing of the group is left on disk. */
  | { readonly kind: 'full'; readonly group: FrameGroup | undefined; readonly cause: unknown }
  /** Nobody knows what is on disk. */
  | { readonly kind: 'failed'; readonly group: FrameGroup | undefined; readonly cause: unknown };

/** Takes the next group of pending frames to disk: one write, one sync. */
export class GroupWriter {
  readonly #files: LogFiles;
  readonly #groupBytesMax: number;
  readonly #encoder = new GroupEncoder();

  constructor(files: LogFiles, groupBytesMax: number) {
    this.#files = files;
    this.#groupBytesMax = groupBytesMax;
  }

  /** A group lies in one file, so that one sync covers it. */
  async write(pending: PendingFrames): Promise<GroupOutcome> {
    const files = this.#files;
    let group: FrameGroup | undefined;
    try {
      const { first } = pending;
      if (first && first.bytes > files.room) await files.roll(first.sequence, first.bytes);
      group = pending.takeGroup(Math.min(files.room, this.#groupBytesMax));
      await files.write(this.#encoder.encode(group.frames, files.place), group.bytes);
      await files.datasync();
      return { kind: 'durable', group };
    } catch (cause) {
      return isDiskFull(cause) ? await this.#cut(group, cause) : { kind: 'failed', group, cause };
    }
  }

  /** A full disk is no fault when the log can be brought back to its last durable frame. */
  async #cut(group: FrameGroup | undefined, full: unknown): Promise<GroupOutcome> {
    try {
      await this.#files.cut();
      return { kind: 'full', group, cause: full };
    } catch (cause) {
      return { kind: 'failed', group, cause };
    }
  }
}
