// The file `checkpoint`: from where on the log is needed. 48 bytes, big-endian.
//
//   byte  width  field
//      0      8  "RMQWALCP"
//      8      4  format version, 1
//     12      4  number of the first file that is needed
//     16      8  sequence of the first frame of that file
//     24      8  first needed sequence
//     32      8  durable sequence: all below were durable when this was written
//     40      4  zero
//     44      4  CRC-32 of bytes 0 to 43
//
// It is replaced whole: written to `checkpoint.tmp`, synced, renamed, and the directory synced. A crash leaves
// the old one or the new one; a file that does not check out was damaged later, and is refused.

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { crc32 } from '@robustmq/stdx/crc32';
import type { Disk } from './disk/disk.js';
import { datasyncOnce, syncDirectoryOnce } from './disk/final-sync.js';
import { WalError } from './errors.js';

export interface Checkpoint {
  readonly firstFile: number;
  readonly firstFileSequence: number;
  readonly firstNeeded: number;
  readonly durable: number;
}

const MAGIC = 'RMQWALCP';
const VERSION = 1;
const BYTES = 48;

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const writer = new ByteWriter(BYTES).raw(Buffer.from(MAGIC, 'latin1')).u32(VERSION).u32(checkpoint.firstFile);
  writer.u64(checkpoint.firstFileSequence).u64(checkpoint.firstNeeded).u64(checkpoint.durable).u32(0);
  const covered = writer.finish();
  return Buffer.concat([covered, new ByteWriter(4).u32(crc32(covered)).finish()]);
}

/** Undefined when there is none. WalError CORRUPT or FORMAT_VERSION when it cannot be used. */
export async function loadCheckpoint(disk: Disk, directory: string): Promise<Checkpoint | undefined> {
  const path = `${directory}/checkpoint`;
  if (!(await disk.exists(path))) return undefined;
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(BYTES);
  try {
    const read = await file.read(bytes, 0);
    return parseCheckpoint(bytes.subarray(0, read), path);
  } finally {
    await file.close();
  }
}

export function parseCheckpoint(bytes: Buffer, path: string): Checkpoint {
  const intact =
    bytes.length === BYTES &&
    bytes.toString('latin1', 0, 8) === MAGIC &&
    crc32(bytes.subarray(0, BYTES - 4)) === bytes.readUInt32BE(BYTES - 4);
  if (!intact) {
    throw new WalError('CORRUPT', `${path} is damaged: without it nobody knows where the log begins. Restore the node`);
  }
  const reader = new ByteReader(bytes, 8);
  const version = reader.u32();
  if (version !== VERSION) {
    throw new WalError('FORMAT_VERSION', `${path} has format version ${version}; this program knows only ${VERSION}`);
  }
  return {
    firstFile: reader.u32(),
    firstFileSequence: reader.u64(),
    firstNeeded: reader.u64(),
    durable: reader.u64(),
  };
}

/** Replaces the checkpoint; when this resolves, the new one is durable. SyncFailure is final. */
export async function storeCheckpoint(disk: Disk, directory: string, checkpoint: Checkpoint): Promise<void> {
  const temporary = `${directory}/checkpoint.tmp`;
  const file = await disk.open(temporary, 'read-write');
  try {
    await file.write([encodeCheckpoint(checkpoint)], 0);
    await datasyncOnce(file);
  } finally {
    await file.close();
  }
  await disk.rename(temporary, `${directory}/checkpoint`);
  await syncDirectoryOnce(disk, directory);
}
