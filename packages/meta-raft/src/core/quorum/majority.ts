// The one formula that matters, by itself.
//
// An empty set of voters is the neutral half of a joint configuration: it commits everything and wins every
// vote, so that joint.ts needs no special case.

import type { LogIndex, NodeId } from '../types.js';

export type VoteResult = 'won' | 'lost' | 'pending';

/** The highest number that a majority of the voters has reached; Infinity without voters. */
export function majorityReached(voters: readonly NodeId[], reachedBy: (voter: NodeId) => LogIndex): LogIndex {
  const count = voters.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  if (count === 1) return reachedBy(voters[0] ?? 0);
  const reached = voters.map(reachedBy).sort((a, b) => b - a);
  // With the numbers falling, the one at floor(n / 2) has floor(n / 2) + 1 voters at or above it.
  return reached[Math.floor(count / 2)] ?? 0;
}

/** `votes` may name nodes that are no voters; they do not count. */
export function majorityVote(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  if (voters.length === 0) return 'won';
  const needed = Math.floor(voters.length / 2) + 1;
  let granted = 0;
  let missing = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  if (granted >= needed) return 'won';
  return granted + missing >= needed ? 'pending' : 'lost';
}
