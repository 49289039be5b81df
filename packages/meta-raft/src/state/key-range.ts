// Keys and ranges of keys, as the state sees them.
//
// A key is a byte string. It is held as a JavaScript string with one character per byte (U+0000 to U+00FF):
// then `<` orders by bytes, Map finds it, and V8 stores it in one byte per character. For ASCII it is the
// text itself.

import type { Brand } from '@robustmq/stdx/brand';

export type KeyBytes = Brand<string, 'KeyBytes'>;

/**
 * `end` as etcd has it: '' is the one key, '\0' is no upper bound, anything else is the first key beyond.
 * A range whose end is not above its key is empty.
 */
export interface KeyRange {
  readonly key: KeyBytes;
  readonly end: KeyBytes;
}

export const SINGLE = '' as KeyBytes; // a constant of the encoding above
export const UNBOUNDED = '\0' as KeyBytes; // as above

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is "all ASCII", control characters included
const ASCII = /^[\x00-\x7f]*$/;

/** The bytes of a text in UTF-8. */
export function keyFromText(text: string): KeyBytes {
  return (ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1')) as KeyBytes; // one char per byte
}

/** The text of UTF-8 bytes; what is not UTF-8 becomes U+FFFD. */
export function keyToText(key: KeyBytes): string {
  return ASCII.test(key) ? key : Buffer.from(key, 'latin1').toString('utf8');
}

export function keyFromBytes(bytes: Uint8Array): KeyBytes {
  const view = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.toString('latin1') as KeyBytes; // latin1 is one char per byte
}

export function keyToBytes(key: KeyBytes): Buffer {
  return Buffer.from(key, 'latin1');
}

export function singleKey(key: KeyBytes): KeyRange {
  return { key, end: SINGLE };
}

/** All keys that begin with the prefix; of an empty prefix, all keys. */
export function prefixRange(prefix: KeyBytes): KeyRange {
  return prefix === '' ? { key: UNBOUNDED, end: UNBOUNDED } : { key: prefix, end: prefixEnd(prefix) };
}

/** The smallest key above all keys with the prefix: its last byte below 0xff, plus one. */
export function prefixEnd(prefix: KeyBytes): KeyBytes {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix.charCodeAt(i);
    if (byte < 0xff) return (prefix.slice(0, i) + String.fromCharCode(byte + 1)) as KeyBytes; // stays one char per byte
  }
  return UNBOUNDED;
}

/** The smallest key above this one. */
export function keyAfter(key: KeyBytes): KeyBytes {
  return `${key}\0` as KeyBytes; // stays one char per byte
}

export function rangeContains(range: KeyRange, key: KeyBytes): boolean {
  if (range.end === SINGLE) return key === range.key;
  return key >= range.key && (range.end === UNBOUNDED || key < range.end);
}
