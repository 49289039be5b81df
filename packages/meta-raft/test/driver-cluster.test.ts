import { describe, expect, it } from '@jest/globals';
import type { Leadership } from '../src/driver/replication.js';
import { type ClusterNode, RaftCluster } from '../src/testing/raft-cluster.js';

const bytes = (text: string) => Buffer.from(text);

/** Every node's commands, for comparison as a whole. */
const states = (cluster: RaftCluster) => cluster.nodes.map((node) => node.state.commands);

async function leaderAndFollowers(cluster: RaftCluster): Promise<{ leader: ClusterNode; followers: ClusterNode[] }> {
  const leader = await cluster.leader();
  await cluster.settled(leader.group.readBarrier());
  return { leader, followers: cluster.nodes.filter((node) => node !== leader) };
}

describe('one node', () => {
  it('leads before the first tick, and answers', async () => {
    const cluster = await RaftCluster.start([1]);
    await cluster.pass(10);
    const { group } = cluster.node(1);
    expect(group.status()).toMatchObject({ role: 'leader', term: 2, appliedIndex: 2 });
    const results = await cluster.settled(Promise.all(['a', 'b', 'c'].map((text) => group.propose(bytes(text)))));
    expect(results).toEqual(['after nothing', 'after a', 'after b']);
    await cluster.settled(group.readBarrier());
  });

  it('writes what one turn brought with one sync', async () => {
    const cluster = await RaftCluster.start([1]);
    const { group, logDisk } = await cluster.leader();
    await cluster.pass(10);
    const before = logDisk.syncs;
    await cluster.settled(Promise.all(Array.from({ length: 200 }, (_, i) => group.propose(bytes(`${i}`)))));
    expect(logDisk.syncs - before).toBe(1);
  });

  it('keeps what it acknowledged when the power goes', async () => {
    const cluster = await RaftCluster.start([1]);
    const { group } = await cluster.leader();
    await cluster.settled(group.propose(bytes('kept')));
    const lost = group.propose(bytes('not synced'));
    lost.catch(() => {});
    await cluster.node(1).kill();
    await expect(lost).rejects.toMatchObject({ next: 'unknown' });
    expect(cluster.node(1).state.commands).toEqual([]);
    await cluster.restart(1);
    await cluster.settled(cluster.node(1).group.readBarrier());
    expect(cluster.node(1).state.commands).toEqual(['kept']);
  });

  it('finishes what it accepted before it closes', async () => {
    const cluster = await RaftCluster.start([1]);
    const { group } = await cluster.leader();
    await cluster.settled(group.readBarrier());
    const accepted = group.propose(bytes('accepted'));
    await cluster.settled(cluster.node(1).close());
    expect(await accepted).toBe('after nothing');
    await expect(group.propose(bytes('late'))).rejects.toMatchObject({ code: 'CLOSED', next: 'never' });
  });

  it('keeps nothing and answers nobody after a failed sync', async () => {
    const cluster = await RaftCluster.start([1]);
    const node = await cluster.leader();
    await cluster.pass(10);
    node.log.health = 'fails';
    const proposal = node.group.propose(bytes('lost'));
    await expect(cluster.settled(proposal)).rejects.toMatchObject({ code: 'FAILED', next: 'unknown' });
    expect(node.failure).toMatchObject({ code: 'FAILED' });
    expect(node.group.status().role).toBe('failed');
    await expect(node.group.readBarrier()).rejects.toMatchObject({ code: 'FAILED' });
    expect(node.state.commands).toEqual([]);
  });

  it('restarts from a state and the log behind it after compaction', async () => {
    const cluster = await RaftCluster.start([1]);
    const { group } = await cluster.leader();
    for (let i = 0; i < 300; i++) await cluster.settled(group.propose(bytes(`${i}`)));
    expect(group.status().firstIndex).toBeGreaterThan(100);
    const before = cluster.node(1).state.commands;
    await cluster.node(1).kill();
    await cluster.restart(1);
    await cluster.settled(cluster.node(1).group.readBarrier());
    expect(cluster.node(1).state.commands).toEqual(before);
  });

  it('refuses what is too much', async () => {
    const cluster = await RaftCluster.start([1]);
    const { group } = await cluster.leader();
    const outcomes = Promise.allSettled(Array.from({ length: 1010 }, (_, i) => group.propose(bytes(`${i}`))));
    const refused = (await cluster.settled(outcomes)).filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(10);
    expect(refused[0]).toMatchObject({ reason: { code: 'OVERLOADED', next: 'later' } });
  });
});

describe('three nodes', () => {
  it('elect one leader, and all come to the same state', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader } = await leaderAndFollowers(cluster);
    await cluster.settled(Promise.all(['a', 'b'].map((text) => leader.group.propose(bytes(text)))));
    await cluster.pass(200);
    expect(states(cluster)).toEqual([
      ['a', 'b'],
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(cluster.nodes.filter((node) => node.group.status().role === 'leader')).toHaveLength(1);
  });

  it('refuse a proposal where nobody leads, and say who does', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader, followers } = await leaderAndFollowers(cluster);
    const refused = cluster.settled((followers[0] as ClusterNode).group.propose(bytes('x'))); // there are two
    await expect(refused).rejects.toMatchObject({
      code: 'NOT_LEADER',
      message: expect.stringContaining(`Node ${leader.id}`),
    });
  });

  it('read on a follower what was acknowledged on the leader', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader, followers } = await leaderAndFollowers(cluster);
    for (const follower of followers) {
      await cluster.settled(leader.group.propose(bytes(`for ${follower.id}`)));
      await cluster.settled(follower.group.readBarrier());
      expect(follower.state.commands.at(-1)).toBe(`for ${follower.id}`);
    }
  });

  it('go on when the leader dies, and take it back when it returns', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader: first } = await leaderAndFollowers(cluster);
    await cluster.settled(first.group.propose(bytes('before')));
    await first.kill();
    const diedAtMs = cluster.clock.now();
    const second = await cluster.leader();
    await cluster.settled(second.group.propose(bytes('after')));
    // Two election timeouts and a handful of round trips.
    expect(cluster.clock.now() - diedAtMs).toBeLessThan(1200);
    await cluster.restart(first.id);
    await cluster.pass(500);
    expect(states(cluster)).toEqual([
      ['before', 'after'],
      ['before', 'after'],
      ['before', 'after'],
    ]);
  });

  it('survive the loss of power of all of them', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader } = await leaderAndFollowers(cluster);
    await cluster.settled(leader.group.propose(bytes('kept')));
    for (const node of cluster.nodes) await node.kill();
    for (const id of [1, 2, 3]) await cluster.restart(id);
    const { leader: next } = await leaderAndFollowers(cluster);
    expect(next.state.commands).toEqual(['kept']);
  });

  it('answer no read and keep no write on a leader that was cut off', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader: old, followers } = await leaderAndFollowers(cluster);
    await cluster.settled(old.group.propose(bytes('before')));
    cluster.wires.isolate(old.id);
    const write = old.group.propose(bytes('lost'));
    const read = old.group.readBarrier({ timeoutMs: 3000 });
    write.catch(() => {});
    read.catch(() => {});
    const next = await cluster.leader(followers);
    await cluster.settled(next.group.propose(bytes('after')));
    await expect(cluster.settled(write)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', next: 'unknown' });
    await expect(cluster.settled(read)).rejects.toMatchObject({ code: 'DEADLINE' });
    cluster.wires.heal();
    await cluster.pass(1500);
    expect(states(cluster)).toEqual([
      ['before', 'after'],
      ['before', 'after'],
      ['before', 'after'],
    ]);
  });

  it('tell a leader from its term on, and when it leads no more', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const told: Leadership[] = [];
    cluster.node(1).group.onLeadership((leadership) => told.push(leadership));
    const { leader } = await leaderAndFollowers(cluster);
    if (leader.id !== 1) await cluster.settled(leader.group.transferLeadership(1));
    await cluster.leader([cluster.node(1)]);
    await cluster.settled(cluster.node(1).group.readBarrier());
    const { term } = cluster.node(1).group.status();
    expect(told.at(-1)).toEqual({ role: 'leader', term });
    await expect(
      cluster.settled(cluster.node(1).group.propose(bytes('late'), { onlyInTerm: term - 1 })),
    ).rejects.toMatchObject({
      code: 'NOT_LEADER',
    });
    await cluster.settled(cluster.node(1).group.transferLeadership(2));
    expect(told.at(-1)).toMatchObject({ role: 'follower' });
  });

  it('succeed a leader whose disk hangs', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader: hung, followers } = await leaderAndFollowers(cluster);
    hung.log.health = 'hangs';
    // The followers keep it: an entry needs a quorum of disks, not the leader's.
    await cluster.settled(hung.group.propose(bytes('kept by two')).catch(() => {}));
    const next = await cluster.leader(followers);
    await cluster.settled(next.group.propose(bytes('after')));
    hung.log.resume();
    await cluster.pass(2000);
    expect(states(cluster)).toEqual([
      ['kept by two', 'after'],
      ['kept by two', 'after'],
      ['kept by two', 'after'],
    ]);
  });

  it('bring back by a snapshot who was away for longer than the log reaches', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader, followers } = await leaderAndFollowers(cluster);
    const [away] = followers as [ClusterNode, ClusterNode];
    await away.kill();
    for (let i = 0; i < 300; i++) await cluster.settled(leader.group.propose(bytes(`${i}`)));
    expect(leader.group.status().firstIndex).toBeGreaterThan(100);
    await cluster.restart(away.id);
    await cluster.until('it caught up', () => away.state.commands.length === 300);
    // The log follows the state: another restart goes on from there.
    await cluster.pass(100);
    await away.kill();
    await cluster.restart(away.id);
    await cluster.settled(leader.group.propose(bytes('more')));
    await cluster.until('it goes on', () => away.state.commands.length === 301);
  });

  it('let a node join as a learner, make it a voter, and go on without the leader that is removed', async () => {
    const cluster = await RaftCluster.start([1, 2, 3]);
    const { leader } = await leaderAndFollowers(cluster);
    await cluster.settled(leader.group.propose(bytes('before')));
    const joining = await cluster.add(4);
    const learner = { kind: 'simple', steps: [{ change: 'add-learner', node: 4 }] } as const;
    expect(await cluster.settled(leader.group.changeMembership(learner))).toMatchObject({ learners: [4] });
    await cluster.until('the learner caught up', () => joining.state.commands.length === 1);
    const replace = {
      kind: 'joint',
      leave: 'auto',
      steps: [
        { change: 'add-voter', node: 4 },
        { change: 'remove', node: leader.id },
      ],
    } as const;
    await cluster.settled(leader.group.changeMembership(replace));
    await cluster.until('the old leader stepped down', () => leader.group.status().role !== 'leader');
    const rest = cluster.nodes.filter((node) => node !== leader);
    const next = await cluster.leader(rest);
    await cluster.settled(next.group.propose(bytes('after')));
    await cluster.pass(300);
    for (const node of rest) {
      expect(node.group.status().membership).toMatchObject({ voters: rest.map(({ id }) => id), votersOutgoing: [] });
      expect(node.state.commands).toEqual(['before', 'after']);
    }
  });
});
