import { describe, expect, it } from '@jest/globals';
import { MqttError } from '../errors.js';
import { encodeConnect, writeAck } from './encode.js';
import { FrameDecoder, type FrameDecoderOptions, resolveFrameDecoderOptions } from './frame-decoder.js';
import { type ConnectPacket, PacketType, type PublishPacket } from './packets.js';
import { encodePublish } from './publish-frame.js';
import { PacketRecorder } from './testing/packet-recorder.js';
import { rawPacket, rawProperties, varInt } from './testing/raw-packet.js';

const CONNECT: ConnectPacket = {
  protocolVersion: 5,
  clientId: 'c',
  cleanStart: true,
  keepAlive: 30,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: undefined,
  bridge: false,
};

function publish(packetId: number, payload: Buffer): Buffer {
  const packet: PublishPacket = {
    topicName: `t/${packetId}`,
    payload,
    qos: 1,
    retain: false,
    dup: false,
    packetId,
    properties: undefined,
  };
  return encodePublish(packet, 5);
}

function opened(options: FrameDecoderOptions = {}) {
  const recorder = new PacketRecorder();
  const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions(options));
  decoder.push(encodeConnect(CONNECT));
  decoder.acceptConnect();
  recorder.packets.length = 0;
  return { recorder, decoder };
}

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof MqttError) return error.code;
    throw error;
  }
  return 'accepted';
};

/** Counts what Buffer.copy moves meanwhile. */
function countCopiedBytes(action: () => void): number {
  const { copy } = Buffer.prototype;
  let bytes = 0;
  Buffer.prototype.copy = function (this: Buffer, ...args: Parameters<typeof copy>) {
    const copied = copy.apply(this, args);
    bytes += copied;
    return copied;
  };
  try {
    action();
  } finally {
    Buffer.prototype.copy = copy;
  }
  return bytes;
}

const names = (recorder: PacketRecorder) => recorder.packets.map(([name]) => name);

describe('FrameDecoder', () => {
  it('decodes the same packets however the bytes are cut', () => {
    const stream = Buffer.concat([
      publish(1, Buffer.alloc(3, 1)),
      rawPacket(0xc0),
      publish(2, Buffer.alloc(300, 2)),
      rawPacket(0x40, [0, 9]),
      publish(3, Buffer.alloc(20_000, 3)),
      rawPacket(0xe0),
    ]);
    const whole = opened();
    whole.decoder.push(stream);
    expect(names(whole.recorder)).toEqual(['publish', 'pingreq', 'publish', 'puback', 'publish', 'disconnect']);
    for (const step of [1, 2, 3, 5, 64, 301, 4096]) {
      const { recorder, decoder } = opened();
      for (let at = 0; at < stream.length; at += step) decoder.push(Buffer.from(stream.subarray(at, at + step)));
      expect(recorder.packets).toEqual(whole.recorder.packets);
      expect(decoder.heldBytes).toBe(0);
    }
  });

  it('hands payloads on as views of the chunk, and of memory of its own when a packet spans chunks', () => {
    const { recorder, decoder } = opened();
    const packet = publish(1, Buffer.from('payload'));
    decoder.push(packet);
    decoder.push(packet.subarray(0, 5));
    decoder.push(packet.subarray(5));
    const [inPlace, spanning] = recorder.packets.map(([, publish]) => publish as PublishPacket);
    packet.fill(0x21, packet.length - 7);
    expect(inPlace?.payload.toString()).toBe('!!!!!!!');
    expect(spanning?.payload.toString()).toBe('payload');
  });

  it('copies each byte a bounded number of times, however the bytes are cut', () => {
    // A megabyte of CONNECT in pieces of 64 bytes: a decoder that joins what it has at every piece copies 8 GB.
    const pairs = Array.from({ length: 100 }, () => [38, 'n'.repeat(5_000), 'v'.repeat(5_000)]);
    const packet = rawPacket(0x10, 'MQTT', 5, 2, [0, 0], rawProperties(...pairs.flat()), 'c');
    const recorder = new PacketRecorder();
    const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions({ packetBytesMaxBeforeConnect: 2 ** 21 }));
    const copied = countCopiedBytes(() => {
      for (let at = 0; at < packet.length; at += 64) decoder.push(packet.subarray(at, at + 64));
    });
    expect(names(recorder)).toEqual(['connect']);
    expect(copied).toBeGreaterThan(packet.length);
    expect(copied).toBeLessThan(packet.length * 3);
  });

  it('holds no more memory than has arrived, doubled', () => {
    const { decoder } = opened({ packetBytesMax: 2 ** 28 });
    decoder.push(Buffer.from([0x30, ...varInt(2 ** 27), 0, 1, 0x74]));
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) decoder.push(Buffer.alloc(1000));
    expect(decoder.heldBytes).toBe(100_008);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 22);
  });
});

describe('limits of FrameDecoder', () => {
  it('refuses a packet by its fixed header, before and after CONNECT', () => {
    const recorder = new PacketRecorder();
    const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions({ packetBytesMaxBeforeConnect: 100 }));
    expect(codeOf(() => decoder.push(Buffer.from([0x10, 99])))).toBe('PACKET_TOO_LARGE');

    const { decoder: connected } = opened({ packetBytesMax: 1000 });
    expect(codeOf(() => connected.push(Buffer.from([0x30, ...varInt(998)])))).toBe('PACKET_TOO_LARGE');
    const { decoder: justEnough } = opened({ packetBytesMax: 1000 });
    expect(codeOf(() => justEnough.push(Buffer.from([0x30, ...varInt(997)])))).toBe('accepted');
  });

  it('refuses an oversized packet also when its header comes byte by byte', () => {
    const { decoder } = opened({ packetBytesMax: 1000 });
    const header = Buffer.from([0x30, ...varInt(100_000)]);
    for (const byte of header.subarray(0, -1)) decoder.push(Buffer.from([byte]));
    expect(codeOf(() => decoder.push(header.subarray(-1)))).toBe('PACKET_TOO_LARGE');
  });

  it('keeps to the small limit until CONNECT is accepted', () => {
    const recorder = new PacketRecorder();
    const decoder = new FrameDecoder(recorder, resolveFrameDecoderOptions());
    decoder.push(encodeConnect(CONNECT));
    expect(codeOf(() => decoder.push(publish(1, Buffer.alloc(70_000))))).toBe('PACKET_TOO_LARGE');
  });

  it('refuses more topic filters than the limit', () => {
    const subscribe = (count: number) =>
      rawPacket(0x82, [0, 1], 0, ...Array.from({ length: count }, () => ['t', 0]).flat());
    const unsubscribe = (count: number) => rawPacket(0xa2, [0, 1], 0, ...Array.from({ length: count }, () => 't'));
    for (const packet of [subscribe, unsubscribe]) {
      expect(codeOf(() => opened({ filterCountMax: 10 }).decoder.push(packet(10)))).toBe('accepted');
      expect(codeOf(() => opened({ filterCountMax: 10 }).decoder.push(packet(11)))).toBe('PACKET_TOO_LARGE');
    }
  });

  it('keeps less of a stranger who goes on sending while reading is paused', () => {
    const decoder = new FrameDecoder(new PacketRecorder(), resolveFrameDecoderOptions());
    decoder.push(encodeConnect(CONNECT));
    decoder.pause();
    decoder.push(Buffer.alloc(4 * 64 * 1024));
    expect(codeOf(() => decoder.push(Buffer.alloc(1)))).toBe('RECEIVE_BUFFER_FULL');
  });

  it('gives up a peer that goes on sending while reading is paused', () => {
    const { decoder } = opened({ pausedBytesMax: 1000 });
    decoder.pause();
    decoder.push(Buffer.alloc(1000));
    expect(decoder.heldBytes).toBe(1000);
    expect(codeOf(() => decoder.push(Buffer.alloc(1)))).toBe('RECEIVE_BUFFER_FULL');
    expect(decoder.state).toBe('failed');
  });
});

describe('a paused FrameDecoder', () => {
  it('stops after the packet at hand and goes on where it stopped', () => {
    const { recorder, decoder } = opened();
    const stream = Buffer.concat([1, 2, 3, 4].map((id) => publish(id, Buffer.alloc(10, id))));
    recorder.onEach = () => decoder.pause();
    expect(decoder.push(stream)).toBe('paused');
    expect(decoder.push(publish(5, Buffer.alloc(10)).subarray(0, 3))).toBe('paused');
    expect(recorder.packets).toHaveLength(1);
    const seen = [];
    while (decoder.state === 'paused') {
      decoder.resume();
      seen.push(recorder.packets.length);
    }
    expect(seen).toEqual([2, 3, 4, 4]);
    decoder.push(publish(5, Buffer.alloc(10)).subarray(3));
    expect(recorder.packets.map(([, packet]) => (packet as PublishPacket).packetId)).toEqual([1, 2, 3, 4, 5]);
  });

  it('can be resumed from within a packet handler without losing order', () => {
    const { recorder, decoder } = opened();
    recorder.onEach = () => {
      decoder.pause();
      decoder.resume();
    };
    decoder.push(Buffer.concat([1, 2, 3].map((id) => publish(id, Buffer.alloc(1)))));
    expect(recorder.packets.map(([, packet]) => (packet as PublishPacket).packetId)).toEqual([1, 2, 3]);
  });

  it('is bounded by the chunks that a handler pushes again', () => {
    const { recorder, decoder } = opened();
    decoder.pause();
    for (let id = 1; id <= 3; id++) decoder.push(publish(id, Buffer.alloc(5)));
    decoder.resume();
    expect(recorder.packets).toHaveLength(3);
    expect(decoder.heldBytes).toBe(0);
  });
});

describe('after an error FrameDecoder', () => {
  it('decodes nothing more', () => {
    const { recorder, decoder } = opened();
    const stream = Buffer.concat([publish(1, Buffer.alloc(1)), rawPacket(0x40, [0, 0]), publish(2, Buffer.alloc(1))]);
    expect(codeOf(() => decoder.push(stream))).toBe('PROTOCOL_ERROR');
    expect(decoder.push(publish(3, Buffer.alloc(1)))).toBe('failed');
    expect(decoder.resume()).toBe('failed');
    expect(recorder.packets).toHaveLength(1);
  });

  it('passes on what a handler throws, and is finished too', () => {
    const { recorder, decoder } = opened();
    recorder.onEach = () => {
      throw new MqttError('TOPIC_ALIAS_INVALID', 'an alias that was never bound');
    };
    expect(codeOf(() => decoder.push(publish(1, Buffer.alloc(1))))).toBe('TOPIC_ALIAS_INVALID');
    expect(decoder.state).toBe('failed');
  });

  it('knows the version to answer in', () => {
    const versionOf = (packet: Buffer) => {
      const decoder = new FrameDecoder(new PacketRecorder(), resolveFrameDecoderOptions());
      codeOf(() => decoder.push(packet));
      return decoder.version;
    };
    expect(versionOf(rawPacket(0x10, 'MQTT', 6, 2, [0, 0], 'c'))).toBe(5);
    expect(versionOf(rawPacket(0x10, 'MQTT', 2, 2, [0, 0], 'c'))).toBe(4);
    expect(versionOf(rawPacket(0x10, 'MQTT', 5, 3, [0, 0], 0, 'c'))).toBe(5);
    expect(versionOf(rawPacket(0x10, 'MQIsdp', 3, 3, [0, 0], 'c'))).toBe(3);
    expect(versionOf(rawPacket(0x10, 'HTTP', 5))).toBeUndefined();
  });
});

describe('writeAck', () => {
  it('writes what the decoder reads', () => {
    const { recorder, decoder } = opened();
    const bytes = Buffer.alloc(16);
    let at = 0;
    for (const type of [PacketType.puback, PacketType.pubrec, PacketType.pubrel, PacketType.pubcomp]) {
      at = writeAck(bytes, at, { type, packetId: 0x1234 });
    }
    decoder.push(bytes);
    expect(recorder.packets.map(([name, id, code]) => [name, id, code])).toEqual(
      ['puback', 'pubrec', 'pubrel', 'pubcomp'].map((name) => [name, 0x1234, 0]),
    );
  });
});
