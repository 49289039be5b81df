// UTF-8 of short texts. Topic names and identifiers are short and nearly always ASCII; to measure and to
// write such a text in a loop costs less than two calls into the runtime.

const LOOP_MAX = 64;

/** The bytes of `text` in UTF-8. */
export function utf8Bytes(text: string): number {
  return isShortAscii(text) ? text.length : Buffer.byteLength(text);
}

/** Writes `text`, of which utf8Bytes() told `bytes`; returns the position after it. The caller has made room. */
export function writeUtf8(target: Buffer, at: number, { text, bytes }: { text: string; bytes: number }): number {
  if (bytes === text.length && bytes <= LOOP_MAX) {
    // As many bytes as code units: all of them are ASCII.
    for (let i = 0; i < bytes; i++) target[at + i] = text.charCodeAt(i);
  } else target.write(text, at, 'utf8');
  return at + bytes;
}

function isShortAscii(text: string): boolean {
  if (text.length > LOOP_MAX) return false;
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits |= text.charCodeAt(i);
  return bits < 0x80;
}
