import { readText } from './encoded-text.js';
import { malformed } from './malformed.js';
import type { PacketReader } from './packet-reader.js';

const PLUS = 0x2b;
const HASH = 0x23;
const SPACE = 0x20;
const DEL = 0x7f;

const KEPT_NAMES = 4096;
const KEPT_NAME_BYTES_MAX = 128;

/**
 * Topic names seen before, by the hash of their bytes. Publishers repeat few topics often: to find the
 * string costs less than to make it, and an old string brings its hash along to the look-ups that follow.
 * A new name replaces the one in its slot, so the memory is bounded by KEPT_NAMES × KEPT_NAME_BYTES_MAX.
 */
const kept: (string | undefined)[] = new Array<string | undefined>(KEPT_NAMES).fill(undefined);

/** The topic name of a PUBLISH: a name without wildcards [MQTT-3.3.2-2]; empty where an alias stands for it. */
export function readTopicName(reader: PacketReader): string {
  const length = reader.u16('the topic name');
  const start = reader.at;
  const end = start + length;
  if (end > reader.end) throw malformed('the packet ends inside the topic name', 'MQTT-3.3.2-1');
  reader.at = end;
  const { buffer } = reader;
  let plain = 0; // FNV-1a while all bytes are printable ASCII, then -1
  for (let i = start; i < end; i++) {
    const byte = buffer[i] as number; // inside the packet, as checked above
    if (byte === PLUS || byte === HASH) throw malformed('the topic name holds a wildcard', 'MQTT-3.3.2-2');
    if (byte < SPACE || byte >= DEL) plain = -1;
    else if (plain >= 0) plain = Math.imul(plain ^ byte, 0x01000193) & 0x7fff_ffff;
  }
  const range = { buffer, start, end };
  if (plain < 0 || length > KEPT_NAME_BYTES_MAX) return readText(range, { what: 'the topic name', rule: 'name' });

  const slot = (plain ^ (plain >>> 12)) & (KEPT_NAMES - 1);
  const known = kept[slot];
  if (known !== undefined && known.length === length && isAt(known, buffer, start)) return known;
  const name = buffer.toString('latin1', start, end);
  kept[slot] = name;
  return name;
}

/** Whether the ASCII text lies at `start`; the buffer is long enough. */
function isAt(text: string, buffer: Buffer, start: number): boolean {
  for (let i = 0; i < text.length; i++) {
    if (buffer[start + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}
