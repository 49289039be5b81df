import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { encodeCheckpoint, parseCheckpoint } from './checkpoint-file.js';
import { FRAME_HEADER_BYTES, frameBytes, frameIsIntact, frameSeed, readFrameHeader } from './frame.js';
import { GroupEncoder } from './group-encoder.js';

const place = fc.record({
  generation: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  position: fc.integer({ min: 0, max: 2 ** 28 }).map((n) => n * 8),
});
const frames = fc.array(
  fc.record({
    kind: fc.integer({ min: 0, max: 255 }),
    parts: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }),
  }),
  { minLength: 1, maxLength: 8 },
);
const firstSequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 10 });

function toWrite(given: { kind: number; parts: Uint8Array[] }[], first: number) {
  return given.map(({ kind, parts }, i) => ({
    kind,
    parts,
    sequence: first + i,
    length: parts.reduce((sum, part) => sum + part.length, 0),
  }));
}

describe('the frame format', () => {
  it('is what the head of frame.ts says', () => {
    const bytes = Buffer.concat(
      new GroupEncoder().encode([{ kind: 3, sequence: 5, parts: [Buffer.from('ab')], length: 2 }], {
        generation: 1,
        position: 0,
      }),
    );
    expect(bytes.subarray(4).toString('hex')).toBe(
      ['00000002', '00000001', '00000000', '03', '00000000000005', '6162', '000000000000'].join(''),
    );
    expect(bytes.toString('hex', 0, 4)).toBe('bad8ea52');
  });

  it('gives back every group that was encoded', () => {
    const encoder = new GroupEncoder();
    fc.assert(
      fc.property(frames, place, firstSequence, (given, { generation, position }, first) => {
        const group = toWrite(given, first);
        const bytes = Buffer.concat(encoder.encode(group, { generation, position }));
        let at = 0;
        group.forEach(({ kind, sequence, parts, length }, groupPlace) => {
          const header = readFrameHeader(bytes, at, generation);
          expect(header).toEqual({ kind, sequence, length, groupPlace });
          expect(frameIsIntact(bytes, at, { length, place: { generation, position: position + at } })).toBe(true);
          const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + length);
          expect(payload.equals(Buffer.concat(parts))).toBe(true);
          at += frameBytes(length);
        });
        expect(at).toBe(bytes.length);
      }),
    );
  });

  it('writes the same bytes whether a payload is copied or referred to', () => {
    const payload = Buffer.alloc(64 * 1024, 'by reference');
    const others = toWrite([{ kind: 1, parts: [Buffer.from('before')] }], 0);
    const large = {
      kind: 2,
      sequence: 1,
      length: payload.length,
      parts: [payload.subarray(0, 7), payload.subarray(7)],
    };
    const after = { kind: 3, sequence: 2, length: 3, parts: [Buffer.from('end')] };
    const parts = new GroupEncoder().encode([...others, large, after], { generation: 9, position: 64 });
    expect(parts.length).toBe(4);
    const bytes = Buffer.concat(parts);
    const at = frameBytes(6);
    const place = { generation: 9, position: 64 + at };
    expect(frameIsIntact(bytes, at, { length: payload.length, place })).toBe(true);
    expect(readFrameHeader(bytes, at + frameBytes(payload.length), 9)).toMatchObject({ sequence: 2, kind: 3 });
  });

  it('is never intact in another generation, at another position, or with any bit flipped', () => {
    fc.assert(
      fc.property(frames, place, place, fc.nat(), (given, written, other, chance) => {
        const [frame] = toWrite(given, 1);
        if (!frame) return;
        const { length } = frame;
        const bytes = Buffer.concat(new GroupEncoder().encode([frame], written));
        if (frameSeed(written) !== frameSeed(other))
          expect(frameIsIntact(bytes, 0, { length, place: other })).toBe(false); // F1
        const sameFile = { generation: written.generation, position: written.position + 8 };
        const laterLife = { generation: (written.generation % (2 ** 32 - 1)) + 1, position: written.position };
        for (const place of [sameFile, laterLife]) expect(frameIsIntact(bytes, 0, { length, place })).toBe(false);
        const bit = chance % ((FRAME_HEADER_BYTES + length) * 8);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(frameIsIntact(bytes, 0, { length, place: written })).toBe(false);
      }),
    );
  });
});

describe('the checkpoint format', () => {
  const checkpoint = { firstFile: 7, firstFileSequence: 100, firstNeeded: 2 ** 40 + 3, durable: 2 ** 41 };

  it('gives back what was encoded, in 48 bytes', () => {
    const bytes = encodeCheckpoint(checkpoint);
    expect(bytes.length).toBe(48);
    expect(parseCheckpoint(bytes, 'checkpoint')).toEqual(checkpoint);
  });

  it('refuses every flipped bit, every cut, and another version', () => {
    const bytes = encodeCheckpoint(checkpoint);
    for (let bit = 0; bit < 48 * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => parseCheckpoint(flipped, 'checkpoint')).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
    }
    for (let length = 0; length < 48; length++)
      expect(() => parseCheckpoint(bytes.subarray(0, length), 'checkpoint')).toThrow(/damaged/);
  });
});
