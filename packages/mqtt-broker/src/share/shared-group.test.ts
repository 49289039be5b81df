import { describe, expect, it } from '@jest/globals';
import { createPrng } from '@robustmq/stdx/prng';
import { createShareStrategy, SHARE_STRATEGIES, type ShareMember, type ShareStrategyName } from './share-strategy.js';
import { SharedGroup } from './shared-group.js';

class Member implements ShareMember {
  readonly clientId: string;
  canTakeMessage = true;
  inflightCount = 0;
  isLocal = true;
  constructor(clientId: string) {
    this.clientId = clientId;
  }
}

function groupOf(name: ShareStrategyName, size: number) {
  const members = Array.from({ length: size }, (_, i) => new Member(`m${i}`));
  const group = new SharedGroup<Member>({ group: 'g', filter: '#' }, createShareStrategy(name, createPrng(7)));
  for (const session of members) {
    group.set({ session, qos: 1, retainAsPublished: false, subscriptionIdentifier: undefined });
  }
  const pick = (topicName = 't', publisherId = 'p', tried?: ReadonlySet<Member>) =>
    group.pick({ topicName, publisherId }, tried)?.session.clientId;
  return { group, members, pick };
}

const times = <T>(count: number, action: (i: number) => T) => Array.from({ length: count }, (_, i) => action(i));

describe.each(SHARE_STRATEGIES)('every strategy, here %s,', (name) => {
  it('prefers a member that can take a message now', () => {
    const { members, pick } = groupOf(name, 4);
    for (const [i, member] of members.entries()) member.canTakeMessage = i === 2;
    expect(new Set(times(20, (i) => pick(`t${i}`, `p${i}`)))).toEqual(new Set(['m2']));
  });

  it('falls back to a busy member rather than to none', () => {
    const { members, pick } = groupOf(name, 3);
    for (const member of members) member.canTakeMessage = false;
    expect(pick()).toMatch(/^m[012]$/);
  });

  it('never picks one that was tried, and ends when all were', () => {
    const { members, pick } = groupOf(name, 3);
    const tried = new Set<Member>();
    const picked = times(3, () => {
      const clientId = pick('t', 'p', tried);
      const member = members.find((member) => member.clientId === clientId);
      if (member !== undefined) tried.add(member);
      return clientId;
    });
    expect(new Set(picked)).toEqual(new Set(['m0', 'm1', 'm2']));
    expect(pick('t', 'p', tried)).toBeUndefined();
  });

  it('has nobody to pick in an empty group', () => {
    const { group, members, pick } = groupOf(name, 1);
    expect(group.remove(members[0] as Member)).toBe(true); // there is one
    expect(pick()).toBeUndefined();
  });
});

describe('round_robin', () => {
  it('takes turns, also when members come and go', () => {
    const { group, members, pick } = groupOf('round_robin', 3);
    expect(times(5, () => pick())).toEqual(['m0', 'm1', 'm2', 'm0', 'm1']);
    group.remove(members[1] as Member); // there are three
    expect(new Set(times(4, () => pick()))).toEqual(new Set(['m0', 'm2']));
  });
});

describe('random', () => {
  it('reaches all members about equally', () => {
    const { pick } = groupOf('random', 4);
    const picked = times(4000, () => pick());
    for (const id of ['m0', 'm1', 'm2', 'm3']) {
      expect(Math.abs(picked.filter((clientId) => clientId === id).length - 1000)).toBeLessThan(150);
    }
  });
});

describe('sticky', () => {
  it('stays with one member until it can take no more', () => {
    const { members, pick } = groupOf('sticky', 3);
    const favourite = pick();
    expect(new Set(times(10, () => pick()))).toEqual(new Set([favourite]));
    for (const member of members) if (member.clientId === favourite) member.canTakeMessage = false;
    const second = pick();
    expect(second).not.toBe(favourite);
    for (const member of members) member.canTakeMessage = true;
    expect(new Set(times(10, () => pick()))).toEqual(new Set([second]));
  });
});

describe.each([
  ['hash_client', (i: number) => ['t', `p${i}`] as const, (i: number) => [`t${i}`, 'p'] as const],
  ['hash_topic', (i: number) => [`t${i}`, 'p'] as const, (i: number) => ['t', `p${i}`] as const],
] as const)('%s', (name, byKey, byOther) => {
  it('keeps a key with one member, spreads keys, and moves only the keys of who leaves', () => {
    const { group, members, pick } = groupOf(name, 4);
    expect(new Set(times(50, (i) => pick(...byOther(i)))).size).toBe(1);
    const before = times(400, (i) => pick(...byKey(i)));
    for (const id of ['m0', 'm1', 'm2', 'm3']) {
      expect(before.filter((clientId) => clientId === id).length).toBeGreaterThan(60);
    }
    group.remove(members[1] as Member); // there are four
    const after = times(400, (i) => pick(...byKey(i)));
    for (const [i, clientId] of before.entries()) if (clientId !== 'm1') expect(after[i]).toBe(clientId);
  });
});

describe('least_inflight', () => {
  it('takes the member with the fewest, and turns among equals', () => {
    const { members, pick } = groupOf('least_inflight', 3);
    for (const [i, member] of members.entries()) member.inflightCount = [5, 1, 3][i] ?? 0;
    expect(pick()).toBe('m1');
    for (const member of members) member.inflightCount = 2;
    expect(new Set(times(3, () => pick())).size).toBe(3);
  });
});

describe('local_first', () => {
  it('takes turns among the members on this node, and leaves it when they are busy', () => {
    const { members, pick } = groupOf('local_first', 4);
    for (const [i, member] of members.entries()) member.isLocal = i < 2;
    expect(new Set(times(6, () => pick()))).toEqual(new Set(['m0', 'm1']));
    for (const [i, member] of members.entries()) member.canTakeMessage = i >= 2;
    expect(new Set(times(6, () => pick()))).toEqual(new Set(['m2', 'm3']));
  });
});
