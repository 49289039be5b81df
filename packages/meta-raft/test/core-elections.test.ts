// Elections as conversations: who says what to whom. `1>2 vote-request t2 log 1/1` is node 1 asking node 2 for its vote in
// term 2, with the last entry of its log at index 1, term 1.

import { describe, expect, it } from '@jest/globals';
import { RaftNetwork } from '../src/testing/raft-network.js';

describe('an election', () => {
  it('of a single voter waits for its own vote to be durable, then commits an empty entry', () => {
    const network = new RaftNetwork({ voters: [1] });
    const peer = network.peer(1);
    peer.raft.campaign();
    peer.takeReady();
    expect(peer.raft.status).toMatchObject({ role: 'candidate', term: 2 });
    peer.completeWrite();
    expect(peer.diskHardState).toMatchObject({ term: 2, votedFor: 1 });
    expect(peer.raft.status).toMatchObject({ role: 'leader', lastLog: { index: 2, term: 2 }, commitIndex: 1 });
    network.settle();
    expect(peer.raft.status).toMatchObject({ commitIndex: 2, appliedIndex: 2 });
    expect(network.said()).toEqual([]);
  });

  it('asks whether it could win, then for votes, then commits an empty entry of its term', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.cut(1, 3).campaign(1).settle();
    expect(network.said()).toEqual([
      '1>2 pre-vote-request t2 log 1/1',
      '1>3 pre-vote-request t2 log 1/1',
      '2>1 pre-vote-response t2 granted',
      '1>2 vote-request t2 log 1/1',
      '1>3 vote-request t2 log 1/1',
      '2>1 vote-response t2 granted',
      '1>2 append-request t2 after 1/1 [2/2 empty] commit 1',
      '1>3 append-request t2 after 1/1 [2/2 empty] commit 1',
      '2>1 append-response t2 accepted 2',
      '1>2 append-request t2 after 2/2 [] commit 2',
      '2>1 append-response t2 accepted 2',
    ]);
    expect(network.leaders).toEqual([1]);
  });

  it('is not won by a log that is behind: no pre-vote, no new term, the leader undisturbed', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(3).propose(1, 'x').settle();
    network.heal().tick(20, 2, 3).settle();
    const said = network.said();
    expect(said).toContain('2>3 pre-vote-response t2 rejected');
    expect(said.filter((line) => line.startsWith('3>') && line.includes(' vote-request'))).toEqual([]);
    expect(network.leaders).not.toContain(3);
  });

  it('is not won by a longer log of an earlier term', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(1).propose(1, 'a', 'b', 'c', 'd').settle().restart(1);
    network.tick(10, 2, 3).campaign(2).settle();
    expect(network.leaders).toEqual([2]);
    network.heal().isolate(2).peer(3).raft.forgetLeader();
    network.campaign(1).settle().campaign(1).settle();
    expect(network.leaders).toEqual([2]);
    expect(network.said().filter((line) => /^1>\d vote-request t[34]/.test(line))).toEqual([]);
  });

  it('leaves the term alone while it is only asked about', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(3).pass(100, 3);
    expect(network.peer(3).raft.term).toBe(2);
    network.heal().pass(3, 1);
    expect(network.leaders).toEqual([1]);
    expect(network.peer(1).raft.term).toBe(2);
  });

  it('is not begun for others while their leader is fresh', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().said();
    network.tick(20, 3).settle();
    expect(network.said()).toEqual(['3>1 pre-vote-request t3 log 2/2', '3>2 pre-vote-request t3 log 2/2']);
    expect(network.leaders).toEqual([1]);
  });

  it('succeeds a live leader when a quorum has not heard of it for long', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().tick(10, 2).tick(20, 3).settle();
    expect(network.leaders).toEqual([3]);
    expect(network.peer(1).raft.status).toMatchObject({ role: 'follower', term: 3, leader: 3 });
  });

  it('follows within a few ticks when the connection to the leader breaks, and not when only one voter lost it', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle();
    network.peer(2).raft.peerDisconnected(1);
    network.tick(3, 2).settle();
    // Node 3 still hears the leader, and refuses.
    expect(network.leaders).toEqual([1]);
    network.isolate(1);
    for (const id of [2, 3]) network.peer(id).raft.peerDisconnected(1);
    network.tick(3, 3).settle();
    expect(network.leaders).toEqual([1, 3]);
  });

  it('needs no timeout after the leader is forgotten, but still an up-to-date log', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(3).propose(1, 'x').settle().isolate(1);
    network.heal().isolate(1);
    network.peer(2).raft.forgetLeader();
    network.peer(3).raft.forgetLeader();
    expect(network.peer(2).raft.term).toBe(2);
    network.campaign(3).settle();
    expect(network.leaders).toEqual([1]);
    network.campaign(2).settle();
    expect(network.leaders).toEqual([1, 2]);
    expect(network.peer(2).raft.term).toBe(3);
  });

  it('is lost with its term learned, when others are in a later one', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(3);
    network.tick(10, 2).campaign(2).settle();
    network.heal().isolate(1).tick(10, 2, 3);
    network.campaign(3).settle();
    // A refused pre-vote tells the voter's own term: without it, node 3 would ask about term 3 for ever.
    expect(network.peer(3).raft.term).toBe(network.peer(2).raft.term);
  });

  it('gives one vote in a term, also across a crash', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle();
    const voter = network.peer(2);
    expect(voter.diskHardState).toMatchObject({ term: 2, votedFor: 1 });
    network.restart(2).isolate(1);
    voter.receive({
      message: { type: 'vote-request', from: 3, to: 2, term: 2, lastLog: { index: 9, term: 2 }, reason: 'election' },
      state: undefined,
    });
    network.settle();
    expect(network.said()).toContain('2>3 vote-response t2 rejected');
  });

  it('counts each voter once, and nobody who is no voter', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3, 4, 5] });
    network.isolate(1).campaign(1).settle();
    const candidate = network.peer(1);
    const grant = (from: number, type: 'pre-vote-response' | 'vote-response') =>
      candidate.receive({
        message: { type, from, to: 1, term: 2, verdict: 'granted', committed: { index: 1, term: 1 } },
        state: undefined,
      });
    for (const from of [2, 2, 2, 9]) grant(from, 'pre-vote-response');
    expect(candidate.raft.role.kind).toBe('pre-candidate');
    grant(3, 'pre-vote-response');
    network.settle();
    for (const from of [2, 2, 9, 9]) grant(from, 'vote-response');
    expect(candidate.raft.role.kind).toBe('candidate');
    grant(3, 'vote-response');
    expect(candidate.raft.role.kind).toBe('leader');
  });
});

describe('a leader', () => {
  it('that hears nobody for an interval steps down, in the same term', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(1).pass(20, 1);
    expect(network.peer(1).raft.status).toMatchObject({ role: 'follower', term: 2, leader: undefined });
  });

  it('of a passed term is told so, and follows', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().isolate(1).tick(10, 2, 3).campaign(2).settle();
    expect(network.leaders).toEqual([1, 2]);
    network.heal().pass(1, 1);
    expect(network.said()).toContain('2>1 append-response t3 rejected 0 hint 0/0');
    network.pass(1, 2);
    expect(network.leaders).toEqual([2]);
    expect(network.peer(1).raft.leader).toBe(2);
  });
});

describe('a transfer of leadership', () => {
  it('brings the target up to date, then makes it campaign at once, past fresh leaders', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().cut(1, 3).propose(1, 'x').settle().heal().said();
    expect(network.peer(1).raft.transferLeadership(3)).toEqual({ outcome: 'started' });
    network.pass(1, 1).settle();
    expect(network.said()).toEqual(
      expect.arrayContaining([
        '1>3 timeout-now t2',
        '3>1 vote-request t3 log 3/2 for transfer',
        '3>2 vote-request t3 log 3/2 for transfer',
      ]),
    );
    expect(network.leaders).toEqual([3]);
  });

  it('refuses proposals meanwhile, and is given up after an election timeout', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle().cut(1, 3);
    network.peer(1).raft.transferLeadership(3);
    network.settle();
    expect(network.peer(1).raft.propose([Buffer.from('x')])).toEqual({ outcome: 'transferring' });
    network.pass(10, 1);
    expect(network.peer(1).raft.propose([Buffer.from('x')])).toMatchObject({ outcome: 'appended' });
    expect(network.leaders).toEqual([1]);
  });

  it('is refused to a learner, to a stranger, to itself, and by a follower', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network.campaign(1).settle();
    for (const to of [1, 9]) expect(network.peer(1).raft.transferLeadership(to)).toMatchObject({ outcome: 'refused' });
    expect(network.peer(2).raft.transferLeadership(3)).toMatchObject({ outcome: 'refused' });
  });
});
