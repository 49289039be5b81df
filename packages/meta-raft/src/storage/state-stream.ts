// A state as a stream of bytes: what a snapshot file holds and what goes to a follower that fell behind.
// Big-endian.
//
//   u32     magic 0x524d5153 ("RMQS")
//   u8      format, 1
//   bytes   the header (u32 length in front; state-header.ts)
//   rows, each: u8 1, string record key (u32 length), bytes record (u32 length)
//   u8      0: the end
//
// Chunks are cuts of this stream anywhere, at most 256 KiB each. Every record carries its checksum and the header the
// digest over all of them, so the stream needs none of its own.

import { ByteReader, UnexpectedEnd } from '@robustmq/stdx/byte-reader';
import { KiB, MiB } from '@robustmq/stdx/byte-size';
import { ByteWriter } from '@robustmq/stdx/byte-writer';
import { MetaError } from '../errors.js';
import type { StoredRecord, StoredView } from './level-state-store.js';
import { decodeHeader, encodeHeader, type StoredHeader } from './state-header.js';

export const CHUNK_BYTES = 256 * KiB;

const MAGIC = 0x524d5153;
const FORMAT = 1;
const ROW = 1;
const END = 0;
/** No record is larger: a key and a value within the request limit. A length beyond is damage, not a reason to wait for more. */
const RECORD_BYTES_MAX = 64 * MiB;

export async function* encodeStateStream(view: StoredView): AsyncGenerator<Buffer> {
  let out = new ByteWriter(CHUNK_BYTES);
  out.u32(MAGIC).u8(FORMAT).bytes(encodeHeader(view.header));
  for await (const rows of view.records()) {
    for (const [key, value] of rows) {
      out.u8(ROW).string(key).bytes(value);
      if (out.length < CHUNK_BYTES) continue;
      const { chunks, rest } = cut(out.finish());
      yield* chunks;
      out = new ByteWriter(CHUNK_BYTES).raw(rest);
    }
  }
  const { chunks, rest } = cut(out.u8(END).finish());
  yield* chunks;
  if (rest.length > 0) yield rest;
}

function cut(bytes: Buffer): { readonly chunks: Buffer[]; readonly rest: Buffer } {
  const chunks: Buffer[] = [];
  let at = 0;
  for (; bytes.length - at >= CHUNK_BYTES; at += CHUNK_BYTES) chunks.push(bytes.subarray(at, at + CHUNK_BYTES));
  return { chunks, rest: bytes.subarray(at) };
}

export interface DecodedStateStream {
  readonly header: StoredHeader;
  /** Throws MetaError DAMAGED when the stream is malformed or ends before its end. */
  readonly records: AsyncIterable<readonly StoredRecord[]>;
}

export async function decodeStateStream(chunks: AsyncIterable<Buffer>): Promise<DecodedStateStream> {
  const source = new ChunkSource(chunks[Symbol.asyncIterator]());
  const header = await source.next((read) => {
    if (read.u32() !== MAGIC) throw damaged('it does not begin like one');
    const format = read.u8();
    if (format !== FORMAT) throw damaged(`its format is ${format}, this version reads ${FORMAT}`);
    return Buffer.from(read.bytes());
  });
  return { header: decodeHeader(header), records: decodeRows(source) };
}

async function* decodeRows(source: ChunkSource): AsyncGenerator<readonly StoredRecord[]> {
  for (;;) {
    // The first row may wait for a chunk; those behind it are taken as far as they are here.
    const first = await source.next(readRow);
    if (first === 'end') break;
    const rows: StoredRecord[] = [first];
    let row = source.tryNext(readRow);
    for (; row !== undefined && row !== 'end'; row = source.tryNext(readRow)) rows.push(row);
    yield rows;
    if (row === 'end') break;
  }
  await source.expectEnd();
}

function readRow(read: ByteReader): StoredRecord | 'end' {
  const kind = read.u8();
  if (kind === END) return 'end';
  if (kind !== ROW) throw damaged(`a row of kind ${kind}`);
  return [read.string(), Buffer.from(read.bytes())];
}

/** Parses values that may lie across chunks. */
class ChunkSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #buffered: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks;
  }

  async next<T>(parse: (read: ByteReader) => T): Promise<T> {
    for (;;) {
      const parsed = this.tryNext(parse);
      if (parsed !== undefined) return parsed;
      if (this.#buffered.length - this.#at > RECORD_BYTES_MAX) throw damaged('a record is larger than any can be');
      const chunk = await this.#chunks.next();
      if (chunk.done) throw damaged('it ends early');
      this.#buffered = Buffer.concat([this.#buffered.subarray(this.#at), chunk.value]);
      this.#at = 0;
    }
  }

  /** Undefined when it is not all here. */
  tryNext<T>(parse: (read: ByteReader) => T): T | undefined {
    const read = new ByteReader(this.#buffered, this.#at);
    try {
      const parsed = parse(read);
      this.#at = read.position;
      return parsed;
    } catch (error) {
      if (error instanceof UnexpectedEnd || error instanceof RangeError) return undefined;
      throw error;
    }
  }

  async expectEnd(): Promise<void> {
    const after = await this.#chunks.next();
    if (this.#at !== this.#buffered.length || !after.done) throw damaged('bytes follow its end');
  }
}

function damaged(why: string): MetaError {
  return new MetaError(
    'DAMAGED',
    `The snapshot of the metadata state cannot be used: ${why}. It has to be sent again.`,
  );
}
