// The payload of a checkpoint frame: how far every open segment's file was durable. Replay begins at or before
// the newest such frame, so recovery knows exactly which bytes a file must hold: fewer, or other ones, are
// damage and never taken for a torn tail.
//
//   u32 segments; each u32 shardUid, u32 epoch, u64 endOffset, u64 bytes, u32 digest

import { ByteReader } from '@robustmq/stdx/byte-reader';
import { ByteWriter } from '@robustmq/stdx/byte-writer';

export interface DurableSegment {
  readonly shardUid: number;
  readonly epoch: number;
  readonly endOffset: number;
  readonly bytes: number;
  readonly digest: number;
}

export function encodeCheckpointState(segments: readonly DurableSegment[]): Buffer {
  const writer = new ByteWriter(4 + segments.length * 28).u32(segments.length);
  for (const { shardUid, epoch, endOffset, bytes, digest } of segments)
    writer.u32(shardUid).u32(epoch).u64(endOffset).u64(bytes).u32(digest);
  return writer.finish();
}

export function decodeCheckpointState(payload: Uint8Array): DurableSegment[] {
  const reader = new ByteReader(payload);
  return Array.from({ length: reader.u32() }, () => ({
    shardUid: reader.u32(),
    epoch: reader.u32(),
    endOffset: reader.u64(),
    bytes: reader.u64(),
    digest: reader.u32(),
  }));
}
