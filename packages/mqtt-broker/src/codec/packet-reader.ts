import { readText, type TextRule } from './encoded-text.js';
import { malformed } from './malformed.js';

/**
 * A cursor over the body of one packet. It never reads past `end`, so a length inside a packet cannot
 * reach into the next one; a value that would is malformed.
 *
 * Everything it returns is either a fresh string or a view of the buffer, never a copy.
 */
export class PacketReader {
  buffer: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  get left(): number {
    return this.end - this.at;
  }

  u8(what: string): number {
    if (this.at >= this.end) throw endsBefore(what);
    return this.buffer[this.at++] as number; // inside the packet, as checked above
  }

  u16(what: string): number {
    const at = this.at;
    if (at + 2 > this.end) throw endsBefore(what);
    this.at = at + 2;
    return this.buffer.readUInt16BE(at);
  }

  u32(what: string): number {
    const at = this.at;
    if (at + 4 > this.end) throw endsBefore(what);
    this.at = at + 4;
    return this.buffer.readUInt32BE(at);
  }

  /** One to four bytes, the fewest that hold the value [MQTT-1.5.5-1]. */
  variableByteInteger(what: string): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.u8(what);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed(`${what} is encoded in more bytes than it needs`, 'MQTT-1.5.5-1');
        return value;
      }
    }
    throw malformed(`${what} is a variable byte integer of more than four bytes`, 'MQTT5 §1.5.5');
  }

  text(what: string, rule: TextRule): string {
    const length = this.u16(what);
    const start = this.at;
    const end = start + length;
    if (end > this.end) throw endsBefore(what);
    this.at = end;
    return readText({ buffer: this.buffer, start, end }, { what, rule });
  }

  /** A view, not a copy. */
  binary(what: string): Buffer {
    const length = this.u16(what);
    const start = this.at;
    const end = start + length;
    if (end > this.end) throw endsBefore(what);
    this.at = end;
    return this.buffer.subarray(start, end);
  }

  /** What is left of the packet; a view, not a copy. */
  rest(): Buffer {
    const start = this.at;
    this.at = this.end;
    return this.buffer.subarray(start, this.end);
  }

  /** The packet holds nothing more. */
  expectEnd(packet: string): void {
    if (this.at !== this.end) throw malformed(`${this.left} bytes follow the end of ${packet}`, 'MQTT5 §2.1.4');
  }
}

function endsBefore(what: string) {
  return malformed(`the packet ends inside ${what}`, 'MQTT5 §1.2 Malformed Packet');
}
