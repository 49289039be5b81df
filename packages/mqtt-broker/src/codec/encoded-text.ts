// UTF-8 encoded strings (MQTT5 §1.5.4, MQTT 3.1.1 §1.5.3): well-formed, no surrogates, no U+0000.
//
// Names (topics, client identifiers, user names) end up in logs, access rules and file names, so the
// characters that both specifications advise against (§1.5.4, "SHOULD NOT") are refused there as well:
// U+0001 to U+001F, U+007F to U+009F, and the non-characters. Free text (user properties, reason
// strings, content types) may hold them.

import { isUtf8 } from 'node:buffer';
import { malformed } from './malformed.js';

export type TextRule = 'name' | 'free text';

export interface ByteRange {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

const DEL = 0x7f;
const SPACE = 0x20;

export function readText({ buffer, start, end }: ByteRange, { what, rule }: { what: string; rule: TextRule }): string {
  let bits = 0;
  for (let i = start; i < end; i++) {
    const byte = buffer[i] as number; // the caller gives a range inside the buffer
    if (byte < SPACE) refuseControl(byte, what, rule);
    bits |= byte;
  }
  if (bits < 0x80) {
    const text = buffer.toString('latin1', start, end);
    if (rule === 'name' && bits === DEL && text.includes('\u007f')) throw unwanted(DEL, what);
    return text;
  }
  if (!isUtf8(buffer.subarray(start, end))) {
    throw malformed(`${what} is not well-formed UTF-8`, 'MQTT-1.5.4-1');
  }
  const text = buffer.toString('utf8', start, end); // keeps a U+FEFF in front [MQTT-1.5.4-3]
  if (rule === 'name') refuseNonCharacters(text, what);
  return text;
}

function refuseControl(byte: number, what: string, rule: TextRule): void {
  if (byte === 0) throw malformed(`${what} holds U+0000`, 'MQTT-1.5.4-2');
  if (rule === 'name') throw unwanted(byte, what);
}

/** Non-characters: U+FDD0 to U+FDEF and the last two code points of every plane (Unicode 15, §23.7). */
function refuseNonCharacters(text: string, what: string): void {
  for (let i = 0; i < text.length; i++) {
    const point = text.codePointAt(i) as number; // i is inside the text
    if (point > 0xffff) i++; // a pair of code units
    const isControl = point >= DEL && point <= 0x9f;
    const isNonCharacter = (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) === 0xfffe;
    if (isControl || isNonCharacter) throw unwanted(point, what);
  }
}

function unwanted(point: number, what: string) {
  const name = point.toString(16).toUpperCase().padStart(4, '0');
  return malformed(`${what} holds U+${name}, a control or non-character`, 'MQTT5 §1.5.4');
}
