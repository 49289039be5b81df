import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ModelState } from '../../test/model-state.js';
import { commandBody, query, transaction } from '../../test/state-arbitraries.js';
import type { Command, CommandBody, CommandResult, RequestIdentity, StateOperation } from './command.js';
import { decodeCommand, encodeCommand } from './command-codec.js';
import { type KeyBytes, keyFromBytes, keyFromText, keyToText, prefixRange, rangeContains } from './key-range.js';
import { MetaState } from './meta-state.js';
import { REQUESTS_PER_CLIENT_MAX } from './request-table.js';
import { decodeResult, encodeResult } from './result-codec.js';
import { WatchHub } from './watch-hub.js';

const ALL = prefixRange(keyFromText(''));

function payload(body: CommandBody, identity?: RequestIdentity, timeMs = 5): Buffer {
  const command: Command = { timeMs, identity, body };
  return encodeCommand(command);
}

function put(key: string, value = 'v', lease?: string): StateOperation {
  return { op: 'put', key: keyFromText(key), value: Buffer.from(value), lease, returns: 'nothing' };
}

function transact(...operations: StateOperation[]): CommandBody {
  return { kind: 'transact', when: [], then: operations, otherwise: [] };
}

class Applier {
  readonly state = new MetaState();
  index = 0;
  apply(body: CommandBody, identity?: RequestIdentity): CommandResult {
    return this.state.apply(payload(body, identity), ++this.index);
  }
}

describe('codecs', () => {
  it('carry every command there and back', () => {
    fc.assert(
      fc.property(commandBody, fc.boolean(), (body, identified) => {
        const identity = identified ? { client: 'c-1', sequence: 9, settledBelow: 3, attempt: 2 } : undefined;
        const command: Command = { timeMs: 77, identity, body };
        const back = decodeCommand(encodeCommand(command));
        expect(encodeCommand(back)).toEqual(encodeCommand(command));
        expect(back.identity).toEqual(identity);
      }),
    );
  });

  it('carry every result there and back', () => {
    fc.assert(
      fc.property(fc.array(commandBody, { maxLength: 30 }), (bodies) => {
        const at = new Applier();
        for (const body of bodies) {
          const result = at.apply(body);
          expect(decodeResult(encodeResult(result))).toEqual(result);
        }
      }),
    );
  });

  it('order keys by their bytes in UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), (a, b) => {
        fc.pre(!/\p{Surrogate}/u.test(a + b));
        const [left, right] = [keyFromText(a), keyFromText(b)];
        const order = left < right ? -1 : left > right ? 1 : 0;
        expect(order).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(keyToText(left)).toBe(a);
        expect(rangeContains(prefixRange(left), right)).toBe(right !== '' && Buffer.from(b).indexOf(a) === 0);
      }),
    );
  });
});

describe('MetaState', () => {
  it('does what a plain model does, for every mix of commands', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(commandBody, transaction), { maxLength: 60 }),
        fc.array(query),
        (bodies, queries) => {
          const at = new Applier();
          const model = new ModelState();
          for (const body of bodies) {
            expect(summary(at.apply(body))).toEqual(summary(model.apply(body, at.index)));
            expect(at.state.versions.revision).toBe(model.revision);
            expect(at.state.versions.liveKeys).toBe(model.liveKeys);
          }
          for (const one of queries) {
            const answer = at.state.range(one);
            expect('kind' in answer ? answer.code : plainAnswer(answer)).toEqual(model.range(one));
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it('answers any bytes, changes nothing then, and is the same on every replica', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 60 }), mutated()), { maxLength: 30 }), (payloads) => {
        const [one, two] = [new MetaState(), new MetaState()];
        payloads.forEach((bytes, i) => {
          const before = one.digest;
          const result = one.apply(Buffer.from(bytes), i + 1);
          expect(two.apply(Buffer.from(bytes), i + 1)).toEqual(result);
          if (result.kind === 'rejected') expect(one.digest).toEqual(before);
          expect(two.digest).toEqual(one.digest);
        });
      }),
    );
  });

  it('keeps nothing of the log entry alive', () => {
    const at = new Applier();
    const entry = payload(transact(put('a', 'unchanged')));
    at.state.apply(entry, 1);
    entry.fill(0);
    expect(at.state.versions.current(keyFromText('a'))?.value.toString()).toBe('unchanged');
  });

  it('removes the keys of a lease with it, in one revision, and only of the lease that was meant', () => {
    const at = new Applier();
    at.apply({ kind: 'grant-lease', id: '5', ttlMs: 1000 });
    at.apply(transact(put('a', '1', '5'), put('b', '1', '5'), put('c', '1', '5')));
    at.apply(transact(put('b', 'moved off'))); // revision 3
    expect(at.apply({ kind: 'expire-lease', id: '5', grantIndex: 2 })).toMatchObject({ code: 'LEASE_NOT_FOUND' });
    expect(at.apply({ kind: 'expire-lease', id: '5', grantIndex: 1 })).toMatchObject({ deleted: 2, revision: 4 });
    expect(at.state.versions.change(4)?.map((version) => version.key)).toEqual(['a', 'c']);
    expect(at.apply(transact(put('d', '1', '5')))).toMatchObject({ code: 'LEASE_NOT_FOUND' });
    at.apply({ kind: 'grant-lease', id: '5', ttlMs: 1000 });
    expect(at.apply({ kind: 'expire-lease', id: '5', grantIndex: 1 })).toMatchObject({ code: 'LEASE_NOT_FOUND' });
  });
});

describe('repeated requests', () => {
  const from = (sequence: number, attempt = 1, settledBelow = 0) => ({ client: 'c', sequence, settledBelow, attempt });

  it('are applied once and answered the same', () => {
    const at = new Applier();
    const first = at.apply(transact(put('a')), from(1));
    at.apply(transact(put('a')), from(2));
    expect(at.apply(transact(put('a')), from(1, 2))).toEqual(first);
    expect(at.state.versions.revision).toBe(3);
  });

  it('are refused when what came of the first attempt is no longer known', () => {
    const at = new Applier();
    expect(at.apply(transact(put('a')), from(1, 2))).toMatchObject({ code: 'FORGOTTEN' });
    at.apply(transact(put('a')), from(1));
    at.apply(transact(put('a')), from(2, 1, 2));
    expect(at.apply(transact(put('a')), from(1, 2, 1))).toMatchObject({ code: 'FORGOTTEN' });
    for (let i = 0; i < REQUESTS_PER_CLIENT_MAX; i++) at.apply(transact(put('a')), from(3 + i, 1, 2));
    expect(at.apply(transact(put('a')), from(2, 2, 1))).toMatchObject({ code: 'FORGOTTEN' });
    expect(at.apply(transact(put('a')), { ...from(1), client: 'no/slash' })).toMatchObject({ code: 'INVALID' });
  });

  it('are recognised from the first write on when the client has introduced itself', () => {
    const at = new Applier();
    const nothing: CommandBody = { kind: 'transact', when: [], then: [], otherwise: [] };
    expect(at.apply(transact(put('a')), from(1, 0))).toMatchObject({ code: 'INVALID' });
    for (let i = 0; i < 2; i++)
      expect(at.apply(nothing, from(1, 0))).toMatchObject({ kind: 'transacted', revision: 1 });
    // The first attempt of request 2 never arrived.
    expect(at.apply(transact(put('a')), from(2, 2))).toMatchObject({ kind: 'transacted', revision: 2 });
    expect(at.apply(transact(put('a')), from(2, 3))).toMatchObject({ kind: 'transacted', revision: 2 });
  });

  it('of a client that was silent for an hour of log time are forgotten', () => {
    const state = new MetaState();
    const body = transact(put('a'));
    state.apply(payload(body, { ...from(1), client: 'old' }, 1_000), 1);
    state.apply(payload(body, { ...from(1), client: 'new' }, 3_601_000), 2);
    expect(state.requests.clients).toBe(2);
    state.apply(payload(body, { ...from(2), client: 'new' }, 3_601_001), 3);
    expect(state.requests.clients).toBe(1);
  });
});

describe('watch (the validators of etcd)', () => {
  it('is ordered, unique, atomic, reliable and resumable, for every history, range and pace', () => {
    const watcherSpec = fc.record({
      range: query.map((drawn) => drawn.range),
      from: fc.oneof(fc.constant(undefined), fc.nat(10)),
      opensAt: fc.nat(20),
      pace: fc.integer({ min: 1, max: 5 }),
      reopens: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(transaction, { maxLength: 40 }),
        fc.array(watcherSpec, { maxLength: 4 }),
        (bodies, specs) => {
          const at = new Applier();
          const hub = new WatchHub(() => at.state.versions);
          const all = hub.open(ALL, 1, () => {});
          const running = specs.map((spec) => ({
            spec,
            seen: [] as string[],
            watcher: undefined as undefined | ReturnType<typeof hub.open>,
            expectFrom: 0,
          }));
          bodies.forEach((body, i) => {
            for (const one of running) {
              if (one.spec.opensAt === i) {
                one.watcher = hub.open(one.spec.range, one.spec.from, () => {});
                one.expectFrom = one.spec.from ?? at.state.versions.revision + 1;
              }
            }
            at.apply(body);
            hub.changed();
            for (const one of running) {
              if (!one.watcher || i % one.spec.pace !== 0) continue;
              drain(one.watcher, one.seen, 3);
              if (!one.spec.reopens) continue;
              const { nextRevision } = one.watcher; // Resumable: where one ended, the next begins
              one.watcher.close();
              one.watcher = hub.open(one.spec.range, nextRevision, () => {});
            }
          });
          const everything: string[] = [];
          drain(all, everything, 1000);
          for (const one of running) {
            if (!one.watcher) continue;
            drain(one.watcher, one.seen, 2);
            const expected = everything.filter((line) => {
              const [revision = '', , key = ''] = line.split(' ');
              return Number(revision) >= one.expectFrom && rangeContains(one.spec.range, JSON.parse(key) as KeyBytes);
            });
            expect(one.seen).toEqual(expected);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('from the compacted revision itself is complete, from below it is refused, and never skips', () => {
    const at = new Applier();
    const hub = new WatchHub(() => at.state.versions);
    at.apply(transact(put('a'), put('b')));
    at.apply(transact({ op: 'delete', range: prefixRange(keyFromText('a')), returns: 'nothing' }));
    at.apply(transact(put('c')));
    const slow = hub.open(ALL, 2, () => {});
    const exact = hub.open(ALL, 3, () => {});
    at.apply({ kind: 'compact', revision: 3 });
    expect(slow.take({ versions: 10, bytes: 1000 })).toEqual({ take: 'compacted', compactedRevision: 3 });
    const seen: string[] = [];
    drain(exact, seen, 10);
    expect(seen).toEqual(['3 0 "a" deleted', '4 0 "c" v']);
    expect(at.apply({ kind: 'compact', revision: 3 })).toMatchObject({ code: 'COMPACTED' });
    expect(at.apply({ kind: 'compact', revision: 5 })).toMatchObject({ code: 'FUTURE_REVISION' });
    at.apply({ kind: 'compact', revision: 4 });
    expect(at.state.range({ range: ALL, revision: 3, limit: 0, returns: 'keys' })).toMatchObject({ code: 'COMPACTED' });
    expect(at.state.digest.records).toBe(2);
    const future = hub.open(ALL, 6, () => {});
    at.apply(transact(put('x')));
    expect(future.take({ versions: 10, bytes: 1000 })).toEqual({ take: 'nothing' });
    at.apply(transact(put('y')));
    expect(future.take({ versions: 10, bytes: 1000 })).toMatchObject({ revision: 6 });
  });
});

/** Takes until nothing is left; checks that no revision is split and none comes back. */
function drain(watcher: ReturnType<WatchHub['open']>, into: string[], versionsMax: number): void {
  for (
    let taken = watcher.take({ versions: versionsMax, bytes: 1000 });
    taken.take !== 'nothing';
    taken = watcher.take({ versions: versionsMax, bytes: 1000 })
  ) {
    if (taken.take === 'compacted') throw new Error('compacted');
    for (const version of taken.versions) {
      const text = version.value === undefined ? 'deleted' : version.value.toString();
      into.push(`${version.modRevision} ${version.sub} ${JSON.stringify(version.key)} ${text}`);
    }
  }
}

function summary(result: CommandResult): unknown {
  if (result.kind === 'rejected') return result.code;
  if (result.kind !== 'transacted') return result;
  const answers = result.answers.map((answer) =>
    answer.op === 'range'
      ? plainAnswer(answer)
      : answer.op === 'put'
        ? answer.previous?.modRevision
        : [answer.deleted, answer.previous.map((kv) => kv.modRevision)],
  );
  return { branch: result.branch, revision: result.revision, answers };
}

function plainAnswer(answer: {
  kvs: readonly { key: KeyBytes; value: Buffer; modRevision: number }[];
  count: number;
  more: boolean;
}) {
  const kvs = answer.kvs.map((kv) => `${kv.key}=${kv.value.toString()}@${kv.modRevision}`);
  return { kvs, count: answer.count, more: answer.more };
}

/** A real command with one byte changed: near misses find more than noise. */
function mutated(): fc.Arbitrary<Uint8Array> {
  return fc.tuple(commandBody, fc.nat(200), fc.nat(255)).map(([body, at, byte]) => {
    const bytes = Buffer.from(payload(body));
    bytes[at % bytes.length] = byte;
    return keyFromBytes(bytes) === '' ? bytes : new Uint8Array(bytes);
  });
}
