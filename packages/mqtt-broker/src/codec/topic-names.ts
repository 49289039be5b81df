import { readText } from './encoded-text.js';
import { malformed } from './malformed.js';
import type { PacketReader } from './packet-reader.js';

const PLUS = 0x2b;
const HASH = 0x23;

/** The topic name of a PUBLISH: a name without wildcards [MQTT-3.3.2-2]; empty where an alias stands for it. */
export function readTopicName(reader: PacketReader): string {
  const length = reader.u16('the topic name');
  const start = reader.at;
  const end = start + length;
  if (end > reader.end) throw malformed('the packet ends inside the topic name', 'MQTT-3.3.2-1');
  const { buffer } = reader;
  for (let i = start; i < end; i++) {
    const byte = buffer[i];
    if (byte === PLUS || byte === HASH) throw malformed('the topic name holds a wildcard', 'MQTT-3.3.2-2');
  }
  reader.at = end;
  return readText({ buffer, start, end }, { what: 'the topic name', rule: 'name' });
}
