// Writes packets byte by byte for tests, so that they can also be wrong. The encoder is not used: it
// would make the same mistake as the decoder.

export type Part = number | string | Buffer | readonly number[];

/** A number is a byte, a string is UTF-8 with two bytes of length before it, bytes are bytes. */
export function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      if (typeof part !== 'string') return Buffer.from(part);
      const text = Buffer.from(part, 'utf8');
      return Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), text]);
    }),
  );
}

export function varInt(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const more = rest >= 0x80;
    bytes.push((rest & 0x7f) | (more ? 0x80 : 0));
    rest = Math.floor(rest / 0x80);
  } while (rest > 0);
  return bytes;
}

/** A packet with the right remaining length. */
export function rawPacket(first: number, ...parts: readonly Part[]): Buffer {
  const body = bytesOf(parts);
  return Buffer.concat([Buffer.from([first, ...varInt(body.length)]), body]);
}

/** A property length and the properties. */
export function rawProperties(...parts: readonly Part[]): Buffer {
  const body = bytesOf(parts);
  return Buffer.concat([Buffer.from(varInt(body.length)), body]);
}
