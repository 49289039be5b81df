import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type Clock, ManualClock, systemClock } from '@robustmq/stdx/clock';
import { createPrng } from '@robustmq/stdx/prng';
import fc from 'fast-check';
import type { InstallSnapshot, Membership, Message } from '../src/core/types.js';
import type { GroupMessage, PeerReceiver } from '../src/driver/peer-transport.js';
import type { StateSnapshot } from '../src/driver/state-machine.js';
import { DeliverRequest, RaftPeerServiceService } from '../src/gen/robustmq/raft/v1/raft.js';
import { GrpcPeerTransport, type GrpcPeerTransportOptions } from '../src/transport/grpc-peer-transport.js';
import { messageFromWire, messageToWire } from '../src/transport/peer-messages.js';

const header = fc.record({
  from: fc.integer({ min: 1, max: 9 }),
  to: fc.integer({ min: 1, max: 9 }),
  term: fc.maxSafeNat(),
});
const position = fc.record({ index: fc.nat(), term: fc.nat() });
const entry = fc.record({
  term: fc.nat(),
  kind: fc.constantFrom('empty' as const, 'command' as const, 'membership' as const),
  payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
});
const body: fc.Arbitrary<object> = fc.oneof(
  fc.record({
    type: fc.constantFrom('vote-request', 'pre-vote-request'),
    lastLog: position,
    reason: fc.constantFrom('election', 'transfer'),
  }),
  fc.record({
    type: fc.constantFrom('vote-response', 'pre-vote-response'),
    verdict: fc.constantFrom('granted', 'rejected'),
    committed: position,
  }),
  fc
    .record({ previous: position, commitIndex: fc.nat(), entries: fc.array(entry, { maxLength: 5 }) })
    .map(({ previous, commitIndex, entries }) => ({
      type: 'append-request',
      previous,
      commitIndex,
      entries: entries.map((one, i) => ({ ...one, index: previous.index + 1 + i })),
    })),
  fc.record({
    type: fc.constant('append-response'),
    outcome: fc.oneof(
      fc.record({ result: fc.constant('accepted'), matchIndex: fc.nat() }),
      fc.record({ result: fc.constant('rejected'), rejectedIndex: fc.nat(), hint: position }),
    ),
  }),
  fc.record({ type: fc.constant('heartbeat'), commitIndex: fc.nat(), readToken: fc.nat() }),
  fc.record({ type: fc.constant('heartbeat-response'), readToken: fc.nat() }),
  fc.record({ type: fc.constant('timeout-now') }),
  fc.record({ type: fc.constant('read-index-request'), requestId: fc.nat() }),
  fc.record({
    type: fc.constant('read-index-response'),
    requestId: fc.nat(),
    readIndex: fc.option(fc.nat(), { nil: undefined }),
  }),
);
const message = fc.tuple(header, body).map(([from, rest]) => ({ ...from, ...rest }) as Message); // each is a Message by construction

describe('peer messages', () => {
  it('carry every message of the core there and back', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.integer({ min: 1, max: 255 }), (messages, group) => {
        const sent: GroupMessage[] = messages.map((one) => ({ group, message: one }));
        const bytes = Buffer.from(DeliverRequest.encode({ messages: sent.map(messageToWire) }).finish());
        const received = DeliverRequest.decode(bytes).messages.map(messageFromWire);
        bytes.fill(0xff); // P3: nothing received lives in the buffer it came in
        expect(received).toEqual(sent);
      }),
      { numRuns: 300 },
    );
  });
});

class Node {
  readonly transport: GrpcPeerTransport;
  readonly received: GroupMessage[] = [];
  readonly unreachable: number[] = [];
  readonly #waiting: { test: () => boolean; resolve: () => void }[] = [];
  server = new Server();
  port = 0;
  snapshots: { message: InstallSnapshot; bytes: Buffer }[] = [];

  constructor(node: number, options: Partial<GrpcPeerTransportOptions> = {}, clock: Clock = systemClock) {
    this.transport = new GrpcPeerTransport({ cluster: 'größe', node, ...options }, { clock, prng: createPrng(node) });
    const receiver: PeerReceiver = {
      receive: (messages) => {
        this.received.push(...messages);
        this.#check();
      },
      receiveSnapshot: async (_, message, chunks) => {
        const all: Buffer[] = [];
        for await (const chunk of chunks) all.push(chunk);
        this.snapshots.push({ message, bytes: Buffer.concat(all) });
      },
      removed: () => {},
      disconnected: (peer) => {
        this.unreachable.push(peer);
        this.#check();
      },
      unreachable: (peer) => {
        this.unreachable.push(peer);
        this.#check();
      },
    };
    this.transport.start(receiver);
  }

  async listen(port = 0): Promise<string> {
    this.server = new Server();
    this.server.addService(RaftPeerServiceService, { ...this.transport.service } as UntypedServiceImplementation); // the same handlers
    this.port = await new Promise<number>((resolve, reject) => {
      this.server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return `127.0.0.1:${this.port}`;
  }

  until(test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ test, resolve }));
  }

  async close(): Promise<void> {
    await this.transport.close();
    this.server.forceShutdown();
  }

  #check(): void {
    for (const waiting of this.#waiting) if (waiting.test()) waiting.resolve();
  }
}

const heartbeat = (from: number, to: number, readToken: number): GroupMessage => ({
  group: 1,
  message: { type: 'heartbeat', from, to, term: 1, commitIndex: 0, readToken },
});

const membership: Membership = { voters: [1, 2], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };

function snapshotOf(chunks: readonly Buffer[]): StateSnapshot {
  return {
    metadata: { index: 7, term: 2, membership },
    chunks: async function* () {
      yield* chunks;
    },
    release: async () => {},
  };
}

const install: InstallSnapshot = {
  type: 'install-snapshot',
  from: 1,
  to: 2,
  term: 3,
  snapshot: { index: 7, term: 2, membership },
};

describe('GrpcPeerTransport over real sockets', () => {
  const nodes: Node[] = [];
  const node = (id: number, options: Partial<GrpcPeerTransportOptions> = {}, clock?: Clock) => {
    const made = new Node(id, options, clock);
    nodes.push(made);
    return made;
  };
  afterEach(async () => {
    for (const one of nodes.splice(0)) await one.close();
  });

  it('delivers both ways in order, and comes back after the peer was away', async () => {
    const [one, two] = [node(1), node(2)];
    const [first, second] = [await one.listen(), await two.listen()];
    one.transport.setPeers(new Map([[2, second]]));
    two.transport.setPeers(new Map([[1, first]]));
    for (let i = 0; i < 50; i++) one.transport.send(2, [heartbeat(1, 2, i)]);
    two.transport.send(1, [heartbeat(2, 1, 99)]);
    await two.until(() => two.received.length >= 50);
    await one.until(() => one.received.length >= 1);
    expect(two.received.map(({ message: got }) => got)).toEqual(
      Array.from({ length: 50 }, (_, i) => heartbeat(1, 2, i).message),
    );

    const { port } = two;
    two.server.forceShutdown();
    await one.until(() => one.unreachable.includes(2));
    one.transport.send(2, [heartbeat(1, 2, 1000)]);
    await two.listen(port);
    await until(() => one.transport.statistics[0]?.connected === true);
    one.transport.send(2, [heartbeat(1, 2, 1001)]);
    await two.until(() => two.received.some(({ message: got }) => got.type === 'heartbeat' && got.readToken === 1001));
  });

  it('does not wait for a peer that has just come by itself', async () => {
    const one = node(1, {}, new ManualClock()); // on which no time passes: it would never try again
    const two = node(2);
    const [first, second] = [await one.listen(), await two.listen()];
    const { port } = two;
    two.server.forceShutdown();
    one.transport.setPeers(new Map([[2, second]]));
    await one.until(() => one.unreachable.includes(2));
    await two.listen(port);
    two.transport.setPeers(new Map([[1, first]]));
    await until(() => one.transport.statistics[0]?.connected === true);
    one.transport.send(2, [heartbeat(1, 2, 1)]);
    await two.until(() => two.received.length === 1);
  });

  it('reports what it cannot send, and drops it', async () => {
    const one = node(1);
    one.transport.send(5, [heartbeat(1, 5, 1)]);
    expect(one.unreachable).toEqual([5]);
    const two = node(2);
    const address = await two.listen();
    const small = node(3, { queueBytesMax: 10_000 });
    small.transport.setPeers(new Map([[2, address]]));
    const payload = Buffer.alloc(4_000);
    const large: GroupMessage = {
      group: 1,
      message: {
        type: 'append-request',
        from: 3,
        to: 2,
        term: 1,
        previous: { index: 0, term: 0 },
        commitIndex: 0,
        entries: [{ index: 1, term: 1, kind: 'command', payload }],
      },
    };
    for (let i = 0; i < 10; i++) small.transport.send(2, [large]);
    expect(small.unreachable.length).toBeGreaterThan(5);
    const [statistics] = small.transport.statistics;
    expect(statistics).toMatchObject({ sent: 2, dropped: 8 });
    await two.until(() => two.received.length === 2);
  });

  it('turns away who belongs to another cluster, looks for another node, or bears this id', async () => {
    const two = node(2);
    const address = await two.listen();
    const strangers = [node(1, { cluster: 'other' }), node(2), node(4)];
    for (const [i, peer] of [2, 2, 3].entries()) {
      const stranger = strangers[i];
      stranger?.transport.setPeers(new Map([[peer, address]]));
      stranger?.transport.send(peer, [heartbeat(i + 1, peer, 1)]);
      await stranger?.until(() => stranger.unreachable.includes(peer));
    }
    await expect(strangers[0]?.transport.sendSnapshot(1, install, snapshotOf([]))).rejects.toMatchObject({
      code: 'INVALID',
    });
    expect(two.received).toEqual([]);
    expect(two.snapshots).toEqual([]);
  });

  it('lets nobody speak for another', async () => {
    const [one, two] = [node(1), node(2)];
    one.transport.setPeers(new Map([[2, await two.listen()]]));
    one.transport.send(2, [heartbeat(3, 2, 1)]);
    await one.until(() => one.unreachable.length > 0);
    expect(two.received).toEqual([]);
  });

  it('streams a snapshot beside the messages, whole or not at all', async () => {
    const [one, two] = [node(1), node(2)];
    one.transport.setPeers(new Map([[2, await two.listen()]]));
    const chunks = Array.from({ length: 40 }, (_, i) => Buffer.alloc(200_000, i));
    await one.transport.sendSnapshot(1, install, snapshotOf(chunks));
    expect(two.snapshots).toHaveLength(1);
    expect(two.snapshots[0]?.message).toEqual(install);
    expect(two.snapshots[0]?.bytes.equals(Buffer.concat(chunks))).toBe(true);

    const breaking: StateSnapshot = {
      ...snapshotOf([]),
      chunks: async function* () {
        yield Buffer.alloc(1000);
        throw new Error('the disk is gone');
      },
    };
    await expect(one.transport.sendSnapshot(1, install, breaking)).rejects.toBeDefined();
    expect(two.snapshots).toHaveLength(1);
    two.server.forceShutdown();
    await expect(one.transport.sendSnapshot(1, install, snapshotOf(chunks))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });
});

/** For what tells nobody when it changes. */
async function until(test: () => boolean): Promise<void> {
  while (!test()) await new Promise((resolve) => systemClock.setTimer(5, () => resolve(undefined)));
}
