// Faults of real implementations (raft.md §5, by its numbers), each put into our sources by replacing one expression.
// The test fails when the simulation misses one, and when an expression is no longer found.

const CORE = 'packages/meta-raft/src/core';
const DRIVER = 'packages/meta-raft/src/driver';
const STATE = 'packages/meta-raft/src/state';
const STORAGE = 'packages/meta-raft/src/storage';
const SERVICE = 'packages/meta-raft/src/service';

export const PLANTED_FAULTS = [
  {
    name: 'ack-before-durable',
    pitfall: 1,
    what: 'votes and acknowledgements leave before what they promise is written',
    file: `${CORE}/raft.ts`,
    changes: [
      [
        'this.#writes.push({ write, promises });',
        'this.#state.messages.push(...promises); this.#writes.push({ write, promises: [] });',
      ],
    ],
  },
  {
    name: 'unconditional-truncation',
    pitfall: 2,
    what: 'a late, shorter append shortens the log',
    file: `${CORE}/raft-log.ts`,
    changes: [
      ['if (!conflict) return;', 'if (!conflict) { this.#truncateFrom(previous.index + entries.length + 1); return; }'],
    ],
  },
  {
    name: 'commits-earlier-terms',
    pitfall: 3,
    what: 'entries of earlier terms are committed by counting replicas',
    file: `${CORE}/replicate.ts`,
    changes: [
      [
        'if (reached <= log.commitIndex || log.termAt(reached) !== state.term) return false;',
        'if (reached <= log.commitIndex) return false;',
      ],
    ],
  },
  {
    name: 'compares-only-index',
    pitfall: 4,
    what: 'the longer log wins an election, whatever its last term',
    file: `${CORE}/raft-log.ts`,
    changes: [
      [
        'return other.term > own.term || (other.term === own.term && other.index >= own.index);',
        'return other.index >= own.index;',
      ],
    ],
  },
  {
    name: 'counts-pre-votes',
    pitfall: 5,
    what: 'a late grant of a pre-vote counts as a vote',
    file: `${CORE}/candidate.ts`,
    changes: [['if (response.type !== expected || role.votes', 'if (role.votes']],
  },
  {
    name: 'quorum-of-half',
    pitfall: 6,
    what: 'a majority is one short',
    file: `${CORE}/quorum/majority.ts`,
    changes: [
      [
        'return reached[Math.floor(count / 2)] ?? 0;',
        'return reached[Math.floor((count - 1) / 2) - (count > 2 ? 1 : 0)] ?? 0;',
      ],
    ],
  },
  {
    name: 'sorts-as-text',
    pitfall: 6,
    what: 'indexes are sorted as text: 10 before 9',
    file: `${CORE}/quorum/majority.ts`,
    changes: [['.sort((a, b) => b - a)', '.sort().reverse()']],
  },
  {
    name: 'ignores-outgoing-half',
    pitfall: 6,
    what: 'a joint configuration commits by its incoming half alone',
    file: `${CORE}/quorum/joint.ts`,
    changes: [['return Math.min(incoming, majorityReached(voters.votersOutgoing, reachedBy));', 'return incoming;']],
  },
  {
    name: 'commit-not-capped',
    pitfall: 7,
    what: 'a heartbeat tells a follower to commit what its log was never seen to hold',
    file: `${CORE}/replicate.ts`,
    changes: [['commitIndex: Math.min(state.log.commitIndex, progress.match),', 'commitIndex: state.log.commitIndex,']],
  },
  {
    name: 'reads-without-quorum',
    pitfall: 8,
    what: 'a leader confirms a read without asking anybody',
    file: `${CORE}/leader.ts`,
    changes: [
      [
        'for (const read of leader.reads.confirmThrough(confirmed))',
        'void confirmed; for (const read of leader.reads.confirmThrough(Number.POSITIVE_INFINITY))',
      ],
    ],
  },
  {
    name: 'reads-before-own-commit',
    pitfall: 8,
    what: 'a new leader serves reads before it has committed in its term',
    file: `${CORE}/leader.ts`,
    changes: [['} else if (log.commitIndex < leader.firstIndex) {', '} else if (log.commitIndex < 0) {']],
  },
  {
    name: 'silent-to-passed-terms',
    pitfall: 10,
    what: 'nobody tells a leader that it was succeeded, nor a candidate that its term has passed',
    file: `${CORE}/raft.ts`,
    changes: [['this.#answerPassedTerm(message);\n      return;', 'return;']],
  },
  {
    name: 'two-pending-changes',
    pitfall: 11,
    what: 'a change of the membership begins while another, or the first entry of the term, is not applied',
    file: `${CORE}/leader.ts`,
    changes: [
      ['if (leader.pendingMembershipIndex > state.log.appliedIndex) {', 'if (leader.pendingMembershipIndex < 0) {'],
    ],
  },
  {
    name: 'removed-leader-stays',
    pitfall: 12,
    what: 'a leader that was removed goes on leading',
    file: `${CORE}/leader.ts`,
    changes: [
      [
        'if (!isVoter(membership, state.id)) {\n      becomeFollower',
        'if (membership.voters.length === 0) {\n      becomeFollower',
      ],
    ],
  },
  {
    name: 'founds-alone',
    pitfall: 14,
    what: 'a fresh node founds a cluster of its own',
    file: `${DRIVER}/recovery.ts`,
    changes: [['voters: [...founders].sort((a, b) => a - b)', 'voters: [node]']],
  },
  {
    name: 'snapshot-keeps-old-state',
    pitfall: 15,
    what: 'an installed snapshot does not replace the state in memory',
    file: `${STORAGE}/meta-state-machine.ts`,
    changes: [['    this.#state = next;\n', '    this.#state.leases.all();\n']],
  },
  {
    name: 'purges-ahead-of-state',
    pitfall: 16,
    what: 'the log is cut before the state that covers it is durable',
    file: `${DRIVER}/ready-executor.ts`,
    changes: [['const durable = await stateMachine.flush();', 'const durable = stateMachine.applied;']],
  },
  {
    name: 'snapshot-outcome-lost',
    pitfall: 16,
    what: 'the core is not told what became of a snapshot: the follower waits for ever',
    file: `${CORE}/raft.ts`,
    changes: [
      [
        "if (role.kind === 'leader') role.peers.get(peer)?.snapshotEnded(outcome);",
        'void role; void outcome; void peer;',
      ],
    ],
  },
  {
    name: 'header-before-data',
    pitfall: 17,
    what: 'the applied index is written apart from its data',
    file: `${STORAGE}/level-state-store.ts`,
    changes: [
      [
        "await this.#batch(operations, 'no-sync'); // B2",
        "await this.#batch(operations.splice(-1), 'no-sync'); await this.#batch(operations, 'no-sync');",
      ],
    ],
  },
  {
    name: 'clock-in-apply',
    pitfall: 18,
    what: 'what a command does depends on the clock of the replica',
    file: `${STATE}/meta-state.ts`,
    changes: [
      [
        'this.leases.grant(id, ttlMs, index);',
        'this.leases.grant(id, ttlMs, index + Math.floor(performance.now() * 1000));',
      ],
    ],
  },
  {
    name: 'stale-leader-renews',
    pitfall: 19,
    what: 'a lease is kept alive without finding out whether this node still leads',
    file: `${SERVICE}/replicated-state-access.ts`,
    changes: [
      [
        'await this.#deps.replication.readBarrier(timeoutMs === undefined ? {} : { timeoutMs }); // A3\n    const kept',
        'void timeoutMs;\n    const kept',
      ],
    ],
  },
  {
    name: 'leads-with-hung-disk',
    pitfall: 21,
    what: 'a leader whose disk hangs goes on leading',
    file: `${DRIVER}/multi-raft.ts`,
    changes: [["nowMs - oldestMs > diskStallMs ? 'stalled'", "nowMs - oldestMs > diskStallMs * 1e9 ? 'stalled'"]],
  },
  {
    name: 'sync-error-ignored',
    pitfall: 21,
    what: 'a write that failed counts as made',
    file: `${DRIVER}/multi-raft.ts`,
    changes: [['if (error) this.#failAll(error);\n        else for', 'for']],
  },
  {
    name: 'watch-skips-compacted',
    pitfall: 23,
    what: 'a watch that fell behind what is kept goes on as if nothing was missing',
    file: `${STATE}/watch-hub.ts`,
    changes: [['if (this.#nextRevision < store.compactedRevision) {', 'if (this.#nextRevision < 0) {']],
  },
  {
    name: 'retries-apply-twice',
    pitfall: 24,
    what: 'a repeated write is not recognised',
    file: `${SERVICE}/replicated-state-access.ts`,
    changes: [
      [
        'const attempt = identity && repeated(identity, ambiguous);',
        'const attempt = identity && ambiguous > 99 ? repeated(identity, ambiguous) : undefined;',
      ],
    ],
  },
  {
    name: 'strands-proposals',
    pitfall: 24,
    what: 'who proposed is not told that leadership was lost, nor that the time is over',
    file: `${DRIVER}/proposals.ts`,
    changes: [
      ['if (proposal.term > term) continue;', 'if (proposal.term > 0 && term > 0) continue;'],
      [
        "if (proposal.call.expire(nowMs, 'the command was committed')) this.#appended.delete(index);",
        'void index; void nowMs; void proposal;',
      ],
    ],
  },
  {
    name: 'paused-peer-never-probed',
    pitfall: 25,
    what: 'a follower whose appends were lost is never sent another',
    file: `${CORE}/progress.ts`,
    changes: [['    this.recentlyActive = true;\n    this.#resume();', '    this.recentlyActive = true;']],
  },
];
