import { assert } from '@robustmq/stdx/assert';
import { type MessageProperties, type Properties, VARIABLE_BYTE_INTEGER_MAX } from './packets.js';
import { type PropertyPlace, type PropertyRule, RULES_BY_PLACE } from './property-rules.js';
import { utf8Bytes, writeUtf8 } from './short-text.js';

const FIXED_HEADER_BYTES_MAX = 5;
const TEXT_BYTES_MAX = 65_535;
const TEXT_TOO_LONG = `a string or binary value of a packet has at most ${TEXT_BYTES_MAX} bytes`;

/**
 * Writes the body of one packet into a scratch buffer that grows, and finish() puts the fixed header in
 * front: the remaining length is known only then.
 */
export class PacketWriter {
  #buffer = Buffer.allocUnsafeSlow(1024);
  #at = FIXED_HEADER_BYTES_MAX;

  begin(): this {
    this.#at = FIXED_HEADER_BYTES_MAX;
    return this;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#buffer[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  variableByteInteger(value: number): this {
    const at = this.#room(4);
    this.#at = writeVariableByteInteger(this.#buffer, at, value); // gives back what it did not need
    return this;
  }

  text(text: string): this {
    const bytes = utf8Bytes(text);
    assert(bytes <= TEXT_BYTES_MAX, TEXT_TOO_LONG);
    this.u16(bytes);
    const at = this.#room(bytes);
    writeUtf8(this.#buffer, at, { text, bytes });
    return this;
  }

  binary(value: Uint8Array): this {
    assert(value.length <= TEXT_BYTES_MAX, TEXT_TOO_LONG);
    return this.u16(value.length).raw(value);
  }

  raw(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  /** The property length and the properties that belong at this place; others are left out [MQTT-2.2.2-1]. */
  properties(properties: Properties | undefined, place: PropertyPlace): this {
    const lengthAt = this.openProperties();
    if (properties === undefined) return this;
    for (const rule of RULES_BY_PLACE.get(place) ?? []) {
      const value = properties[rule.name];
      if (value !== undefined) this.#property(rule, value);
    }
    this.closeProperties(lengthAt);
    return this;
  }

  /** Begins properties that the caller writes one by one, in front of closeProperties(). */
  openProperties(): number {
    const lengthAt = this.#room(1);
    this.#buffer[lengthAt] = 0;
    return lengthAt;
  }

  /** One byte was left for the property length; a longer one moves the properties up. */
  closeProperties(lengthAt: number): void {
    const length = this.#at - lengthAt - 1;
    const extra = variableByteIntegerBytes(length) - 1;
    if (extra > 0) {
      this.#room(extra);
      this.#buffer.copyWithin(lengthAt + 1 + extra, lengthAt + 1, this.#at - extra);
    }
    writeVariableByteInteger(this.#buffer, lengthAt, length);
  }

  /** The packet in a buffer of its own. */
  finish(firstByte: number): Buffer {
    const remaining = this.#at - FIXED_HEADER_BYTES_MAX;
    assert(remaining <= VARIABLE_BYTE_INTEGER_MAX, 'a packet fits its remaining length');
    const start = FIXED_HEADER_BYTES_MAX - 1 - variableByteIntegerBytes(remaining);
    this.#buffer[start] = firstByte;
    writeVariableByteInteger(this.#buffer, start + 1, remaining);
    const packet = Buffer.allocUnsafe(this.#at - start);
    this.#buffer.copy(packet, 0, start, this.#at);
    if (this.#buffer.length > SCRATCH_BYTES_KEPT) this.#buffer = Buffer.allocUnsafeSlow(1024);
    return packet;
  }

  /** What was written so far, without a fixed header; a view that is valid until the next begin(). */
  body(): Buffer {
    return this.#buffer.subarray(FIXED_HEADER_BYTES_MAX, this.#at);
  }

  #property(rule: PropertyRule, value: NonNullable<Properties[keyof Properties]>): void {
    // The table pairs each name with the encoding of its type, which the compiler cannot follow.
    switch (rule.encoding) {
      case 'flag':
        return void this.u8(rule.id).u8(value as number); // see above
      case 'u16':
        return void this.u8(rule.id).u16(value as number); // see above
      case 'u32':
        return void this.u8(rule.id).u32(value as number); // see above
      case 'text':
      case 'topic name':
        return void this.u8(rule.id).text(value as string); // see above
      case 'binary':
        return void this.u8(rule.id).binary(value as Buffer); // see above
      case 'variable byte integer':
        for (const identifier of value as readonly number[]) this.u8(rule.id).variableByteInteger(identifier); // see above
        return;
      case 'text pair':
        for (const [name, text] of value as readonly [string, string][]) this.u8(rule.id).text(name).text(text); // see above
    }
  }

  #room(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#at, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }
}

/** The properties that belong to a message, and no others of the object they are in. */
export function writeMessageProperties(writer: PacketWriter, message: MessageProperties): void {
  const { payloadFormatIndicator, contentType, responseTopic, correlationData, userProperties } = message;
  if (payloadFormatIndicator !== undefined) writer.u8(1).u8(payloadFormatIndicator);
  if (contentType !== undefined) writer.u8(3).text(contentType);
  if (responseTopic !== undefined) writer.u8(8).text(responseTopic);
  if (correlationData !== undefined) writer.u8(9).binary(correlationData);
  if (userProperties !== undefined) {
    for (const [name, value] of userProperties) writer.u8(38).text(name).text(value);
  }
}

const SCRATCH_BYTES_KEPT = 64 * 1024;

export function variableByteIntegerBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Returns the position after it. The caller has made room for four bytes. */
export function writeVariableByteInteger(target: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}
