// Where a snapshot waits that is still arriving: it is put in force only when it is here whole.
//
// A spooled snapshot lives as long as the process. What a crash leaves is removed at the next start, and the leader sends
// the snapshot again; nothing here needs to be durable.
//
// A file is a row of chunks:
//   u32  bytes of the chunk
//   u32  CRC-32 of the chunk
//   …    the chunk

import { crc32 } from '@robustmq/stdx/crc32';
import type { Disk, DiskFile } from '@robustmq/wal';
import { MetaError } from '../errors.js';

const CHUNK_HEADER_BYTES = 8;

export interface SpooledSnapshot {
  /** Throws DAMAGED when the file does not hold what was put into it. May be read more than once. */
  chunks(): AsyncIterable<Buffer>;
  discard(): Promise<void>;
}

export class SnapshotSpool {
  readonly #disk: Disk;
  readonly #directory: string;
  #count = 0;

  private constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  static async open(disk: Disk, directory: string): Promise<SnapshotSpool> {
    await disk.makeDirectory(directory);
    for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
    return new SnapshotSpool(disk, directory);
  }

  /** Rejects, keeping nothing, when the chunks end with an error. */
  async receive(chunks: AsyncIterable<Buffer>): Promise<SpooledSnapshot> {
    const path = `${this.#directory}/incoming-${++this.#count}`;
    const file = await this.#disk.open(path, 'read-write');
    try {
      let at = 0;
      for await (const chunk of chunks) {
        const header = Buffer.alloc(CHUNK_HEADER_BYTES);
        header.writeUInt32BE(chunk.length, 0);
        header.writeUInt32BE(crc32(chunk), 4);
        await file.write([header, chunk], at);
        at += header.length + chunk.length;
      }
      return {
        chunks: () => readChunks(file, at),
        discard: async () => {
          await file.close();
          await this.#disk.remove(path);
        },
      };
    } catch (error) {
      await file.close();
      await this.#disk.remove(path);
      throw error;
    }
  }
}

async function* readChunks(file: DiskFile, bytes: number): AsyncGenerator<Buffer> {
  const header = Buffer.alloc(CHUNK_HEADER_BYTES);
  for (let at = 0; at < bytes; ) {
    await file.read(header, at);
    const chunk = Buffer.alloc(header.readUInt32BE(0));
    const read = await file.read(chunk, at + CHUNK_HEADER_BYTES);
    if (read !== chunk.length || crc32(chunk) !== header.readUInt32BE(4)) {
      throw new MetaError(
        'DAMAGED',
        `The received snapshot in ${file.path} changed on disk. The leader will send it again.`,
      );
    }
    at += CHUNK_HEADER_BYTES + chunk.length;
    yield chunk;
  }
}
