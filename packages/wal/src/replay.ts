// What is on disk when a log is opened, and what of it counts.
//
// Frames count from the checkpoint on, without a gap, up to the first that is not intact. Why that one is not
// tells the rest of the file, and the files after it:
//   R1. Every write was durable before the next one was issued. So only the last write can be torn.
//   R2. Frames behind the first bad one that belong to the same write (F2) mean that the write was torn: nobody was told
//       that it is durable. They are overwritten with zeros before anything is appended, or a later, shorter
//       write would bring them back.
//   R3. A frame behind that belongs to a later write means that the bad one was durable. The log is corrupt:
//       it is not opened, because cutting it would lose what was acknowledged.
//   R4. A tail below the checkpoint's durable sequence means the same.
//   R5. The last write may be whole in the page cache without being durable (a process killed before its sync, or
//       a sync that failed and left clean pages). It is written again as it is and synced before anyone relies on it.

import type { Logger } from '@robustmq/stdx/logger';
import { type Checkpoint, loadCheckpoint, storeCheckpoint } from './checkpoint-file.js';
import type { Disk, DiskFile } from './disk/disk.js';
import { WalError } from './errors.js';
import { findRemains, type ScanResult, type ScanTarget, scanFrames } from './file-scan.js';
import { type LiveFile, logFileName, logFileNumbers } from './log-files.js';
import type { ResolvedWalOptions } from './options.js';

export interface WalFrame {
  readonly sequence: number;
  /** 0 to 255, the owner's meaning. */
  readonly kind: number;
  /** A view of memory shared with neighbouring frames: copy what is kept for long. */
  readonly payload: Buffer;
}

export interface Recovered {
  readonly checkpoint: Checkpoint;
  readonly live: LiveFile[];
  readonly free: number[];
  readonly lastNumber: number;
  /** Where the last live file ends. */
  readonly position: number;
  readonly nextSequence: number;
  readonly replayedBytes: number;
}

interface ReplayContext {
  readonly disk: Disk;
  readonly options: ResolvedWalOptions;
  readonly logger: Logger;
  readonly replay: (frame: WalFrame) => void;
}

interface Tail extends ScanResult {
  readonly number: number;
}

/** Brings the directory into a state that can be appended to, and hands every needed frame to `replay`. */
export async function recover(context: ReplayContext): Promise<Recovered> {
  const { disk, options } = context;
  const numbers = logFileNumbers(await disk.list(options.directory));
  const checkpoint = (await loadCheckpoint(disk, options.directory)) ?? (await firstCheckpoint(context, numbers));
  const needed = numbers.filter((number) => number >= checkpoint.firstFile);
  const scanned = await scanLiveFiles(context, checkpoint, needed);
  const { live, tail } = scanned;
  const nextSequence = tail?.nextSequence ?? checkpoint.firstFileSequence;
  const behind = needed.filter((number) => number > (tail?.number ?? 0));
  for (const number of behind) await refuseLaterFrames(context, number, nextSequence);
  if (nextSequence < checkpoint.durable) throw lostTail(context, checkpoint, nextSequence); // R4
  if (tail) await settleTail(context, tail);
  for (const number of behind) await disk.remove(pathOf(options, number));
  const free = await sortFreeFiles(context, numbers, checkpoint.firstFile);
  await disk.syncDirectory(options.directory);
  const lastNumber = tail?.number ?? checkpoint.firstFile - 1;
  return {
    checkpoint,
    live,
    free,
    lastNumber,
    position: tail?.end ?? 0,
    nextSequence,
    replayedBytes: scanned.replayedBytes,
  };
}

/** A new directory gets its checkpoint before its first frame: a directory without one holds no frames. */
async function firstCheckpoint(context: ReplayContext, numbers: readonly number[]): Promise<Checkpoint> {
  const { disk, options } = context;
  for (const number of numbers) {
    await withFile(context, number, async (target) => {
      if ((await findRemains(target, 0, 0)).kind === 'none') return;
      const path = pathOf(options, number);
      throw new WalError(
        'CORRUPT',
        `${path} holds frames, but the file checkpoint beside it is gone. Restore the node`,
      );
    });
    await disk.remove(pathOf(options, number));
  }
  const checkpoint = { firstFile: 1, firstFileSequence: 0, firstNeeded: 0, durable: 0 };
  await storeCheckpoint(disk, options.directory, checkpoint);
  return checkpoint;
}

async function scanLiveFiles(
  context: ReplayContext,
  checkpoint: Checkpoint,
  needed: readonly number[],
): Promise<{ live: LiveFile[]; tail: Tail | undefined; replayedBytes: number }> {
  const live: LiveFile[] = [];
  let tail: Tail | undefined;
  let replayedBytes = 0;
  let sequence = checkpoint.firstFileSequence;
  for (const number of needed) {
    // A gap between the numbers ends the log; what comes after it must then be empty.
    if (number !== checkpoint.firstFile + live.length) break;
    const result = await withFile(context, number, (target) =>
      scanFrames(target, sequence, (header, payload) => {
        if (header.sequence < checkpoint.firstNeeded) return;
        replayedBytes += payload.length;
        context.replay({ sequence: header.sequence, kind: header.kind, payload });
      }),
    );
    // The first file stays the tail when it is empty; any other that is empty was begun and never used.
    if (live.length > 0 && result.nextSequence === sequence) break;
    live.push({ number, firstSequence: sequence });
    tail = { number, ...result };
    sequence = result.nextSequence;
  }
  return { live, tail, replayedBytes };
}

/** Nothing durable may lie in a file behind the tail (R3). */
async function refuseLaterFrames(context: ReplayContext, number: number, sequence: number): Promise<void> {
  const remains = await withFile(context, number, (target) => findRemains(target, 0, sequence));
  if (remains.kind === 'later') {
    throw corrupt({ path: pathOf(context.options, number), position: 0, sequence }, remains);
  }
}

/** Clears what a torn write left behind the tail (R2) and makes the tail itself durable (R5). */
async function settleTail(context: ReplayContext, tail: Tail): Promise<void> {
  const { disk, logger, options } = context;
  const path = pathOf(options, tail.number);
  const remains = await withFile(context, tail.number, (target) => findRemains(target, tail.end, tail.nextSequence));
  if (remains.kind === 'later') throw corrupt({ path, position: tail.end, sequence: tail.nextSequence }, remains); // R3
  const file = await disk.open(path, 'read-write');
  try {
    if (remains.kind === 'torn') {
      logger.warn(
        { path, position: tail.end, sequence: tail.nextSequence },
        'wal: cut a torn write, never acknowledged',
      );
      await overwriteWithZeros(file, tail.end, remains.end); // R2
    }
    const lastGroup = Buffer.allocUnsafe(tail.end - tail.lastGroupAt);
    await file.read(lastGroup, tail.lastGroupAt);
    if (lastGroup.length > 0) await file.write([lastGroup], tail.lastGroupAt); // R5
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function overwriteWithZeros(file: DiskFile, from: number, to: number): Promise<void> {
  const zeros = Buffer.alloc(Math.min(to - from, 1024 * 1024));
  for (let position = from; position < to; position += zeros.length) {
    await file.write([zeros.subarray(0, Math.min(zeros.length, to - position))], position);
  }
}

/** The files before the checkpoint: some are kept for reuse, the others go. */
async function sortFreeFiles(context: ReplayContext, numbers: readonly number[], firstFile: number): Promise<number[]> {
  const { disk, options } = context;
  const free: number[] = [];
  for (const number of numbers.filter((candidate) => candidate < firstFile)) {
    const bytes = await withFile(context, number, async (target) => target.bytes);
    if (free.length < options.recycledFilesMax && bytes <= options.fileBytes) free.push(number);
    else await disk.remove(pathOf(options, number));
  }
  return free;
}

async function withFile<T>(
  { disk, options }: ReplayContext,
  number: number,
  use: (target: ScanTarget) => Promise<T>,
): Promise<T> {
  const file = await disk.open(pathOf(options, number), 'read');
  try {
    return await use({ file, generation: number, bytes: await file.size() });
  } finally {
    await file.close();
  }
}

function pathOf(options: ResolvedWalOptions, number: number): string {
  return `${options.directory}/${logFileName(number)}`;
}

function corrupt(
  bad: { path: string; position: number; sequence: number },
  later: { position: number; sequence: number },
): WalError {
  return new WalError(
    'CORRUPT',
    `${bad.path} is damaged at byte ${bad.position}: frame ${bad.sequence} cannot be read, but frame ${later.sequence} ` +
      'of a later write is intact, so it was durable. Nothing was changed; restore this node from its peers or a backup',
  );
}

function lostTail({ options }: ReplayContext, checkpoint: Checkpoint, nextSequence: number): WalError {
  return new WalError(
    'CORRUPT',
    `the log in ${options.directory} ends at frame ${nextSequence}, but ${checkpoint.durable} were durable. ` +
      'Nothing was changed; restore this node from its peers or a backup',
  );
}
