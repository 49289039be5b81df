// Elections: asking for votes, counting them, and giving one (Raft §5.2, §5.4.1; pre-votes: thesis §9.6).

import { assert, unreachable } from '@robustmq/stdx/assert';
import { becomeFollower } from './follower.js';
import { becomeLeader } from './leader.js';
import { isVoter } from './membership.js';
import { quorumVote } from './quorum/joint.js';
import type { Candidate, PreCandidate, RaftState } from './raft-state.js';
import type { LogPosition, VoteRequest, VoteResponse } from './types.js';

/** A learner, a removed node, or one that waits for a snapshot could not lead if it won. */
export function mayCampaign(state: RaftState): boolean {
  const { log, membership } = state;
  if (state.role.kind === 'leader' || !isVoter(membership, state.id) || log.pendingSnapshot) return false;
  // Committed changes that are not applied would make it ask, and count, the wrong voters.
  return !log.hasMembershipBetween(log.appliedIndex, log.commitIndex);
}

/** The way of a node that merely heard nothing: it asks before it disturbs. */
export function preCampaign(state: RaftState): void {
  const votes = new Map([[state.id, true]]);
  state.role = { kind: 'pre-candidate', votes };
  state.restartElectionTimer();
  if (quorumVote(state.membership, votes) === 'won') campaign(state, 'election');
  else askForVotes(state, 'pre-vote-request', 'election');
}

/** `transfer`: the leader wants it, so nobody need be asked first and nobody may refuse for the leader's sake. */
export function campaign(state: RaftState, reason: 'election' | 'transfer'): void {
  assert(state.role.kind !== 'leader', 'a leader has won already');
  state.enterTerm(state.term + 1);
  state.voteFor(state.id);
  // The own vote counts when it is durable (takeOwnVote): a crash must not give a second one.
  state.role = { kind: 'candidate', votes: new Map() };
  state.restartElectionTimer();
  askForVotes(state, 'vote-request', reason);
}

export function takeOwnVote(state: RaftState, candidate: Candidate): void {
  candidate.votes.set(state.id, true);
  count(state, candidate);
}

export function takeVoteResponse(state: RaftState, role: PreCandidate | Candidate, response: VoteResponse): void {
  if (learnCommit(state, response.committed) && !mayCampaign(state)) {
    // A change of the membership turned out to be committed: the votes were asked of the wrong voters.
    becomeFollower(state, state.term, undefined);
    return;
  }
  const expected = role.kind === 'candidate' ? 'vote-response' : 'pre-vote-response';
  if (response.type !== expected || role.votes.has(response.from)) return;
  // A pre-vote is granted for the term campaigned in; one for an earlier round's term says nothing about this one.
  const granted = response.verdict === 'granted';
  if (granted && role.kind === 'pre-candidate' && response.term !== state.term + 1) return;
  role.votes.set(response.from, granted);
  count(state, role);
}

/** True when it was news. Where the logs agree at a committed position, it is committed here too. */
function learnCommit(state: RaftState, committed: LogPosition): boolean {
  const { log } = state;
  if (committed.index <= log.commitIndex || !log.holds(committed)) return false;
  log.commitTo(committed.index);
  return true;
}

function count(state: RaftState, role: PreCandidate | Candidate): void {
  const result = quorumVote(state.membership, role.votes);
  switch (result) {
    case 'pending':
      return;
    case 'lost':
      becomeFollower(state, state.term, undefined);
      return;
    case 'won':
      if (role.kind === 'pre-candidate') campaign(state, 'election');
      else becomeLeader(state);
      return;
    default:
      unreachable(result);
  }
}

function askForVotes(state: RaftState, type: VoteRequest['type'], reason: VoteRequest['reason']): void {
  const term = type === 'pre-vote-request' ? state.term + 1 : state.term;
  const voters = [...new Set([...state.membership.voters, ...state.membership.votersOutgoing])].sort((a, b) => a - b);
  for (const to of voters) {
    if (to === state.id) continue;
    state.send({ type, from: state.id, to, term, lastLog: state.log.last, reason });
  }
}

/**
 * Anybody answers, learners too: a node may have been made a voter without knowing it yet, and the group may need its
 * vote to tell it. Requests of a passed term do not come here.
 */
export function takeVoteRequest(state: RaftState, request: VoteRequest): void {
  const isPreVote = request.type === 'pre-vote-request';
  const free =
    state.votedFor === request.from ||
    (state.votedFor === undefined && state.leader === undefined) ||
    (isPreVote && request.term > state.term);
  const granted = free && state.log.isUpToDate(request.lastLog);
  if (granted && !isPreVote) {
    state.restartElectionTimer();
    state.voteFor(request.from);
  }
  answerVote(state, request, granted ? 'granted' : 'rejected');
}

/** A refusal carries this node's own term, so that a candidate of a passed one learns it. */
export function answerVote(state: RaftState, request: VoteRequest, verdict: VoteResponse['verdict']): void {
  state.promise({
    type: request.type === 'pre-vote-request' ? 'pre-vote-response' : 'vote-response',
    from: state.id,
    to: request.from,
    term: verdict === 'granted' ? request.term : state.term,
    verdict,
    committed: state.log.committed,
  });
}

/** Heard from its leader within an election timeout: then others' wish for an election is theirs alone. */
export function hasFreshLeader(state: RaftState): boolean {
  return state.leader !== undefined && state.electionElapsed < state.config.electionTicks;
}
