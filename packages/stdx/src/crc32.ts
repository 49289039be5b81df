// The one checksum of all our files and frames: CRC-32 (IEEE 802.3, polynomial 0xEDB88320 reflected).
//
// Why not CRC-32C: Node carries this polynomial in zlib (with the processor's help), so that large
// buffers run at gigabytes a second without a native package, and both branches below agree.

import zlib from 'node:zlib';

/** Below this many bytes the call into zlib costs more than the sum (measured: benches/RESULTS.md). */
const NATIVE_FROM_BYTES = 192;

const TABLES = buildTables();

function buildTables(): readonly Uint32Array[] {
  const first = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    first[byte] = crc >>> 0;
  }
  const tables = [first];
  for (let slice = 1; slice < 4; slice++) {
    const previous = tables[slice - 1] as Uint32Array; // pushed by the round before
    tables.push(previous.map((crc) => (crc >>> 8) ^ (first[crc & 0xff] as number))); // a table has 256 entries
  }
  return tables;
}

const [T0, T1, T2, T3] = TABLES as [Uint32Array, Uint32Array, Uint32Array, Uint32Array]; // four were built

/**
 * The checksum of `bytes[start, end)`, continued from `seed` (0 at the beginning).
 * crc32(ab) equals crc32(b, { seed: crc32(a) }).
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  if (bytes.length >= NATIVE_FROM_BYTES && nativeCrc32) return nativeCrc32(bytes, seed);
  return sliceBy4(bytes, seed);
}

/** zlib.crc32 is there from Node 20.15 on; @types/node of 20 may not know it. */
const nativeCrc32 = (zlib as { crc32?: (data: Uint8Array, value?: number) => number }).crc32;

/** Four bytes a step through four tables (Kounavis and Berry 2005). Exported for the test that compares both. */
export function sliceBy4(bytes: Uint8Array, seed: number): number {
  let crc = ~seed;
  let i = 0;
  const whole = bytes.length & ~3;
  for (; i < whole; i += 4) {
    crc ^=
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24); // i < whole, so all four are there
    crc =
      (T3[crc & 0xff] as number) ^
      (T2[(crc >>> 8) & 0xff] as number) ^
      (T1[(crc >>> 16) & 0xff] as number) ^
      (T0[crc >>> 24] as number); // a byte indexes a table of 256
  }
  for (; i < bytes.length; i++) {
    crc = (crc >>> 8) ^ (T0[(crc ^ (bytes[i] as number)) & 0xff] as number); // as above
  }
  return ~crc >>> 0;
}
