// Sparse indexes of closed segments, loaded when first asked for, with a bound on their number.

import { JournalError } from '../errors.js';
import { type Segment, sidecarFileName } from './segment.js';
import type { SegmentFiles } from './segment-files.js';
import { scanSegment } from './segment-scan.js';
import { decodeSidecar, describesAll } from './sidecar.js';
import { SparseIndex } from './sparse-index.js';

/** A full segment's index is some 400 KB; so many make 50 MB at most, and usually far less. */
const LOADED_MAX = 128;

export class SegmentIndexes {
  readonly #files: SegmentFiles;
  readonly #intervalBytes: number;
  /** Least recently used first. */
  readonly #loaded = new Map<Segment, Promise<SparseIndex>>();

  constructor(files: SegmentFiles, intervalBytes: number) {
    this.#files = files;
    this.#intervalBytes = intervalBytes;
  }

  async of(segment: Segment): Promise<SparseIndex> {
    if (segment.index) return segment.index;
    const loading = this.#loaded.get(segment) ?? this.#load(segment);
    this.#loaded.delete(segment);
    this.#loaded.set(segment, loading);
    loading.catch(() => this.#loaded.delete(segment));
    if (this.#loaded.size > LOADED_MAX) this.#forgetOldest();
    return await loading;
  }

  forget(segment: Segment): void {
    this.#loaded.delete(segment);
  }

  async #load(segment: Segment): Promise<SparseIndex> {
    const bytes = await this.#files.load(sidecarFileName(segment.fileName));
    const sidecar = bytes && decodeSidecar(bytes, segment, this.#intervalBytes);
    if (sidecar && describesAll(sidecar, segment)) return sidecar.index;
    return await this.#rebuild(segment);
  }

  /** The sidecar is missing or damaged: the segment itself says everything. */
  async #rebuild(segment: Segment): Promise<SparseIndex> {
    if (!(await this.#files.exists(segment.fileName)))
      throw new JournalError('CORRUPT', `segment file ${segment.fileName} is missing; restore it from a copy`);
    const index = new SparseIndex(this.#intervalBytes);
    for await (const step of scanSegment(this.#files, segment, { from: 0, to: segment.bytes }))
      if (step.kind === 'batch') index.add(step.header.baseOffset, step.position, step.header.timestampMs);
    return index;
  }

  #forgetOldest(): void {
    for (const segment of this.#loaded.keys()) {
      this.#loaded.delete(segment);
      return;
    }
  }
}
