// A snapshot across gRPC: a header, chunks, and an end that says how much there was. Both sides count and sum, so that a
// stream cut short is never taken for a whole state.

import type { ClientWritableStream, ServerReadableStream } from '@grpc/grpc-js';
import type { Clock, Timer } from '@robustmq/stdx/clock';
import { crc32 } from '@robustmq/stdx/crc32';
import { MetaError } from '../errors.js';
import type { InstallSnapshotRequest, InstallSnapshotResponse, SnapshotHeader } from '../gen/robustmq/raft/v1/raft.js';

/** Writes all parts, no faster than the peer reads. `alive` is called whenever something moved. */
export async function writeSnapshot(
  call: ClientWritableStream<InstallSnapshotRequest>,
  snapshot: { readonly header: SnapshotHeader; readonly chunks: AsyncIterable<Buffer> },
  alive: () => void,
): Promise<void> {
  const write = (part: InstallSnapshotRequest['part']) =>
    new Promise<void>((resolve, reject) => {
      call.write({ part }, (error: Error | null | undefined) => (error ? reject(error) : resolve()));
    });
  let bytes = 0;
  let checksum = 0;
  await write({ $case: 'header', value: snapshot.header });
  for await (const chunk of snapshot.chunks) {
    await write({ $case: 'chunk', value: chunk });
    bytes += chunk.length;
    checksum = crc32(chunk, checksum);
    alive();
  }
  await write({ $case: 'end', value: { bytes, checksum } });
  call.end();
}

export interface IncomingSnapshot {
  readonly header: SnapshotHeader;
  /** Throws MetaError DAMAGED when what arrived is not what was sent, or not all of it. */
  readonly chunks: AsyncIterable<Buffer>;
}

export async function readSnapshot(
  call: ServerReadableStream<InstallSnapshotRequest, InstallSnapshotResponse>,
): Promise<IncomingSnapshot> {
  const parts: AsyncIterator<InstallSnapshotRequest> = call[Symbol.asyncIterator]();
  const first = await parts.next();
  const header = first.done ? undefined : first.value.part;
  if (header?.$case !== 'header') throw damaged('it does not begin with its header');
  return { header: header.value, chunks: chunksOf(parts) };
}

async function* chunksOf(parts: AsyncIterator<InstallSnapshotRequest>): AsyncGenerator<Buffer> {
  let bytes = 0;
  let checksum = 0;
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    const { part } = next.value;
    if (part?.$case === 'chunk') {
      bytes += part.value.length;
      checksum = crc32(part.value, checksum);
      yield part.value;
      continue;
    }
    if (part?.$case !== 'end') throw damaged('a part of it is unknown');
    if (part.value.bytes !== bytes || part.value.checksum !== checksum)
      throw damaged('not all of it arrived as it was sent');
    return;
  }
  throw damaged('it ends early');
}

function damaged(why: string): MetaError {
  return new MetaError('DAMAGED', `The snapshot from the leader cannot be used: ${why}. It has to be sent again.`);
}

/** Calls `stalled` when alive() was not called for `limitMs`. */
export class StallTimer {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #stalled: () => void;
  #timer: Timer;

  constructor(clock: Clock, limitMs: number, stalled: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#stalled = stalled;
    this.#timer = clock.setTimer(limitMs, stalled);
  }

  alive(): void {
    this.#timer.cancel();
    this.#timer = this.#clock.setTimer(this.#limitMs, this.#stalled);
  }

  cancel(): void {
    this.#timer.cancel();
  }
}
