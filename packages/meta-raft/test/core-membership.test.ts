import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RaftConfig } from '../src/core/config.js';
import { changeMembership, NO_MEMBERSHIP } from '../src/core/membership.js';
import { decodeMembershipChange, encodeMembershipChange } from '../src/core/membership-codec.js';
import { quorumReached, quorumVote } from '../src/core/quorum/joint.js';
import { majorityReached, majorityVote } from '../src/core/quorum/majority.js';
import type { Membership, MembershipChange, MembershipStep, NodeId } from '../src/core/types.js';
import { RaftNetwork } from '../src/testing/raft-network.js';

const reachedBy = (numbers: Record<NodeId, number>) => (node: NodeId) => numbers[node] ?? 0;
const votes = (given: Record<NodeId, boolean>) =>
  new Map(Object.entries(given).map(([node, vote]) => [Number(node), vote]));

describe('a majority', () => {
  it.each([
    [[], {}, Number.POSITIVE_INFINITY],
    [[1], { 1: 12 }, 12],
    [[1, 2], { 1: 5 }, 0],
    [[1, 2], { 1: 5, 2: 3 }, 3],
    [[1, 2, 3], { 1: 5, 2: 3 }, 3],
    [[1, 2, 3], { 1: 9, 2: 10, 3: 100 }, 10], // by number, not by text
    [[1, 2, 3, 4], { 1: 5, 2: 5, 3: 2, 4: 1 }, 2],
    [[1, 2, 3, 4, 5], { 1: 101, 2: 104, 3: 103, 4: 103, 5: 0 }, 103],
  ])('of %j with %j has reached %d', (voters, numbers, reached) => {
    expect(majorityReached(voters, reachedBy(numbers))).toBe(reached);
  });

  it('is what more than half have reached, whatever the numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (numbers) => {
        const voters = numbers.map((_, i) => i + 1);
        const reached = majorityReached(voters, (node) => numbers[node - 1] ?? 0);
        const atLeast = (n: number) => numbers.filter((number) => number >= n).length * 2 > numbers.length;
        expect(atLeast(reached) && !atLeast(reached + 1)).toBe(true);
      }),
    );
  });

  it.each([
    [[], {}, 'won'],
    [[1], {}, 'pending'],
    [[1], { 1: false }, 'lost'],
    [[1], { 1: true }, 'won'],
    [[1, 2], { 1: true }, 'pending'],
    [[1, 2], { 1: false }, 'lost'],
    [[1, 2, 3], { 1: true, 2: false }, 'pending'],
    [[1, 2, 3], { 1: false, 2: false }, 'lost'],
    [[1, 2, 3], { 1: true, 9: true }, 'pending'],
    [[1, 2, 3, 4], { 1: true, 2: true, 3: false }, 'pending'],
    [[1, 2, 3, 4], { 1: false, 2: false }, 'lost'],
  ] as const)('of %j with votes %j is %s', (voters, given, result) => {
    expect(majorityVote(voters, votes(given))).toBe(result);
  });
});

describe('a joint quorum', () => {
  const joint = { voters: [1, 2, 3], votersOutgoing: [3, 4, 5] };

  it('has reached what both halves have', () => {
    expect(quorumReached(joint, reachedBy({ 1: 9, 2: 9, 3: 1, 4: 4, 5: 4 }))).toBe(4);
    expect(quorumReached(joint, reachedBy({ 3: 9, 4: 9, 5: 9 }))).toBe(0);
    expect(quorumReached({ voters: [1], votersOutgoing: [] }, reachedBy({ 1: 7 }))).toBe(7);
  });

  it('is won in both halves and lost in either', () => {
    expect(quorumVote(joint, votes({ 1: true, 2: true, 3: true, 4: true }))).toBe('won');
    expect(quorumVote(joint, votes({ 1: true, 2: true }))).toBe('pending');
    expect(quorumVote(joint, votes({ 1: true, 2: true, 4: false, 5: false }))).toBe('lost');
  });
});

describe('a membership', () => {
  const three: Membership = { ...NO_MEMBERSHIP, voters: [1, 2, 3] };
  const simple = (...steps: MembershipStep[]): MembershipChange => ({ kind: 'simple', steps });

  it.each([
    ['founds', NO_MEMBERSHIP, { kind: 'initial', voters: [3, 1, 2] }, three],
    ['adds a voter', three, simple({ change: 'add-voter', node: 4 }), { ...three, voters: [1, 2, 3, 4] }],
    ['adds a learner', three, simple({ change: 'add-learner', node: 4 }), { ...three, learners: [4] }],
    [
      'promotes',
      { ...three, learners: [4] },
      simple({ change: 'add-voter', node: 4 }),
      { ...three, voters: [1, 2, 3, 4] },
    ],
    ['demotes', three, simple({ change: 'add-learner', node: 3 }), { ...three, voters: [1, 2], learners: [3] }],
    ['removes', three, simple({ change: 'remove', node: 3 }), { ...three, voters: [1, 2] }],
    [
      'enters a joint configuration',
      three,
      {
        kind: 'joint',
        leave: 'explicit',
        steps: [
          { change: 'add-voter', node: 4 },
          { change: 'add-learner', node: 1 },
          { change: 'remove', node: 2 },
        ],
      },
      { voters: [3, 4], votersOutgoing: [1, 2, 3], learners: [], learnersNext: [1], autoLeave: false },
    ],
    [
      'leaves it',
      { voters: [3, 4], votersOutgoing: [1, 2, 3], learners: [], learnersNext: [1], autoLeave: true },
      { kind: 'leave' },
      { voters: [3, 4], votersOutgoing: [], learners: [1], learnersNext: [], autoLeave: false },
    ],
  ] as [string, Membership, MembershipChange, Membership][])('%s', (_what, from, change, to) => {
    expect(changeMembership(from, change)).toEqual({ outcome: 'changed', membership: to });
  });

  it.each([
    ['twice founded', three, { kind: 'initial', voters: [1] }],
    ['founded by nobody', NO_MEMBERSHIP, { kind: 'initial', voters: [] }],
    ['two voters at once', three, simple({ change: 'add-voter', node: 4 }, { change: 'add-voter', node: 5 })],
    ['one for another at once', three, simple({ change: 'add-voter', node: 4 }, { change: 'remove', node: 1 })],
    ['the last voter removed', { ...NO_MEMBERSHIP, voters: [1] }, simple({ change: 'remove', node: 1 })],
    ['left without being joint', three, { kind: 'leave' }],
    ['changed while joint', { ...three, votersOutgoing: [1, 2] }, simple({ change: 'add-voter', node: 4 })],
  ] as [string, Membership, MembershipChange][])('is not %s', (_what, from, change) => {
    expect(changeMembership(from, change)).toMatchObject({ outcome: 'illegal' });
  });
});

describe('the bytes of a change', () => {
  const node = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const step = fc.record({ change: fc.constantFrom('add-voter', 'add-learner', 'remove'), node });
  const steps = fc.array(step, { maxLength: 20 });
  const change = fc.oneof(
    fc.record({ kind: fc.constant('initial'), voters: fc.array(node, { maxLength: 9 }) }),
    fc.record({ kind: fc.constant('simple'), steps }),
    fc.record({ kind: fc.constant('joint'), steps, leave: fc.constantFrom('auto', 'explicit') }),
    fc.record({ kind: fc.constant('leave') }),
  ) as fc.Arbitrary<MembershipChange>;

  it('give back the change', () => {
    fc.assert(
      fc.property(change, (value) => expect(decodeMembershipChange(encodeMembershipChange(value))).toEqual(value)),
    );
    expect(encodeMembershipChange({ kind: 'initial', voters: [1] }).toString('hex')).toBe('01010001010000000000000001');
  });

  it('that are anything else are no change', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const decoded = decodeMembershipChange(Buffer.from(bytes));
        if (decoded) expect(encodeMembershipChange(decoded)).toEqual(Buffer.from(bytes));
      }),
    );
  });
});

describe('a change of the membership', () => {
  const elected = (voters: NodeId[], config: Partial<RaftConfig> = {}) => {
    const network = new RaftNetwork({ voters, config });
    network.campaign(1).settle();
    return network;
  };
  const propose = (network: RaftNetwork, change: MembershipChange) => network.peer(1).raft.proposeMembership(change);
  const add = (node: NodeId): MembershipChange => ({ kind: 'simple', steps: [{ change: 'add-voter', node }] });
  const swap = (from: NodeId, to: NodeId, leave: 'auto' | 'explicit'): MembershipChange => ({
    kind: 'joint',
    leave,
    steps: [
      { change: 'add-voter', node: to },
      { change: 'remove', node: from },
    ],
  });

  it('brings in a node with nothing and counts it from then on', () => {
    const network = elected([1]);
    network.join(2);
    expect(propose(network, add(2))).toMatchObject({ outcome: 'appended' });
    network.settle().pass(2, 1);
    expect(network.peer(2).raft.status.membership.voters).toEqual([1, 2]);
    network.isolate(2).propose(1, 'x').settle();
    expect(network.peer(1).raft.log.commitIndex).toBe(3);
  });

  it('is refused while another, or the first entry of the term, is unapplied', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network
      .lose((message) => message.type === 'append-request')
      .campaign(1)
      .settle();
    expect(propose(network, add(4))).toMatchObject({ outcome: 'illegal' });
    network.heal().pass(2, 1);
    expect(propose(network, add(4))).toMatchObject({ outcome: 'appended' });
    expect(propose(network, add(5))).toMatchObject({ outcome: 'illegal' });
  });

  it('through a joint configuration is left by the leader, once', () => {
    const network = elected([1, 2, 3]);
    network.join(4);
    propose(network, swap(3, 4, 'auto'));
    network.settle().pass(3, 1);
    const { raft, state } = network.peer(1);
    expect(raft.status.membership).toEqual({ ...NO_MEMBERSHIP, voters: [1, 2, 4] });
    const changes = Array.from({ length: state.index }, (_, i) => raft.log.entryAt(i + 1)).filter(
      (entry) => entry?.kind === 'membership',
    );
    expect(changes).toHaveLength(3); // the founding, entering, leaving
  });

  it('through a joint configuration that is to be left explicitly waits for it', () => {
    const network = elected([1, 2, 3]);
    network.join(4);
    propose(network, swap(3, 4, 'explicit'));
    network.settle().pass(5, 1);
    expect(network.peer(1).raft.status.membership.votersOutgoing).toEqual([1, 2, 3]);
    // Both halves count: nodes 1 and 4 are a majority of neither.
    network.isolate(2).isolate(3).propose(1, 'x').settle();
    const before = network.peer(1).raft.log.commitIndex;
    network.heal().pass(2, 1);
    expect(network.peer(1).raft.log.commitIndex).toBeGreaterThan(before);
    expect(propose(network, { kind: 'leave' })).toMatchObject({ outcome: 'appended' });
    network.settle();
    expect(network.peer(1).raft.status.membership).toEqual({ ...NO_MEMBERSHIP, voters: [1, 2, 4] });
  });

  it('that removes the leader makes it step down, and the others go on', () => {
    const network = elected([1, 2, 3]);
    propose(network, { kind: 'simple', steps: [{ change: 'remove', node: 1 }] });
    network.settle();
    expect(network.leaders).toEqual([]);
    network.tick(40, 1).settle();
    expect(network.peer(1).raft.role.kind).toBe('follower');
    network.pass(30, 2, 3);
    expect(network.leaders).toHaveLength(1);
    expect(network.peer(2).raft.status.membership.voters).toEqual([2, 3]);
  });

  it('is seen to be committed in the refusal of a removed voter, without which nobody could win', () => {
    const network = elected([1, 3], { appendBytesMax: 1 });
    // Node 1 leaves to node 3 alone; one more entry comes in, and node 3 hears neither of it nor of the commit.
    propose(network, { kind: 'joint', leave: 'auto', steps: [{ change: 'add-learner', node: 1 }] });
    network.lose(
      (message) =>
        message.to === 3 &&
        message.type === 'append-request' &&
        (message.commitIndex >= 4 || message.entries.some((entry) => entry.index > 4)),
    );
    const leader = network.peer(1);
    for (let i = 0; i < 50 && leader.raft.role.kind === 'leader'; i++) {
      network.round();
      if (leader.raft.log.lastIndex === 4) network.propose(1, 'x');
    }
    network.settle();
    expect(leader.raft.status).toMatchObject({ commitIndex: 4, lastLog: { index: 5 } });
    expect(network.peer(3).raft.status).toMatchObject({ commitIndex: 3, membership: { votersOutgoing: [1, 3] } });
    network.heal();
    for (let i = 0; i < 4; i++) network.tick(20, 3).settle();
    expect(network.leaders).toEqual([3]);
  });

  it('does not keep a promoted learner that has not heard of it from voting', () => {
    const network = elected([1, 2]);
    network.join(3);
    propose(network, { kind: 'simple', steps: [{ change: 'add-learner', node: 3 }] });
    network.settle().pass(2, 1);
    network.cut(1, 3).cut(2, 3);
    propose(network, add(3));
    network.settle();
    expect(network.peer(3).raft.status.membership.learners).toEqual([3]);
    network.heal().isolate(1);
    for (const id of [2, 3]) network.peer(id).raft.forgetLeader();
    network.campaign(2).settle();
    expect(network.leaders).toContain(2);
  });

  it('is not known to a learner, a removed node or a stranger as a reason to campaign', () => {
    const network = elected([1, 2]);
    network.join(3);
    propose(network, { kind: 'simple', steps: [{ change: 'add-learner', node: 3 }] });
    network.settle().pass(2, 1).said();
    network.join(4);
    network.tick(50, 3, 4);
    network.settle();
    expect(network.said()).toEqual([]);
  });

  it('is applied everywhere or nowhere, also when its bytes mean nothing', () => {
    const network = elected([1, 2, 3]);
    const before = network.peer(1).raft.status.membership;
    // A change of a later version: the leader of that version knew it, these nodes do not.
    const role = network.peer(1).raft.role;
    expect(role.kind).toBe('leader');
    const entry = { index: 3, term: 2, kind: 'membership', payload: Buffer.from([9, 9]) } as const;
    network.isolate(2);
    network.peer(2).receive({
      message: {
        type: 'append-request',
        from: 1,
        to: 2,
        term: 2,
        previous: { index: 2, term: 2 },
        entries: [entry],
        commitIndex: 3,
      },
      state: undefined,
    });
    network.settle();
    expect(network.peer(2).raft.status).toMatchObject({ appliedIndex: 3, membership: before });
  });
});
