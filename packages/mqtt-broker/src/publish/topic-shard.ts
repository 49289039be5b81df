const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * The message shard of a topic: FNV-1a (32 bit) over its UTF-8 bytes, modulo the number of shards. What is
 * stored depends on it, so it never changes.
 */
export function topicShard(topicName: string, shards: number): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < topicName.length; i++) {
    const code = topicName.charCodeAt(i);
    if (code > 0x7f) return hashUtf8(topicName) % shards;
    hash = Math.imul(hash ^ code, FNV_PRIME);
  }
  return (hash >>> 0) % shards;
}

function hashUtf8(text: string): number {
  let hash = FNV_OFFSET;
  for (const byte of Buffer.from(text, 'utf8')) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return hash >>> 0;
}
