// Replication as conversations. `1>2 append-request t2 after 3/1 [4/2 x] commit 3` carries entry 4 of term 2, a command
// `x`, to be put behind entry 3 of term 1.

import { describe, expect, it } from '@jest/globals';
import type { Entry, Message } from '../src/core/types.js';
import { RaftNetwork } from '../src/testing/raft-network.js';

const elected = (config = {}) => {
  const network = new RaftNetwork({ voters: [1, 2, 3], config });
  network.campaign(1).settle().said();
  return network;
};

const command = (index: number, term: number, text: string): Entry => ({
  index,
  term,
  kind: 'command',
  payload: Buffer.from(text),
});

describe('a proposal', () => {
  it('is sent before the own disk has it, acknowledged by followers after theirs has it', () => {
    const network = elected();
    const leader = network.peer(1);
    const follower = network.peer(2);
    network.propose(1, 'x', 'y');
    leader.takeReady();
    expect(leader.pendingWrites).toBe(1);
    for (const parcel of leader.outbox.splice(0)) if (parcel.message.to === 2) follower.receive(parcel);
    follower.takeReady();
    expect(follower.outbox).toEqual([]);
    follower.completeWrite();
    follower.takeReady();
    expect(follower.outbox.map((parcel) => parcel.message)).toMatchObject([
      { type: 'append-response', outcome: { result: 'accepted', matchIndex: 4 } },
    ]);
    for (const parcel of follower.outbox.splice(0)) leader.receive(parcel);
    // One follower's disk is no majority of three; with the own it is.
    expect(leader.raft.log.commitIndex).toBe(2);
    leader.completeWrite();
    expect(leader.raft.log.commitIndex).toBe(4);
  });

  it('is committed by the followers alone when the leader’s disk is slow', () => {
    const network = elected();
    const leader = network.peer(1);
    network.propose(1, 'x');
    leader.takeReady();
    for (const parcel of leader.outbox.splice(0)) network.peer(parcel.message.to).receive(parcel);
    for (const id of [2, 3]) {
      const follower = network.peer(id);
      follower.takeReady();
      follower.completeWrite();
      follower.takeReady();
      for (const parcel of follower.outbox.splice(0)) leader.receive(parcel);
    }
    expect(leader.raft.log.commitIndex).toBe(3);
    // Not applied here before it is durable here.
    leader.takeReady();
    expect(leader.hasEntriesToApply).toBe(false);
    leader.completeWrite();
    leader.takeReady();
    expect(leader.hasEntriesToApply).toBe(true);
  });

  it('is refused beyond the limit of what is uncommitted, and taken again when that is committed', () => {
    const network = elected({ uncommittedBytesMax: 1000 });
    network.isolate(1).propose(1, 'x'.repeat(900));
    const { raft } = network.peer(1);
    expect(raft.propose([Buffer.alloc(200)])).toEqual({ outcome: 'overloaded' });
    network.heal().pass(3, 1);
    expect(raft.propose([Buffer.alloc(900)])).toMatchObject({ outcome: 'appended' });
    network.settle();
    expect(raft.role).toMatchObject({ kind: 'leader', uncommittedBytes: 0 });
  });

  it('larger than the limit is taken when nothing else is uncommitted', () => {
    const network = elected({ uncommittedBytesMax: 100 });
    network.propose(1, 'x'.repeat(500)).settle();
    expect(network.peer(3).state.index).toBe(3);
  });
});

describe('a follower', () => {
  const append = (
    entries: readonly Entry[],
    rest: { previous: { index: number; term: number }; commitIndex: number; term?: number },
  ) => ({ type: 'append-request', from: 1, to: 2, term: 2, entries, ...rest }) satisfies Message;

  it('is not shortened by a late or repeated request', () => {
    const network = elected();
    const follower = network.peer(2);
    network.isolate(2);
    const previous = { index: 2, term: 2 };
    const all = [command(3, 2, 'x'), command(4, 2, 'y'), command(5, 2, 'z')];
    follower.receive({ message: append(all, { previous, commitIndex: 2 }), state: undefined });
    follower.receive({ message: append(all.slice(0, 1), { previous, commitIndex: 2 }), state: undefined });
    expect(follower.raft.status.lastLog).toEqual({ index: 5, term: 2 });
  });

  it('commits no further than the request has verified', () => {
    const network = elected();
    const follower = network.peer(2);
    network.isolate(2);
    // Entries of a leader of term 2, and then a leader of term 3 that knows only entry 2 to be here.
    follower.receive({
      message: append([command(3, 2, 'a'), command(4, 2, 'b')], { previous: { index: 2, term: 2 }, commitIndex: 2 }),
      state: undefined,
    });
    const heartbeat = append([], { previous: { index: 2, term: 2 }, commitIndex: 4, term: 3 });
    follower.receive({ message: heartbeat, state: undefined });
    expect(follower.raft.log.commitIndex).toBe(2);
  });

  it('replaces from the first entry that differs', () => {
    const network = elected();
    const follower = network.peer(2);
    network.isolate(2);
    const first = [command(3, 2, 'a'), command(4, 2, 'b'), command(5, 2, 'c')];
    follower.receive({ message: append(first, { previous: { index: 2, term: 2 }, commitIndex: 2 }), state: undefined });
    const other = [command(3, 2, 'a'), command(4, 3, 'B')];
    follower.receive({
      message: append(other, { previous: { index: 2, term: 2 }, commitIndex: 2, term: 3 }),
      state: undefined,
    });
    expect(follower.raft.status.lastLog).toEqual({ index: 4, term: 3 });
  });

  it('does not take an old write for a new one that looks the same', () => {
    // The same position is written, replaced and written again: the first write's completion says nothing about the third.
    const network = elected();
    const follower = network.peer(2);
    network.isolate(2);
    const previous = { index: 2, term: 2 };
    follower.receive({ message: append([command(3, 2, 'a')], { previous, commitIndex: 2 }), state: undefined });
    follower.takeReady();
    follower.receive({
      message: append([command(3, 3, 'b')], { previous, commitIndex: 2, term: 3 }),
      state: undefined,
    });
    follower.takeReady();
    const again = { ...append([command(3, 2, 'a')], { previous, commitIndex: 3, term: 4 }), from: 3 };
    follower.receive({ message: again, state: undefined });
    follower.takeReady();
    expect(follower.pendingWrites).toBe(3);
    follower.completeWrite();
    follower.takeReady();
    expect(follower.hasEntriesToApply).toBe(false);
    follower.completeWrite();
    follower.completeWrite();
    follower.takeReady();
    expect(follower.hasEntriesToApply).toBe(true);
  });
});

describe('a new leader', () => {
  it('finds where a log parted by skipping whole terms, and replaces what was never committed', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3, 4, 5] });
    // Raft figure 7: logs of many shapes, by leaders that were cut off with what they had taken.
    network.campaign(5).settle();
    for (let round = 0; round < 4; round++) {
      network.isolate(5).propose(5, 'lost', 'lost', 'lost').tick(10).campaign(1).settle();
      network.propose(1, `kept ${round}`).settle();
      network.heal().isolate(1).tick(10, 2, 3, 4);
      for (const id of [2, 3, 4, 5]) network.peer(id).raft.forgetLeader();
      network.campaign(2).settle().propose(2, `too ${round}`).settle().heal().pass(12);
      for (const { raft } of network.peers) raft.forgetLeader();
      network.campaign(5).settle();
    }
    network.pass(5).said();
    const last = network.peer(network.leaders[0] ?? 0).state;
    expect(last.commands.filter((text) => /kept|too/.test(text))).toHaveLength(8);
    for (const peer of network.peers) expect(peer.state.commands).toEqual(last.commands);
  });

  it('skips a whole term with one answer', () => {
    const network = elected();
    const many = (text: string) => Array.from({ length: 50 }, (_, i) => `${text} ${i}`);
    network
      .isolate(1)
      .propose(1, ...many('lost'))
      .settle();
    network
      .tick(10, 2, 3)
      .campaign(2)
      .settle()
      .propose(2, ...many('kept'))
      .settle();
    network.restart(1).peer(2).raft.transferLeadership(3);
    network.settle().said();
    expect(network.leaders).toEqual([3]);
    network.heal().pass(3, 3);
    const rejected = network.said().filter((line) => line.startsWith('1>3') && line.includes('rejected'));
    expect(rejected).toEqual(['1>3 append-response t4 rejected 53 hint 52/2']);
    expect(network.peer(1).state.commands).toEqual(network.peer(3).state.commands);
  });

  it('does not commit an entry of an earlier term by counting (Raft figure 8)', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3, 4, 5], config: { appendBytesMax: 1 } });
    network.campaign(1).settle();
    // (a) Entry 3 of term 2 reaches node 2 only.
    network.cut(1, 3).cut(1, 4).cut(1, 5).propose(1, 'old').settle().restart(1).restart(2);
    // (b) Node 5 leads term 3 with the votes of 3 and 4, and nobody gets its entry.
    network
      .isolate(1)
      .isolate(2)
      .lose((message) => message.type === 'append-request');
    for (const id of [3, 4, 5]) network.peer(id).raft.forgetLeader();
    network.campaign(5).settle();
    expect(network.leaders).toEqual([5]);
    // (c) Node 1 leads term 4 and brings the old entry to a majority, its own to nobody: what would be accepted is lost.
    network.heal().isolate(5);
    network.lose((message) => {
      if (message.type !== 'append-request' || !message.entries.some((entry) => entry.term > 2)) return false;
      return network.peer(message.to).raft.log.termAt(message.previous.index) === message.previous.term;
    });
    network.campaign(1).settle().campaign(1).settle();
    const { raft } = network.peer(1);
    expect(raft.status).toMatchObject({ role: 'leader', term: 4, lastLog: { index: 4, term: 4 } });
    expect([1, 2, 3, 4].map((id) => network.peer(id).raft.log.termAt(3))).toEqual([2, 2, 2, 2]);
    expect(raft.log.commitIndex).toBe(2);
    // (e) With an entry of its own term on a majority, both are committed.
    network.heal().isolate(5).pass(2, 1);
    expect(raft.log.commitIndex).toBe(4);
  });
});

describe('flow control', () => {
  it('sends no more than the window, and goes on as answers come', () => {
    const network = elected({ inflight: { messagesMax: 2, bytesMax: 1 << 20 }, appendBytesMax: 1 });
    network.propose(1, 'a', 'b', 'c', 'd', 'e').round();
    const sent = network.said().filter((line) => line.startsWith('1>2 append'));
    expect(sent).toEqual([
      '1>2 append-request t2 after 2/2 [3/2 a] commit 2',
      '1>2 append-request t2 after 3/2 [4/2 b] commit 2',
    ]);
    network.settle();
    expect(network.peer(2).state.index).toBe(7);
  });

  it('finds out with an empty append, after a heartbeat, that what filled the window was lost', () => {
    const network = elected({ inflight: { messagesMax: 2, bytesMax: 1 << 20 }, appendBytesMax: 1 });
    network.lose((message) => message.type === 'append-request' && message.to === 2);
    network.propose(1, 'a', 'b', 'c').settle().heal().said();
    network.pass(1, 1);
    const said = network.said().filter((line) => line.includes('1>2 append') || line.includes('2>1 append'));
    expect(said.slice(0, 3)).toEqual([
      '1>2 append-request t2 after 4/2 [] commit 5',
      '2>1 append-response t2 rejected 4 hint 2/2',
      '1>2 append-request t2 after 2/2 [3/2 a] commit 5',
    ]);
    expect(network.peer(2).state.index).toBe(5);
  });

  it('is not upset by a late rejection of what was accepted since', () => {
    const network = elected();
    const outcome = { result: 'rejected', rejectedIndex: 1, hint: { index: 0, term: 0 } } as const;
    network
      .peer(1)
      .receive({ message: { type: 'append-response', from: 2, to: 1, term: 2, outcome }, state: undefined });
    const role = network.peer(1).raft.role;
    expect(role.kind === 'leader' && role.peers.get(2)?.state.kind).toBe('replicate');
  });

  it('returns to pipelining after one heartbeat when a peer was reported unreachable', () => {
    const network = elected();
    network.peer(1).raft.peerUnreachable(2);
    network.pass(1, 1);
    const role = network.peer(1).raft.role;
    expect(role.kind === 'leader' && role.peers.get(2)?.state.kind).toBe('replicate');
  });

  it('tells a commit that was lost with the next heartbeat', () => {
    const network = elected();
    network.propose(1, 'x').round().round();
    network
      .lose((message) => message.type === 'append-request' && message.to === 2)
      .settle()
      .heal();
    network.pass(1, 1);
    expect(network.peer(2).raft.log.commitIndex).toBe(3);
  });
});

describe('a snapshot', () => {
  const behind = () => {
    const network = elected();
    network.isolate(3).propose(1, 'a', 'b', 'c').settle();
    network.peer(1).compact(4);
    network.said();
    return network;
  };

  it('goes to a follower whose next entry is compacted, and replication goes on from there', () => {
    const network = behind();
    network.propose(1, 'd').settle().heal().pass(2, 1);
    const said = network.said().filter((line) => /[13]>[13] (install|append)/.test(line));
    expect(said).toContain('1>3 install-snapshot t2 6/2');
    expect(network.peer(3).state.commands).toEqual(network.peer(1).state.commands);
    network.propose(1, 'e').settle();
    expect(network.peer(3).state.index).toBe(7);
  });

  it('is not sent to a follower that may be gone', () => {
    const network = behind();
    network.pass(15, 1, 2);
    expect(network.said().filter((line) => line.includes('install-snapshot'))).toEqual([]);
  });

  it('is acknowledged by an append at or beyond the log’s beginning, whatever was pending', () => {
    const network = behind();
    network.heal().pass(2, 1);
    const role = network.peer(1).raft.role;
    expect(role.kind === 'leader' && role.peers.get(3)?.state.kind).toBe('replicate');
  });

  it('that failed is sent again after a sign of life', () => {
    const network = behind();
    network
      .heal()
      .lose((message) => message.type === 'install-snapshot')
      .pass(2, 1);
    network.peer(1).raft.snapshotEnded(3, 'failed');
    network.heal().pass(2, 1);
    expect(network.peer(3).state.commands).toEqual(network.peer(1).state.commands);
  });

  it('older than what is committed is ignored, and answered with what is there', () => {
    const network = elected();
    network.propose(1, 'a', 'b').settle();
    const state = { ...network.peer(1).state };
    const snapshot = { index: 3, term: 2, membership: network.peer(1).raft.status.membership };
    network.peer(2).receive({ message: { type: 'install-snapshot', from: 1, to: 2, term: 2, snapshot }, state });
    network.settle();
    expect(network.said()).toContain('2>1 append-response t2 accepted 4');
    expect(network.peer(2).raft.status).toMatchObject({ commitIndex: 4, firstIndex: 1 });
  });
});

describe('a linearizable read', () => {
  it('is confirmed by a round of heartbeats that began after it, with a token of the leader’s own', () => {
    const network = elected();
    network.peer(1).raft.readIndex(77);
    network.settle();
    expect(network.said()).toEqual([
      '1>2 heartbeat t2 commit 2 read 1',
      '1>3 heartbeat t2 commit 2 read 1',
      '2>1 heartbeat-response t2 read 1',
      '3>1 heartbeat-response t2 read 1',
    ]);
    expect(network.peer(1).reads).toEqual([{ requestId: 77, index: 2 }]);
  });

  it('is not confirmed by a late answer to an earlier one', () => {
    const network = elected();
    const leader = network.peer(1);
    leader.raft.readIndex(1);
    network.settle();
    network.isolate(1);
    leader.raft.readIndex(2);
    leader.receive({
      message: { type: 'heartbeat-response', from: 2, to: 1, term: 2, readToken: 1 },
      state: undefined,
    });
    network.settle();
    expect(leader.reads.map((read) => read.requestId)).toEqual([1]);
  });

  it('waits until the leader has committed in its own term', () => {
    const network = new RaftNetwork({ voters: [1, 2, 3] });
    network
      .lose((message) => message.type === 'append-request')
      .campaign(1)
      .settle();
    network.peer(1).raft.readIndex(5);
    network.pass(1, 1);
    expect(network.peer(1).reads).toEqual([]);
    network.heal().pass(2, 1);
    expect(network.peer(1).reads).toEqual([{ requestId: 5, index: 2 }]);
  });

  it('asked on a follower is answered by the leader; without one it fails at once', () => {
    const network = elected();
    network.peer(3).raft.readIndex(8);
    network.settle();
    expect(network.peer(3).reads).toEqual([{ requestId: 8, index: 2 }]);
    network.peer(3).raft.forgetLeader();
    network.peer(3).raft.readIndex(9);
    network.settle();
    expect(network.peer(3).reads.at(-1)).toEqual({ requestId: 9, index: undefined });
  });

  it('that waits fails when the leader steps down', () => {
    const network = elected();
    network.isolate(1);
    network.peer(1).raft.readIndex(6);
    network.pass(21, 1);
    expect(network.peer(1).reads).toEqual([{ requestId: 6, index: undefined }]);
  });
});
