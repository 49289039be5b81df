import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@robustmq/stdx/clock';
import fc from 'fast-check';
import { encodePublishFrame } from '../codec/publish-frame.js';
import { BY_REFERENCE_BYTES, Outbox, type OutboxOwner } from './outbox.js';
import { SharedBatch } from './shared-batch.js';
import type { ClientTransport } from './transport.js';
import { WriteTurn } from './write-turn.js';

class RecordingTransport implements ClientTransport {
  readonly kind = 'memory';
  readonly peer = { address: 'memory', port: 0, scope: 'loopback' } as const;
  readonly writes: (readonly Buffer[])[] = [];
  pendingBytes = 0;
  /** Whether the kernel takes what is written. */
  stuck: 'yes' | 'no' = 'no';

  get bytes(): Buffer {
    return Buffer.concat(this.writes.flat());
  }

  open(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}

  write(bytes: Buffer): void {
    this.writeAll([bytes]);
  }

  writeAll(chunks: readonly Buffer[]): void {
    this.writes.push(chunks);
    if (this.stuck === 'yes') for (const chunk of chunks) this.pendingBytes += chunk.length;
  }
}

class RecordingOwner implements OutboxOwner {
  readonly events: string[] = [];
  onWritable = () => this.events.push('writable');
  onCongested = () => this.events.push('congested');
  onOverflow = (pending: number) => this.events.push(`overflow ${pending}`);
}

function setUp(limits = { highWaterBytes: 1000, bytesMax: 5000 }) {
  const turn = new WriteTurn(new ManualClock());
  const transport = new RecordingTransport();
  const owner = new RecordingOwner();
  return { turn, transport, owner, outbox: new Outbox(transport, { turn, limits, owner }) };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('Outbox', () => {
  it('writes once per turn, whatever was gathered in it', async () => {
    const { outbox, transport } = setUp();
    for (let i = 0; i < 100; i++) outbox.write(Buffer.from(`packet ${i} `));
    expect(transport.writes).toHaveLength(0);
    await nextTurn();
    expect(transport.writes).toHaveLength(1);
    expect(transport.bytes.toString()).toContain('packet 0 packet 1 ');
    await nextTurn();
    expect(transport.writes).toHaveLength(1);
  });

  it('copies small packets, so that their buffers may be used again', async () => {
    const { outbox, transport } = setUp();
    const scratch = Buffer.from('first');
    outbox.writeRange(scratch, 0, 5);
    scratch.write('other');
    await nextTurn();
    expect(transport.bytes.toString()).toBe('first');
  });

  it('writes large packets from where they lie, between the small ones', async () => {
    const { outbox, transport } = setUp();
    const large = Buffer.alloc(BY_REFERENCE_BYTES, 'L');
    outbox.write(Buffer.from('a'));
    outbox.write(large);
    outbox.write(Buffer.from('b'));
    await nextTurn();
    expect(transport.writes).toHaveLength(1);
    expect(transport.writes[0]?.[1]?.buffer).toBe(large.buffer);
    expect(transport.bytes).toEqual(Buffer.concat([Buffer.from('a'), large, Buffer.from('b')]));
  });

  it('puts the packet id of the client into a frame that many share', async () => {
    const { outbox, transport } = setUp();
    const message = { topicName: 'a/b', payload: Buffer.from('x') };
    const frame = encodePublishFrame(message, { version: 4, qos: 1, retain: false });
    outbox.writeFrame(frame, 0x1234);
    outbox.writeFrame(frame, 0x5678);
    outbox.writeAck(0x40, 0x0102);
    await nextTurn();
    const expected = '3208 0003 612f62 1234 78 3208 0003 612f62 5678 78 4002 0102';
    expect(transport.bytes.toString('hex')).toBe(expected.replaceAll(' ', ''));
    expect(frame.head.readUInt16BE(frame.packetIdAt)).toBe(0);
  });

  it('keeps a payload outside the frame by reference', async () => {
    const { outbox, transport } = setUp();
    const payload = Buffer.alloc(10_000, 'p');
    const frame = encodePublishFrame({ topicName: 't', payload }, { version: 4, qos: 1, retain: false });
    outbox.writeFrame(frame, 7);
    await nextTurn();
    expect(transport.bytes).toHaveLength(frame.bytes);
    expect(transport.writes[0]?.some((chunk) => chunk.buffer === payload.buffer)).toBe(true);
  });

  it('hands over early what would grow too large within one turn', () => {
    const { outbox, transport } = setUp();
    const packet = Buffer.alloc(3000);
    for (let i = 0; i < 100; i++) outbox.write(packet);
    expect(transport.writes.length).toBeGreaterThan(0);
    expect(outbox.pendingBytes).toBeLessThan(300_000);
  });

  it('is congested above the high-water mark until everything has left', async () => {
    const { outbox, transport, owner } = setUp();
    transport.stuck = 'yes';
    outbox.write(Buffer.alloc(1001));
    await nextTurn();
    expect(outbox.congested).toBe(true);
    outbox.drained(); // not everything has left: nothing happens
    expect(owner.events).toEqual(['congested']);
    transport.pendingBytes = 0;
    outbox.drained();
    expect(outbox.congested).toBe(false);
    expect(owner.events).toEqual(['congested', 'writable']);
  });

  it('gives a client up that leaves more than the limit unread', async () => {
    const { outbox, transport, owner } = setUp();
    transport.stuck = 'yes';
    outbox.write(Buffer.alloc(6000));
    await nextTurn();
    expect(owner.events).toEqual(['congested', 'overflow 6000']);
  });

  it('gathers nothing after close', async () => {
    const { outbox, transport, turn } = setUp();
    outbox.write(Buffer.from('dropped'));
    outbox.close();
    outbox.write(Buffer.from('x'));
    outbox.writeAck(0x40, 1);
    new SharedBatch(turn, { members: [outbox] }).append(Buffer.from('y'), 0, 1);
    await nextTurn();
    expect(transport.writes).toHaveLength(0);
  });
});

describe('SharedBatch', () => {
  it('gives every member a view of the same memory', async () => {
    const turn = new WriteTurn(new ManualClock());
    const limits = { highWaterBytes: 1e6, bytesMax: 1e6 };
    const transports = Array.from({ length: 20 }, () => new RecordingTransport());
    const members = transports.map((transport) => new Outbox(transport, { turn, limits, owner: new RecordingOwner() }));
    const batch = new SharedBatch(turn, { members });
    for (let i = 0; i < 3; i++) {
      batch.append(Buffer.from(`frame ${i};`), 0, 8);
      batch.append(Buffer.from('and more;'), 0, 9);
      await nextTurn();
    }
    for (const { bytes } of transports) {
      expect(bytes.toString()).toBe('frame 0;and more;frame 1;and more;frame 2;and more;');
    }
    expect(new Set(transports.map(({ writes }) => writes[0]?.[0])).size).toBe(1);
  });

  it('passes over members whose sockets are congested, and says so', async () => {
    const turn = new WriteTurn(new ManualClock());
    const limits = { highWaterBytes: 10, bytesMax: 1e6 };
    const slow = new RecordingTransport();
    slow.stuck = 'yes';
    const fast = new RecordingTransport();
    const members = [slow, fast].map(
      (transport) => new Outbox(transport, { turn, limits, owner: new RecordingOwner() }),
    );
    let dropped = 0;
    const batch = new SharedBatch(turn, { members, onDropped: (count) => (dropped += count) });
    for (const text of ['0123456789+', 'second', 'third']) {
      batch.append(Buffer.from(text), 0, text.length);
      await nextTurn();
    }
    expect(fast.bytes.toString()).toBe('0123456789+secondthird');
    expect(slow.bytes.toString()).toBe('0123456789+');
    expect(dropped).toBe(2);
    slow.pendingBytes = 0;
    members[0]?.drained();
    batch.append(Buffer.from('again'), 0, 5);
    await nextTurn();
    expect(slow.bytes.toString()).toBe('0123456789+again');
  });

  it('keeps the order of each connection, however own and shared bytes alternate', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('own' as const), to: fc.nat(2), size: fc.integer({ min: 1, max: 6000 }) }),
      fc.record({ kind: fc.constant('shared' as const), to: fc.nat(1), size: fc.integer({ min: 1, max: 9000 }) }),
      fc.record({ kind: fc.constant('turn' as const), to: fc.constant(0), size: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const turn = new WriteTurn(new ManualClock());
        const limits = { highWaterBytes: 1e9, bytesMax: 1e9 };
        const transports = [0, 1, 2].map(() => new RecordingTransport());
        const outboxes = transports.map(
          (transport) => new Outbox(transport, { turn, limits, owner: new RecordingOwner() }),
        );
        const memberships = [
          [0, 1, 2],
          [0, 2],
        ];
        const batches = memberships.map(
          (of) => new SharedBatch(turn, { members: outboxes.filter((_, i) => of.includes(i)) }),
        );
        const expected: Buffer[][] = [[], [], []];
        for (const [n, { kind, to, size }] of steps.entries()) {
          const bytes = Buffer.alloc(size, `${n},`);
          if (kind === 'own') {
            outboxes[to]?.write(bytes);
            expected[to]?.push(bytes);
          } else if (kind === 'shared') {
            batches[to]?.append(bytes, 0, size);
            for (const member of memberships[to] ?? []) expected[member]?.push(bytes);
          } else await nextTurn();
        }
        await nextTurn();
        for (const [i, { bytes }] of transports.entries())
          expect(bytes.equals(Buffer.concat(expected[i] ?? []))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});
