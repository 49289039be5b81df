import { describe, expect, it } from '@jest/globals';
import { RaftNetwork } from '../src/testing/raft-network.js';

describe('x', () => {
  it('elects', () => {
    const n = new RaftNetwork({ voters: [1, 2, 3] });
    n.campaign(1).settle();
    console.log(n.said().join('\n'));
    n.propose(1, 'a', 'b').settle();
    console.log(n.said().join('\n'));
    const s = new RaftNetwork({ voters: [1] });
    s.campaign(1).settle();
    console.log(s.said().join('\n'), s.peer(1).raft.status, s.peer(1).state);
    expect(n.leaders).toEqual([1]);
  });
});
