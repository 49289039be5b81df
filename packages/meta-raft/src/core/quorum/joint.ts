// Quorums of a configuration that may be joint: what counts needs a majority in both halves (Raft §6).

import type { LogIndex, Membership, NodeId } from '../types.js';
import { majorityReached, majorityVote, type VoteResult } from './majority.js';

type Voters = Pick<Membership, 'voters' | 'votersOutgoing'>;

/** The highest number that a quorum has reached; Infinity without any voter. */
export function quorumReached(voters: Voters, reachedBy: (voter: NodeId) => LogIndex): LogIndex {
  const incoming = majorityReached(voters.voters, reachedBy);
  return Math.min(incoming, majorityReached(voters.votersOutgoing, reachedBy));
}

export function quorumVote(voters: Voters, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  const incoming = majorityVote(voters.voters, votes);
  const outgoing = majorityVote(voters.votersOutgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending';
}
